/**
 * One process out of the tables and back into them. Export is one statement, so it sees one instant, whoever works on
 * the process; import is one transaction. Texts pass through untouched.
 *
 * - An imported process belongs to nobody, has a surrogate of its own, and is marked as open: recovery looks at it.
 * - What takes the place of another process takes away all that was stored of that one, and only while no live node
 *   owns it. Ties and names stay; streams stay too, with their positions, and are those of the new process.
 */
import type { ImportOutcome, ImportPlace, ProcessBody } from '../../../shared/process-file.ts'
import type { NodeIdentity } from '../store.ts'
import { begin } from './begin.ts'
import { patience } from './client.ts'
import { type Context, fence, instant, ms } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'
import { NO_CLAIM } from './park.ts'

/** Ms. Journals of a long life are large; nobody waits for this. */
const TIMEOUT_MS = 120_000

export async function exportProcess({ read, q }: Context, namespace: string, id: string): Promise<ProcessBody | null> {
  const [, rows] = await begin(
    read,
    (tx) =>
      Promise.all([tx.unsafe(patience(TIMEOUT_MS)), tx.unsafe<{ body: string }[]>(exportSql(q), [namespace, id])]),
    'isolation level repeatable read read only',
  )
  const [row] = rows
  return row === undefined ? null : (JSON.parse(row.body) as ProcessBody) // the statement builds exactly this
}

const list = (sql: string, order: string): string =>
  `coalesce((select json_agg(row_to_json(x) order by ${order}) from (${sql}) x), '[]'::json)`

function exportSql(q: string): string {
  const kept = (table: string) =>
    `select s.seq, s.state_version as "stateVersion", s.value, ${ms('s.at')} as at from ${q}${table} s
     where s.process = p.pid`
  return `select json_build_object(
    'process', json_build_object('id', p.id, 'agent', p.agent, 'key', p.key, 'parent', p.parent,
      'incarnation', p.incarnation, 'stateVersion', p.state_version, 'restarts', p.restarts, 'desired', p.desired,
      'diverged', p.diverged, 'trapExit', p.trap_exit, 'gone', p.gone, 'ended', p.ended, 'exit', p.exit,
      'createdAt', ${ms('p.created_at')}, 'sandbox', p.sandbox,
      'branch', p.branch),
    'seq', coalesce(h.seq, 0),
    'snapshot', (select row_to_json(x) from (${kept('snapshots')}) x),
    'waypoints', ${list(kept('waypoints'), 'x.seq')},
    'journal', ${list(
      `select j.seq, j.format, j.state_version as "stateVersion", j.code_version as "codeVersion",
         j.turn_ids as "turnIds", j.cause, j.root, j.traceparent, j.actor, ${ms('j.at')} as at, j.payload
       from ${q}journal j where j.process = p.pid`,
      'x.seq',
    )},
    'mailbox', coalesce((select json_agg(json_build_object('id', m.id, 'kind', m.kind, 'op', m.op, 'sender', m.sender,
      'n', m.n, 'args', m.args, 'replyTo', m.reply_to::json, 'cause', m.cause, 'root', m.root,
      'chain', coalesce(m.chain::json, '[]'::json), 'traceparent', m.traceparent, 'actor', m.actor,
      'deadline', ${ms('m.deadline')}, 'at', ${ms('m.at')}, 'timer', case when m.timer_name is not null then
        json_build_object('name', m.timer_name, 'arm', m.timer_arm) end, 'attempts', m.attempts,
      'recoveries', m.recoveries) order by m.ord)
      from ${q}mailbox m where m.namespace = p.namespace and m.target = p.id), '[]'::json),
    'timers', ${list(
      `select t.name, t.arm, ${ms('t.due')} as due, t.op, t.args, t.root, t.traceparent from ${q}timers t
       where t.process = p.pid`,
      'x.name',
    )},
    'refs', ${list(
      `select r.snapshot, r.seq, r.hash from ${q}blob_refs r where r.process = p.pid`,
      'x.snapshot, x.seq, x.hash',
    )},
    'blobs', ${list(
      `select b.hash, b.value from ${q}blobs b
       where b.hash in (select r.hash from ${q}blob_refs r where r.process = p.pid)`,
      'x.hash',
    )})::text as body
  from ${q}processes p left join ${q}heads h on h.process = p.pid
  where p.namespace = $1::text and p.id = $2::text and p.kind = 'agent'`
}

export function importProcess(
  { read, q, crash }: Context,
  node: NodeIdentity,
  { body, place }: { body: ProcessBody; place: ImportPlace },
): Promise<ImportOutcome> {
  return begin(read, async (tx) => {
    await tx.unsafe(patience(TIMEOUT_MS))
    const [alive] = await tx.unsafe(`with ${fence(q)} select 1 from fence`, nodeValues(node))
    if (alive === undefined) throw nodeFenced(node)
    const [found] = await tx.unsafe<{ pid: number; incarnation: number; owned: boolean }[]>(
      `select p.pid, p.incarnation, exists (
         select 1 from ${q}nodes n where n.id = p.owner and n.epoch = p.owner_epoch) as owned
       from ${q}processes p where p.namespace = $1::text and p.id = $2::text for update`,
      [node.namespace, place.id],
    )
    if (found !== undefined && !place.replace) return 'exists'
    if (found?.owned === true) return 'owned'
    if (found !== undefined) for (const sql of removeSql(q)) await tx.unsafe(sql, [node.namespace, place.id, found.pid])
    const incarnation = Math.max(body.process.incarnation, found?.incarnation ?? 0)
    const whole = JSON.stringify({ ...body, process: { ...body.process, incarnation } })
    const [made] = await tx.unsafe<{ pid: number }[]>(makeSql(q), [node.namespace, place.id, whole])
    // A rival made one between the look and now.
    if (made === undefined) return 'exists'
    crash.hit('import:middle')
    for (const sql of fillSql(q)) await tx.unsafe(sql, [node.namespace, place.id, made.pid, whole])
    if (found !== undefined) await tx.unsafe(streamSql(q), [made.pid, found.pid])
    return 'imported'
  })
}

