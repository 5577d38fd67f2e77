/**
 * D5, F5: snapshots move forward only, only under the current claim, and never past what the journal holds.
 * D21: nor without the blobs they refer to. The references of the snapshot before leave with it.
 * V4: the one before becomes a waypoint when the last waypoint is far behind it. The statement sees it as it was.
 */
import { WAYPOINT_ROWS } from '../../../shared/retention.ts'
import type { NodeIdentity, SnapshotWrite } from '../store.ts'
import { freshBlob } from './blob.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'
import { bigints, numberList, textList, texts } from './list.ts'

export async function snapshot(
  { read, q }: Context,
  node: NodeIdentity,
  writes: readonly SnapshotWrite[],
): Promise<void> {
  if (writes.length === 0) return
  const rows = writes.toSorted((a, b) => a.process - b.process)
  await read.unsafe(
    snapshotSql(q),
    [
      ...nodeValues(node),
      numberList(rows, (row) => row.process),
      numberList(rows, (row) => row.claim),
      numberList(rows, (row) => row.seq),
      numberList(rows, (row) => row.stateVersion),
      textList(rows, (row) => row.value),
      JSON.stringify(rows.flatMap(({ process, blobs }) => (blobs ?? []).map((hash) => ({ process, hash })))),
    ],
    { prepare: true },
  )
}

function snapshotSql(q: string): string {
  return `with ${fence(q)},
  refs as materialized (select * from json_to_recordset($9::text::json) as r(process bigint, hash text)),
  written as (
    insert into ${q}snapshots as s (process, claim, seq, state_version, value)
    select x.process, x.claim, x.seq, x.version, x.value
    from unnest(${bigints('$4')}, ${bigints('$5')}, ${bigints('$6')}, ${bigints('$7')}, ${texts('$8')})
      as x(process, claim, seq, version, value)
    join ${q}heads h on h.process = x.process and h.claim = x.claim and h.seq >= x.seq
    cross join fence
    where not exists (select 1 from refs r where r.process = x.process and not ${freshBlob(q, 'r.hash')})
    on conflict (process) do update set claim = excluded.claim, seq = excluded.seq,
      state_version = excluded.state_version, value = excluded.value, at = now()
    where s.seq < excluded.seq
    returning s.process, s.seq),
  waypoint as (
    insert into ${q}waypoints (process, seq, claim, state_version, value, at)
    select s.process, s.seq, s.claim, s.state_version, s.value, s.at from written w
    join ${q}snapshots s on s.process = w.process and s.seq < w.seq
    where s.seq >= ${WAYPOINT_ROWS} + coalesce(
      (select k.seq from ${q}waypoints k where k.process = s.process order by k.seq desc limit 1), 0)
    on conflict do nothing
    returning process, seq),
  left_behind as (
    delete from ${q}blob_refs o using written w, ${q}snapshots s
    where s.process = w.process and o.process = w.process and o.snapshot and o.seq = s.seq and o.seq < w.seq
      and not exists (select 1 from waypoint k where k.process = o.process and k.seq = o.seq))
  insert into ${q}blob_refs (process, snapshot, seq, hash)
  select w.process, true, w.seq, r.hash from refs r join written w on w.process = r.process`
}
