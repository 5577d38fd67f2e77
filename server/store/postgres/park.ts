/**
 * Giving up processes whose open turn waits: what it waits for stands in the row, and its timer is armed in the same
 * statement, so no instant exists at which nobody would wake it. The claim in the head goes as with any release.
 */
import { type NodeIdentity, type Pid, type Release, WAKE } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'

/** No activation has this claim: the sequence begins at 1. */
export const NO_CLAIM = 0

const ITEMS = `json_to_recordset($4::text::json) as x(process bigint, claim bigint, open boolean, wait text,
  takes text[], judged bigint, target text, arm int, due float8, root text, traceparent text)`

export async function park(
  { read, q }: Pick<Context, 'read' | 'q'>,
  node: NodeIdentity,
  claims: readonly Release[],
): Promise<Pid[]> {
  const rows = await read.unsafe<{ pid: number }[]>(
    parkSql(q),
    [...nodeValues(node), JSON.stringify(claims.map(item)), WAKE],
    { prepare: true },
  )
  return rows.map((row) => row.pid)
}

function item({ process, claim, open, park }: Release) {
  const timer = park?.timer ?? null
  return {
    ...{
      process,
      claim,
      open: open ?? false,
      wait: park?.wait ?? null,
      takes: park?.takes ?? null,
      judged: park?.judged ?? null,
    },
    ...{ target: timer?.target ?? null, arm: timer?.arm ?? null, due: timer?.due ?? null },
    ...{ root: timer?.root ?? null, traceparent: timer?.traceparent ?? null },
  }
}

function parkSql(q: string): string {
  return `with ${fence(q)},
  freed as (
    update ${q}heads h set claim = ${NO_CLAIM} from ${ITEMS}, fence
    where h.process = x.process and h.claim = x.claim
    returning x.*),
  armed as (
    insert into ${q}timers (process, namespace, target, name, arm, due, op, args, root, traceparent)
    select process, $3::text, target, $5::text, arm, to_timestamp(due / 1000.0), $5::text, 'null', root, traceparent
    from freed where due is not null
    on conflict (process, name) do update set target = excluded.target, arm = excluded.arm, due = excluded.due,
      root = excluded.root, traceparent = excluded.traceparent),
  disarmed as (
    delete from ${q}timers t where t.name = $5::text
      and t.process = any(array(select process from freed where due is null)))
  update ${q}processes p set owner = null, owner_epoch = null, open = f.open, wait = f.wait, takes = f.takes,
    judged = f.judged
  from freed f where p.pid = f.process and p.owner = $1::bigint and p.owner_epoch = $2::bigint
  returning p.pid`
}
