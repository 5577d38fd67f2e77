/**
 * Takes away what is kept no longer, a few streams and a bounded number of records at a time: no append and no commit
 * waits for longer than one such step. A page of streams is looked at by one statement; only what is due is locked.
 */
import type { NodeIdentity } from '../store.ts'
import { isOver, type Pruned, type PruneStep, type StreamPolicy } from '../stream.ts'
import { endStream } from '../stream-verb.ts'
import type { Context } from './context.ts'
import { overSql } from './stream-row.ts'
import { inTransaction } from './stream-table.ts'

type Looked = { id: number; agent: string | null; over: boolean; due: boolean }

export async function pruneStreams(at: Context, node: NodeIdentity, step: PruneStep): Promise<Pruned> {
  const page = await at.read.unsafe<Looked[]>(
    lookSql(at.q),
    [node.namespace, step.after, step.limit, JSON.stringify(step.policies)],
    { prepare: true },
  )
  let records = 0
  let streams = 0
  for (const { id, agent, over, due } of page) {
    const policy = due ? step.policies.find((one) => one.agent === agent) : undefined
    if (over) streams += await end(at, node, id)
    else if (policy !== undefined) {
      const taken = await prune(at, node, { id, policy, limit: step.records })
      records += taken.records
      streams += taken.streams
    }
  }
  const last = page.at(-1)
  return { records, streams, cursor: page.length < step.limit || last === undefined ? null : last.id }
}

const age = (parameter: string): string => `now() - ${parameter}::float8 * interval '1 millisecond'`

/** `due`: too many bytes, a first record that is too old, or closed, empty and too old itself. */
function lookSql(q: string): string {
  const first = `(select r.at from ${q}stream_records r where r.stream = s.id and r.pos >= s.floor
    order by r.pos limit 1)`
  return `select s.id, p.agent, s.process is null and not s.gone and ${overSql('s')} as over,
      coalesce(s.bytes > x."maxBytes", false)
        or coalesce(coalesce(${first}, case when s.closed then s.touched_at end) < ${age('x."maxAgeMs"')}, false) as due
    from ${q}streams s left join ${q}processes p on p.pid = s.process
    left join json_to_recordset($4::text::json) as x(agent text, "maxAgeMs" float8, "maxBytes" float8)
      on x.agent = p.agent
    where s.namespace = $1::text and s.id > $2::bigint order by s.id limit $3::int`
}

/** Looked at again under its lock: it may have been read, and so live on. */
function end(at: Context, node: NodeIdentity, id: number): Promise<number> {
  return inTransaction(at, node, async (tables) => {
    const row = await tables.byId(id)
    if (row === null || row.gone || !isOver(row, await tables.now())) return 0
    await endStream(tables, row)
    return 1
  })
}

function prune(
  at: Context,
  node: NodeIdentity,
  { id, policy, limit }: { id: number; policy: StreamPolicy; limit: number },
): Promise<{ records: number; streams: number }> {
  const { maxAgeMs, maxBytes } = policy
  return inTransaction(at, node, async (tables, tx) => {
    // Locked first: an append moves `bytes` and `tail` of the same row.
    const row = await tables.byId(id)
    if (row === null) return { records: 0, streams: 0 }
    const surplus = maxBytes === null ? 0 : Math.max(0, row.bytes - maxBytes)
    const values = [id, maxAgeMs, surplus, limit]
    const [moved] = await tx.unsafe<{ n: number }[]>(pruneSql(at.q), values, { prepare: true })
    const spent = maxAgeMs === null ? [] : await tx.unsafe(spentSql(at.q), [id, maxAgeMs], { prepare: true })
    return { records: moved?.n ?? 0, streams: spent.length }
  })
}

/** The longest row of old or surplus records from the front: what is kept has no gap. */
function pruneSql(q: string): string {
  return `with front as materialized (
    select r.pos, length(r.data) as size, coalesce(r.at < ${age('$2')}, false) as old,
      sum(length(r.data)) over (order by r.pos) - length(r.data) as before
    from (select * from ${q}stream_records where stream = $1::bigint order by pos limit $4::int) r),
  gone as materialized (
    select pos, size from front f where not exists (
      select 1 from front k where k.pos <= f.pos and not k.old and k.before >= $3::float8)),
  cut as (delete from ${q}stream_records r using gone g where r.stream = $1::bigint and r.pos = g.pos),
  moved as (
    update ${q}streams s set floor = coalesce((select max(pos) + 1 from gone), s.floor),
      bytes = s.bytes - coalesce((select sum(size) from gone), 0)
    where s.id = $1::bigint and exists (select 1 from gone))
  select count(*)::int as n from gone`
}

/** Closed, and nothing of it is young enough to be kept. */
function spentSql(q: string): string {
  return `delete from ${q}streams where id = $1::bigint and closed and floor = tail
    and touched_at < ${age('$2')} returning id`
}