function removeSql(q: string): string[] {
  const mine = `$1::text is not null and $2::text is not null`
  const tables = ['journal', 'snapshots', 'waypoints', 'heads', 'timers', 'blob_refs']
  return [
    ...tables.map((table) => `delete from ${q}${table} where process = $3::bigint and ${mine}`),
    `delete from ${q}mailbox where namespace = $1::text and target = $2::text and $3::bigint is not null`,
    `delete from ${q}processes where namespace = $1::text and id = $2::text and pid = $3::bigint`,
  ]
}

function streamSql(q: string): string {
  return `update ${q}streams set process = $1::bigint where process = $2::bigint`
}

function makeSql(q: string): string {
  return `insert into ${q}processes (namespace, id, agent, key, kind, parent, incarnation, state_version, restarts,
    desired, diverged, trap_exit, gone, ended, exit, open, created_at, sandbox, branch)
  select $1::text, $2::text, x.agent, substr($2::text, strpos($2::text, '/') + 1), 'agent', x.parent, x.incarnation,
    x."stateVersion", x.restarts, x.desired, x.diverged, x."trapExit", x.gone, x.ended, x.exit, not x.ended,
    ${instant('x."createdAt"')}, x.sandbox, x.branch
  from json_to_record($3::text::json -> 'process') as x(agent text, parent text, incarnation int, "stateVersion" int,
    restarts int, desired text, diverged boolean, "trapExit" boolean, gone boolean, ended boolean, exit text,
    "createdAt" float8, sandbox text, branch bigint)
  on conflict do nothing returning pid`
}

function fillSql(q: string): string[] {
  const rows = (part: string, columns: string) => `json_to_recordset(${part}) as x(${columns})`
  const body = (key: string) => `($4::text::json -> '${key}')`
  const used = `$1::text is not null and $2::text is not null`
  const kept = `seq bigint, "stateVersion" int, value text, at float8`
  const keep = (table: string, part: string) =>
    `insert into ${q}${table} (process, seq, claim, state_version, value, at)
     select $3::bigint, x.seq, ${NO_CLAIM}, x."stateVersion", x.value, ${instant('x.at')} from ${rows(part, kept)}
     where ${used}`
  return [
    `insert into ${q}heads (process, seq, claim)
     select $3::bigint, ($4::text::json ->> 'seq')::bigint, ${NO_CLAIM} where ${used}`,
    `insert into ${q}blobs (hash, value) select x.hash, x.value from ${rows(body('blobs'), 'hash text, value text')}
     where ${used} and $3::bigint is not null
     on conflict (hash) do update set touched_at = now()`,
    `insert into ${q}blob_refs (process, snapshot, seq, hash) select $3::bigint, x.snapshot, x.seq, x.hash
     from ${rows(body('refs'), 'snapshot boolean, seq bigint, hash text')} where ${used}`,
    keep(
      'snapshots',
      `case when json_typeof${body('snapshot')} = 'object' then json_build_array${body('snapshot')}
       else '[]'::json end`,
    ),
    keep('waypoints', body('waypoints')),
    `insert into ${q}journal (process, seq, claim, format, state_version, code_version, turn_ids, cause, root,
       traceparent, actor, at, payload)
     select $3::bigint, x.seq, ${NO_CLAIM}, x.format, x."stateVersion", x."codeVersion",
       array(select json_array_elements_text(x."turnIds")), x.cause, x.root, x.traceparent, x.actor,
       ${instant('x.at')}, x.payload
     from ${rows(
       body('journal'),
       `seq bigint, format smallint, "stateVersion" int, "codeVersion" text, "turnIds" json, cause text, root text,
        traceparent text, actor text, at float8, payload text`,
     )} where ${used}`,
    `insert into ${q}mailbox (namespace, target, ord, id, kind, op, sender, n, args, reply_to, cause, root, chain,
       traceparent, actor, deadline, timer_name, timer_arm, attempts, recoveries, at)
     select $1::text, $2::text, nextval('${q}ords'), x.id, x.kind, x.op, x.sender, x.n, x.args, x."replyTo", x.cause,
       x.root, nullif(x.chain, '[]'), x.traceparent, x.actor, ${instant('x.deadline')}, x.timer ->> 'name',
       (x.timer ->> 'arm')::int, x.attempts, x.recoveries, ${instant('x.at')}
     from (select * from ${rows(
       body('mailbox'),
       `id text, kind text, op text, sender text, n int, args text, "replyTo" text, cause text, root text, chain text,
        traceparent text, actor text, deadline float8, timer json, attempts int, recoveries int, at float8`,
     )}) x where $3::bigint is not null`,
    `insert into ${q}timers (process, namespace, target, name, arm, due, op, args, root, traceparent)
     select $3::bigint, $1::text, $2::text, x.name, x.arm, ${instant('x.due')}, x.op, x.args, x.root, x.traceparent
     from ${rows(body('timers'), 'name text, arm int, due float8, op text, args text, root text, traceparent text')}`,
  ]
}
