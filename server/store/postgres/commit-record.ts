/**
 * The parts of a commit that few turns have: each is one JSON parameter and its CTEs (section.ts).
 */
import { disarms, netTimers } from '../change.ts'
import type { Commit, ProcessPatch } from '../store.ts'
import { TIE_SECTIONS } from './commit-tie.ts'
import { among, type Item, type Section } from './section.ts'

const request: Section = {
  key: 'request',
  columns: 'scope text, key text, status text, result text',
  items: (commit) => (commit.requests ?? []).map((item) => ({ ...item })),
  told: 'request_told',
  between: (q, rows) => [
    // M3: one outcome per request, the first one stands. G6: it is kept from now on, however long ago it was started.
    `request_done as (
    update ${q}requests r set status = x.status, result = x.result, at = now() from ${rows} x
    where r.namespace = $3::text and r.scope = x.scope and r.key = x.key and r.status = 'pending'
      and ${among('r.scope', rows, 'scope')} and ${among('r.key', rows, 'key')}
    returning x.pid, r.process, r.message_id, r.result, r.waiters)`,
    // D45: a process that ended for good and a node that is gone take nothing out of their mailboxes any more.
    `request_told as materialized (
    select nextval('${q}ords') as ord, d.pid, w.target, w.call, d.process, d.message_id, d.result
    from request_done d
    cross join lateral (select o::json ->> 0 as target, o::json ->> 1 as call from unnest(d.waiters) o offset 0) w
    where case when split_part(w.target, '/', 1) = 'node' then exists (
        select 1 from ${q}nodes n where n.namespace = $3::text and w.target = 'node/' || n.id || '-' || n.epoch)
      else exists (
        select 1 from ${q}processes p where p.namespace = $3::text and p.id = w.target and not p.ended) end)`,
  ],
  sql: (q) => `
    insert into ${q}mailbox (namespace, ord, id, target, kind, op, sender, n, args)
    select $3::text, ord, message_id || '.result', target, 'reply', call, process, 0, result from request_told`,
}

const timer: Section = {
  key: 'timer',
  columns: 'target text, name text, arm int, due float8, op text, args text, root text, traceparent text',
  items: (commit) => netTimers(commit).set.map((item) => ({ ...item })),
  sql: (q, rows) => `
    insert into ${q}timers (process, namespace, target, name, arm, due, op, args, root, traceparent)
    select pid, $3::text, target, name, arm, to_timestamp(due / 1000.0), op, args, root, traceparent from ${rows}
    on conflict (process, name) do update set target = excluded.target, arm = excluded.arm, due = excluded.due,
      op = excluded.op, args = excluded.args, root = excluded.root, traceparent = excluded.traceparent`,
}

const timerCancel: Section = {
  key: 'cancel',
  columns: 'name text, arm int',
  items: (commit) => netTimers(commit).cancel.map((item) => ({ ...item })),
  sql: (q, rows) => `
    delete from ${q}timers t using ${rows} x
    where t.process = x.pid and t.name = x.name and t.arm = x.arm and ${among('t.process', rows, 'pid')}`,
}

const DISARM_COLUMNS = 'target text, name text, arm int, kept bigint[]'
const DISARMED = 't.process = x.pid and t.name = x.name and t.arm = x.arm'
const disarmItems = (commit: Commit): Item[] => disarms(commit).map((item) => ({ ...item, target: commit.id }))

/**
 * V5: a timer that is disarmed either stands here, or fired before. Its row is locked while the main query runs, which
 * is before any unreferenced CTE deletes it; one that can be seen and not locked is firing right now, and its message
 * is visible only to a later statement: the guard sends this one again.
 */
const disarm: Section = {
  key: 'disarm',
  columns: DISARM_COLUMNS,
  items: disarmItems,
  sql: (q, rows) => `
    select t.process from ${q}timers t, ${rows} x where ${DISARMED} and ${among('t.process', rows, 'pid')}
    for update of t`,
  guard: (q) => `1 / (case when (select count(*) from disarm_out) = (
      select count(*) from ${q}timers t, disarm_in x where ${DISARMED} and ${among('t.process', 'disarm_in', 'pid')})
    then 1 else 0 end) as disarmed`,
}

const fired: Section = {
  key: 'fired',
  columns: DISARM_COLUMNS,
  items: disarmItems,
  sql: (q, rows) => `
    delete from ${q}mailbox m using ${rows} x
    where m.namespace = $3::text and m.target = x.target and m.timer_name = x.name and m.timer_arm = x.arm
      and not m.ord = any(x.kept) and ${among('m.target', rows, 'target')}`,
}

const spawn: Section = {
  key: 'spawn',
  columns: 'id text, agent text, key text, kind text, parent text',
  items: (commit) => (commit.spawns ?? []).map((item) => ({ ...item })),
  // Open from birth: if nobody is told of the child, recovery finds it.
  sql: (q, rows) => `
    insert into ${q}processes (namespace, id, agent, key, kind, parent, open)
    select $3::text, id, agent, key, kind, parent, true from ${rows} order by id
    on conflict (namespace, id) do nothing`,
}

