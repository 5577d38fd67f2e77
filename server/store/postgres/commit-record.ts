/**
 * The parts of a commit that few turns have: each is one JSON parameter and one CTE that writes only for rows whose head
 * moved. `x.i` is the place of the commit in the batch, from 1.
 */
import { linkEnds, netLinks, netNames, netTimers } from '../change.ts'
import type { Commit, ProcessPatch } from '../store.ts'

/** Holds for rows of the batch that were accepted. The odd form keeps it a hashed lookup; a join would be quadratic. */
export const accepted = (alias: string): string => `(${alias}.i in (select i from moved)) is true`

type Item = Record<string, unknown>

export type Section = {
  readonly key: string
  /** Rows of the JSON parameter for one commit, at place `i`. */
  items(commit: Commit, i: number): Item[]
  sql(q: string, parameter: string): string
}

const records = (parameter: string, columns: string): string =>
  `json_to_recordset(${parameter}::text::json) as x(i bigint, ${columns})`

const request: Section = {
  key: 'request',
  items: (commit, i) => (commit.requests ?? []).map((item) => ({ i, ...item })),
  // M3: one outcome per request, the first one stands.
  sql: (q, p) => `answered as (
    update ${q}requests r set status = x.status, result = x.result
    from ${records(p, 'scope text, key text, status text, result text')}
    where r.namespace = $3::text and r.scope = x.scope and r.key = x.key and r.status = 'pending' and ${accepted('x')})`,
}

const timer: Section = {
  key: 'timer',
  items: (commit, i) => netTimers(commit).set.map((item) => ({ i, ...item })),
  sql: (q, p) => `armed as (
    insert into ${q}timers as t (process, namespace, target, name, arm, due, op, args, root, traceparent)
    select x.process, $3::text, x.target, x.name, x.arm, to_timestamp(x.due / 1000.0), x.op, x.args, x.root, x.traceparent
    from ${records(p, 'process bigint, target text, name text, arm int, due float8, op text, args text, root text, traceparent text')}
    where ${accepted('x')}
    on conflict (process, name) do update set target = excluded.target, arm = excluded.arm, due = excluded.due,
      op = excluded.op, args = excluded.args, root = excluded.root, traceparent = excluded.traceparent)`,
}

const timerCancel: Section = {
  key: 'timer-cancel',
  items: (commit, i) => netTimers(commit).cancel.map((item) => ({ i, process: commit.process, ...item })),
  sql: (q, p) => `disarmed as (
    delete from ${q}timers t using ${records(p, 'process bigint, name text, arm int')}
    where t.process = x.process and t.name = x.name and t.arm = x.arm and ${accepted('x')})`,
}

const spawn: Section = {
  key: 'spawn',
  items: (commit, i) => (commit.spawns ?? []).map((item) => ({ i, ...item })),
  // Open from birth: if nobody is told of the child, recovery finds it.
  sql: (q, p) => `spawned as (
    insert into ${q}processes (namespace, id, agent, key, kind, parent, open)
    select $3::text, x.id, x.agent, x.key, x.kind, x.parent, true
    from ${records(p, 'id text, agent text, key text, kind text, parent text')}
    where ${accepted('x')} order by x.id
    on conflict (namespace, id) do nothing)`,
}

/** Columns a patch can set, with their SQL types. Null means no change, but for the nullable two, which have a flag. */
const PATCH_COLUMNS = 'pid bigint, incarnation int, state_version int, restarts int, exit_set boolean, exit text, ' +
  'ended boolean, desired text, parent_set boolean, parent text, diverged boolean'

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
  }
}

const patch: Section = {
  key: 'patch',
  items: (commit, i) => (commit.patch === undefined ? [] : [{ i, pid: commit.process, ...patchItem(commit.patch) }]),
  sql: (q, p) => `patched as (
    update ${q}processes t set
      incarnation = coalesce(x.incarnation, t.incarnation), state_version = coalesce(x.state_version, t.state_version),
      restarts = coalesce(x.restarts, t.restarts), ended = coalesce(x.ended, t.ended),
      exit = case when x.exit_set then x.exit else t.exit end, desired = coalesce(x.desired, t.desired),
      parent = case when x.parent_set then x.parent else t.parent end, diverged = coalesce(x.diverged, t.diverged)
    from ${records(p, PATCH_COLUMNS)} where t.pid = x.pid and ${accepted('x')})`,
}

