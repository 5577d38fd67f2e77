/** F7: what an operator wants a process to be is a column and survives every restart. */
import type { DesiredState } from '../../../shared/snapshot.ts'
import type { NodeIdentity } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'

export async function setDesired(
  { read, q }: Context,
  node: NodeIdentity,
  { id, desired }: { id: string; desired: DesiredState },
): Promise<boolean> {
  const rows = await read.unsafe(
    `with ${fence(q)} update ${q}processes p set desired = $5::text from fence
     where p.namespace = $3::text and p.id = $4::text returning p.pid`,
    [...nodeValues(node), id, desired],
    { prepare: true },
  )
  return rows.length > 0
}
