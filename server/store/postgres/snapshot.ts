/**
 * D5, F5: snapshots move forward only, only under the current claim, and never past what the journal holds.
 */
import type { NodeIdentity, SnapshotWrite } from '../store.ts'
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
    ],
    { prepare: true },
  )
}

function snapshotSql(q: string): string {
  return `with ${fence(q)}
  insert into ${q}snapshots as s (process, claim, seq, state_version, value)
  select x.process, x.claim, x.seq, x.version, x.value
  from unnest(${bigints('$4')}, ${bigints('$5')}, ${bigints('$6')}, ${bigints('$7')}, ${texts('$8')})
    as x(process, claim, seq, version, value)
  join ${q}heads h on h.process = x.process and h.claim = x.claim and h.seq >= x.seq
  cross join fence
  on conflict (process) do update set claim = excluded.claim, seq = excluded.seq,
    state_version = excluded.state_version, value = excluded.value, at = now()
  where s.seq < excluded.seq`
}
