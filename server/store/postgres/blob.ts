/**
 * V4: large values, stored once under their hash.
 *
 * - Writing touches: what is there is not sent again. It comes before whatever refers to it, in statements of its own.
 * - D22: a collection and a touch that meet lock one row: either the touch waits, finds nothing and stores the value
 *   anew, or the collection looks again and finds it touched. References are safe by time: a row is refused when its
 *   blobs were not touched within BLOB_FRESH_MS (commit.ts), which is far from BLOB_UNTOUCHED_MS.
 */
import type { BlobRef } from '../attach.ts'
import type { Collected, CollectStep, NewBlob, NodeIdentity } from '../store.ts'
import { BLOB_FRESH_MS } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'
import { textList, texts } from './list.ts'

export async function writeBlobs({ read, q }: Context, node: NodeIdentity, blobs: readonly NewBlob[]): Promise<void> {
  if (blobs.length === 0) return
  const hashes = textList(blobs, (blob) => blob.hash)
  const rows = await read.unsafe<{ hash: string }[]>(touchSql(q), [...nodeValues(node), hashes], { prepare: true })
  const there = new Set(rows.map((row) => row.hash))
  // One by one: a statement holds one value in memory, here and in the server.
  for (const { hash, value } of blobs) {
    if (!there.has(hash)) await read.unsafe(insertSql(q), [...nodeValues(node), hash, value], { prepare: true })
  }
}

function touchSql(q: string): string {
  return `with ${fence(q)}
  update ${q}blobs set touched_at = now() where hash = any(${texts('$4')}) and exists (select 1 from fence)
  returning hash`
}

function insertSql(q: string): string {
  return `with ${fence(q)}
  insert into ${q}blobs (hash, value) select $4::text, $5::text from fence
  on conflict (hash) do update set touched_at = now()`
}

/** A blob that a row may refer to. */
export function freshBlob(q: string, hash: string): string {
  return `exists (select 1 from ${q}blobs b
    where b.hash = ${hash} and b.touched_at > now() - interval '${BLOB_FRESH_MS} milliseconds')`
}

/** References of processes as a load needs them: to snapshots and later rows. Each value comes once.
 *  @param pids  SQL of a list of them */
export function refSql(q: string, pids: string): string {
  return `select r.process::float8 as process, r.seq::float8 as seq, r.snapshot, r.hash,
      case when row_number() over (partition by r.hash) = 1 then b.value end as value
    from unnest(${pids}) as x(pid)
    cross join lateral (
      select s.* from ${q}blob_refs s where s.process = x.pid and s.snapshot
        and s.seq = (select n.seq from ${q}snapshots n where n.process = x.pid)
      union all
      select j.* from ${q}blob_refs j where j.process = x.pid and not j.snapshot
        and j.seq > coalesce((select s.seq from ${q}snapshots s where s.process = x.pid), 0)) r
    left join ${q}blobs b on b.hash = r.hash`
}

export type BlobRefRow = BlobRef & Record<string, unknown>

export async function collectBlobs({ read, q }: Context, node: NodeIdentity, step: CollectStep): Promise<Collected> {
  const { untouchedMs, after, limit } = step
  const values = [...nodeValues(node), after ?? '', untouchedMs, limit]
  const [row] = await read.unsafe<{ looked: number; last: string | null; collected: number }[]>(collectSql(q), values, {
    prepare: true,
  })
  if (row === undefined) throw new Error('The collection returned no row; an aggregate always returns one.')
  return { collected: row.collected, cursor: row.looked < limit ? null : row.last }
}

function collectSql(q: string): string {
  const old = `touched_at < now() - $5::float8 * interval '1 millisecond'`
  return `with ${fence(q)},
  look as materialized (
    select b.hash, b.${old} as old from ${q}blobs b where b.hash > $4::text and exists (select 1 from fence)
    order by b.hash limit $6::int),
  free as materialized (
    select l.hash from look l where l.old and not exists (select 1 from ${q}blob_refs r where r.hash = l.hash)),
  gone as (
    delete from ${q}blobs b where b.hash = any(array(select hash from free)) and b.${old} returning 1)
  select (select count(*) from look)::int as looked, (select max(hash) from look) as last,
    (select count(*) from gone)::int as collected`
}
