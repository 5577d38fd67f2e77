/**
 * Takes away what is kept no longer, a few streams and a bounded number of records at a time: no append and no commit
 * waits for longer than one such step.
 */
import type { NodeIdentity } from '../store.ts'
import type { Pruned, PruneStep, StreamPolicy, StreamRow } from '../stream.ts'
import { endStream } from '../stream-verb.ts'
import type { Context } from './context.ts'
import { overSql } from './stream-row.ts'
import { inTransaction } from './stream-table.ts'

type Due = Pick<StreamRow, 'id' | 'bytes'> & { agent: string | null; over: boolean }

export async function pruneStreams(at: Context, node: NodeIdentity, step: PruneStep): Promise<Pruned> {
  const { read, q } = at
  const due = await read.unsafe<Due[]>(
    `select s.id, s.bytes, p.agent, s.process is null and not s.gone and ${overSql('s')} as over
     from ${q}streams s left join ${q}processes p on p.pid = s.process
     where s.namespace = $1::text and s.id > $2::bigint order by s.id limit $3::int`,
    [node.namespace, step.after, step.limit],
    { prepare: true },
  )
  let records = 0
  let streams = 0
  for (const row of due) {
    const policy = step.policies.find(({ agent }) => agent === row.agent)
    if (row.over) streams += await end(at, node, row.id)
    else if (policy !== undefined) {
      const taken = await prune(at, node, { row, policy, limit: step.records })
      records += taken.records
      streams += taken.streams
    }
  }
  const last = due.at(-1)
  return { records, streams, cursor: due.length < step.limit || last === undefined ? null : last.id }
}

/** Looked at again under its lock: it may have been read, and so live on. */
function end({ q, ...at }: Context, node: NodeIdentity, id: number): Promise<number> {
  return inTransaction({ q, ...at }, node, async (tables) => {
    const row = await tables.byId(id)
    const now = await tables.now()
    const isDue =
      row !== null &&
      ((row.expiresAt !== null && row.expiresAt <= now) ||
        (row.ttlS !== null && row.touchedAt + row.ttlS * 1_000 <= now))
    if (!isDue) return 0
    await endStream(tables, row)
    return 1
  })
}

async function prune(
  { read, q }: Context,
  node: NodeIdentity,
  { row, policy, limit }: { row: Due; policy: StreamPolicy; limit: number },
): Promise<{ records: number; streams: number }> {
  const { maxAgeMs, maxBytes } = policy
  const surplus = maxBytes === null ? 0 : Math.max(0, row.bytes - maxBytes)
  const taken = await read.begin(async (tx) => {
    // Locked first: an append moves `bytes` and `tail` of the same row.
    const values = [row.id, node.id, node.epoch]
    const locked = `select id from ${q}streams where id = $1::bigint
      and exists (select 1 from ${q}nodes where id = $2::bigint and epoch = $3::bigint) for update`
    if ((await tx.unsafe(locked, values, { prepare: true })).length === 0) return { records: 0, streams: 0 }
    const [moved] = await tx.unsafe<{ n: number }[]>(pruneSql(q), [row.id, maxAgeMs, surplus, limit], { prepare: true })
    const spent = maxAgeMs === null ? [] : await tx.unsafe(spentSql(q), [row.id, maxAgeMs], { prepare: true })
    return { records: moved?.n ?? 0, streams: spent.length }
  })
  return taken
}

/** The longest row of old or surplus records from the front: what is kept has no gap. */
function pruneSql(q: string): string {
  return `with front as materialized (
    select r.pos, length(r.data) as size, coalesce(r.at < now() - $2::float8 * interval '1 millisecond', false) as old,
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
    and touched_at < now() - $2::float8 * interval '1 millisecond' returning id`
}