function patchItem(patch: ProcessPatch): Item {
  return {
    incarnation: patch.incarnation ?? null,
    state_version: patch.stateVersion ?? null,
    restarts: patch.restarts ?? null,
    exit_set: patch.exit !== undefined,
    exit: patch.exit ?? null,
    ended: patch.ended ?? null,
    desired: patch.desired ?? null,
    parent_set: patch.parent !== undefined,
    parent: patch.parent ?? null,
    diverged: patch.diverged ?? null,
    trap_exit: patch.trapExit ?? null,
    gone: patch.gone ?? null,
    branch: patch.branch ?? null,
  }
}

const patch: Section = {
  key: 'patch',
  // Null means no change; the two columns that can be null have a flag.
  columns:
    'incarnation int, state_version int, restarts int, exit_set boolean, exit text, ended boolean, desired text, ' +
    'parent_set boolean, parent text, diverged boolean, trap_exit boolean, gone boolean, branch bigint',
  items: (commit) => (commit.patch === undefined ? [] : [patchItem(commit.patch)]),
  sql: (q, rows) => `
    update ${q}processes t set
      incarnation = coalesce(x.incarnation, t.incarnation), state_version = coalesce(x.state_version, t.state_version),
      restarts = coalesce(x.restarts, t.restarts), ended = coalesce(x.ended, t.ended),
      exit = case when x.exit_set then x.exit else t.exit end, desired = coalesce(x.desired, t.desired),
      parent = case when x.parent_set then x.parent else t.parent end, diverged = coalesce(x.diverged, t.diverged),
      trap_exit = coalesce(x.trap_exit, t.trap_exit), gone = coalesce(x.gone, t.gone),
      branch = coalesce(x.branch, t.branch)
    from ${rows} x where t.pid = x.pid and ${among('t.pid', rows, 'pid')}`,
}

const failure: Section = {
  key: 'failure',
  columns:
    'process text, id text, incarnation int, class text, error text, attempt int, message_id text, op text, ' +
    'decision text, box text',
  items: (commit) =>
    (commit.failures ?? []).map((item) => ({
      ...item,
      process: commit.id,
      message_id: item.messageId,
      error: JSON.stringify(item.error),
      box: JSON.stringify(item.box),
    })),
  sql: (q, rows) => `
    insert into ${q}failures
      (namespace, id, process, incarnation, class, error, attempt, message_id, op, decision, box)
    select $3::text, id, process, incarnation, class, error, attempt, message_id, op, decision, box from ${rows}`,
}

const deadLetter: Section = {
  key: 'dead',
  columns: 'process text, id text, message_id text, op text, args text, "from" text, reason text, failure_id text',
  items: (commit) =>
    (commit.deadLetters ?? []).map((item) => ({
      ...item,
      process: commit.id,
      message_id: item.messageId,
      failure_id: item.failureId,
    })),
  sql: (q, rows) => `
    insert into ${q}dead_letters (namespace, id, process, message_id, op, args, "from", reason, failure_id)
    select $3::text, id, process, message_id, op, args, "from", reason, failure_id from ${rows}`,
}

const attempted: Section = {
  key: 'attempt',
  columns: 'target text, ord bigint, attempts int',
  items: (commit) =>
    (commit.attempted ?? []).flatMap(({ ref, attempts }) => {
      const leaves = commit.consumed?.some((gone) => gone.ord === ref.ord && gone.target === ref.target) ?? false
      return leaves ? [] : [{ target: ref.target, ord: ref.ord, attempts }]
    }),
  sql: (q, rows) => `
    update ${q}mailbox m set attempts = x.attempts from ${rows} x
    where m.namespace = $3::text and m.target = x.target and m.ord = x.ord
      and ${among('m.target', rows, 'target')} and ${among('m.ord', rows, 'ord')}`,
}

/** V4. The blobs themselves are there already: `moved` refuses the row otherwise (commit.ts). */
export const blobRef: Section = {
  key: 'blob',
  columns: 'seq bigint, hash text',
  items: (commit) => (commit.blobs ?? []).map((hash) => ({ seq: commit.seq, hash })),
  sql: (q, rows) => `
    insert into ${q}blob_refs (process, snapshot, seq, hash) select pid, false, seq, hash from ${rows}`,
}

export const SECTIONS: readonly Section[] = [
  request,
  timer,
  timerCancel,
  disarm,
  fired,
  spawn,
  patch,
  ...TIE_SECTIONS,
  failure,
  deadLetter,
  attempted,
  blobRef,
]

/** True when the commit has any of the lists above. The hot path stops here. */
export function hasRecords(commit: Commit): boolean {
  return (
    commit.patch !== undefined ||
    commit.requests !== undefined ||
    commit.timers !== undefined ||
    commit.cancelTimers !== undefined ||
    commit.spawns !== undefined ||
    commit.links !== undefined ||
    commit.names !== undefined ||
    commit.ends !== undefined ||
    commit.failures !== undefined ||
    commit.deadLetters !== undefined ||
    commit.attempted !== undefined ||
    commit.blobs !== undefined
  )
}
