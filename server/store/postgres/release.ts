/**
 * Giving processes up. The claim in the head goes with the owner: a commit that is still on its way is refused, not
 * written behind the back of the next owner. A process with an open turn says so and is found by recovery.
 */
import type { NodeIdentity, Pid, Release } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'
import { NO_CLAIM, park } from './park.ts'

export async function release({ read, q }: Context, node: NodeIdentity, claims: readonly Release[]): Promise<Pid[]> {
  if (claims.length === 0) return []
  if (claims.some(({ park }) => park !== undefined)) return park({ read, q }, node, claims)
  const items = claims.map(({ process, claim, open }) => ({ process, claim, open: open ?? false }))
  const rows = await read.unsafe<{ pid: number }[]>(releaseSql(q), [...nodeValues(node), JSON.stringify(items)], {
    prepare: true,
  })
  return rows.map((row) => row.pid)
}

function releaseSql(q: string): string {
  return `with ${fence(q)},
  freed as (
    update ${q}heads h set claim = ${NO_CLAIM}
    from json_to_recordset($4::text::json) as x(process bigint, claim bigint, open boolean), fence
    where h.process = x.process and h.claim = x.claim
    returning h.process, x.open)
  update ${q}processes p set owner = null, owner_epoch = null, open = f.open
  from freed f where p.pid = f.process and p.owner = $1::bigint and p.owner_epoch = $2::bigint
  returning p.pid`
}