const link: Section = {
  key: 'link',
  items: (commit, i) =>
    netLinks(commit.links ?? []).flatMap((change): Item[] => {
      if (change.kind === 'monitor') return [{ i, process: commit.id, peer: change.peer, kind: 'monitor', ref: change.ref }]
      if (change.kind !== 'link') return []
      const [process, peer] = linkEnds(commit.id, change.peer)
      return [{ i, process, peer, kind: 'link', ref: '' }]
    }),
  sql: (q, p) => `tied as (
    insert into ${q}links (namespace, process, peer, kind, ref)
    select distinct $3::text, x.process, x.peer, x.kind, x.ref
    from ${records(p, 'process text, peer text, kind text, ref text')}
    where ${accepted('x')} on conflict do nothing)`,
}

const unlink: Section = {
  key: 'unlink',
  items: (commit, i) =>
    netLinks(commit.links ?? []).flatMap((change): Item[] => {
      if (change.kind === 'demonitor') return [{ i, process: commit.id, peer: null, kind: 'monitor', ref: change.ref }]
      if (change.kind !== 'unlink') return []
      const [process, peer] = linkEnds(commit.id, change.peer)
      return [{ i, process, peer, kind: 'link', ref: '' }]
    }),
  sql: (q, p) => `untied as (
    delete from ${q}links t using ${records(p, 'process text, peer text, kind text, ref text')}
    where t.namespace = $3::text and t.process = x.process and t.kind = x.kind and t.ref = x.ref
      and (x.peer is null or t.peer = x.peer) and ${accepted('x')})`,
}

const register: Section = {
  key: 'register',
  items: (commit, i) =>
    netNames(commit.names ?? []).flatMap((change) =>
      change.kind === 'register' ? [{ i, process: commit.id, name: change.name }] : [],
    ),
  // A name of another process violates the primary key: class 23, and the committer finds the culprit (C2).
  sql: (q, p) => `named as (
    insert into ${q}names (namespace, name, process)
    select $3::text, x.name, x.process from ${records(p, 'process text, name text')}
    where ${accepted('x')} and not exists (
      select 1 from ${q}names o where o.namespace = $3::text and o.name = x.name and o.process = x.process))`,
}

const unregister: Section = {
  key: 'unregister',
  items: (commit, i) =>
    netNames(commit.names ?? []).flatMap((change) =>
      change.kind === 'unregister' ? [{ i, process: commit.id, name: change.name }] : [],
    ),
  sql: (q, p) => `unnamed as (
    delete from ${q}names t using ${records(p, 'process text, name text')}
    where t.namespace = $3::text and t.name = x.name and t.process = x.process and ${accepted('x')})`,
}

const failure: Section = {
  key: 'failure',
  items: (commit, i) =>
    (commit.failures ?? []).map((item) => ({
      ...item,
      i,
      process: commit.id,
      message_id: item.messageId,
      error: JSON.stringify(item.error),
      box: JSON.stringify(item.box),
    })),
  sql: (q, p) => `failed as (
    insert into ${q}failures (namespace, id, process, incarnation, class, error, attempt, message_id, op, decision, box)
    select $3::text, x.id, x.process, x.incarnation, x.class, x.error, x.attempt, x.message_id, x.op, x.decision, x.box
    from ${records(p, 'id text, process text, incarnation int, class text, error text, attempt int, message_id text, op text, decision text, box text')}
    where ${accepted('x')})`,
}

const deadLetter: Section = {
  key: 'dead-letter',
  items: (commit, i) =>
    (commit.deadLetters ?? []).map((item) => ({
      ...item,
      i,
      process: commit.id,
      message_id: item.messageId,
      failure_id: item.failureId,
    })),
  sql: (q, p) => `buried as (
    insert into ${q}dead_letters (namespace, id, process, message_id, op, args, "from", reason, failure_id)
    select $3::text, x.id, x.process, x.message_id, x.op, x.args, x."from", x.reason, x.failure_id
    from ${records(p, 'id text, process text, message_id text, op text, args text, "from" text, reason text, failure_id text')}
    where ${accepted('x')})`,
}

const attempted: Section = {
  key: 'attempted',
  items: (commit, i) =>
    (commit.attempted ?? []).flatMap(({ ref, attempts }) => {
      const leaves = commit.consumed?.some((gone) => gone.ord === ref.ord && gone.target === ref.target) ?? false
      return leaves ? [] : [{ i, target: ref.target, ord: ref.ord, attempts }]
    }),
  sql: (q, p) => `tried as (
    update ${q}mailbox m set attempts = x.attempts from ${records(p, 'target text, ord bigint, attempts int')}
    where m.namespace = $3::text and m.target = x.target and m.ord = x.ord and ${accepted('x')})`,
}

export const SECTIONS: readonly Section[] = [
  request,
  timer,
  timerCancel,
  spawn,
  patch,
  link,
  unlink,
  register,
  unregister,
  failure,
  deadLetter,
  attempted,
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
    commit.failures !== undefined ||
    commit.deadLetters !== undefined ||
    commit.attempted !== undefined
  )
}
