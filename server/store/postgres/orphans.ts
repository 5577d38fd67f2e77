/**
 * Continuous recovery: who should run and is run by nobody. Three questions, each answered by an index:
 * processes whose owner is dead (grouped by owner: the live ones cost one probe each), processes given up with an open
 * turn, and targets with pending messages (one probe per target, however many rows it has).
 *
 * - Pseudo targets (`client/...`, `node/...`) are nobody's to run; ended processes are not woken by messages; what an
 *   operator stopped stays stopped, what is suspended waits (F7).
 * - W2: messages behind a parked turn wake nobody; a reply, a cancellation, the timer of the turn, or a message it
 *   can take does.
 * - V1: a state newer than this node's code, and agents it does not have, are left to other nodes.
 */
import { PSEUDO_AGENTS, RUNTIME_AGENTS } from '../../../shared/id.ts'
import { JUDGED_MS, type NodeIdentity, WAKE } from '../store.ts'
import type { Context } from './context.ts'
import { nodeValues } from './fenced.ts'
import { nameList } from './list.ts'

export async function orphans({ read, q }: Context, node: NodeIdentity, limit: number) {
  const rows = await read.unsafe<{ id: string; agent: string; key: string }[]>(
    orphanSql(q),
    [...nodeValues(node), limit],
    { prepare: true },
  )
  return rows.map(({ id, agent, key }) => ({ id, agent, key }))
}

/** Whether this node has the code: `agent` and `version` are SQL expressions. An empty list means every agent. */
function runnable(agent: string, version: string): string {
  return `(me.list = '{}' or ${agent} in ${nameList(RUNTIME_AGENTS)}
    or coalesce((me.list::json ->> ${agent})::int, -1) >= ${version})`
}

function orphanSql(q: string): string {
  return `with recursive
  me as materialized (
    select capabilities as list from ${q}nodes where id = $1::bigint and epoch = $2::bigint and namespace = $3::text),
  owner as (
    (select owner, owner_epoch from ${q}processes
     where namespace = $3::text and owner is not null and not ended order by owner, owner_epoch limit 1)
    union all
    select o.* from owner w cross join lateral (
      select owner, owner_epoch from ${q}processes
      where namespace = $3::text and owner is not null and not ended
        and (owner, owner_epoch) > (w.owner, w.owner_epoch) order by owner, owner_epoch limit 1) o),
  target as (
    (select target from ${q}mailbox where namespace = $3::text order by target limit 1)
    union all
    select o.* from target w cross join lateral (
      select target from ${q}mailbox where namespace = $3::text and target > w.target order by target limit 1) o),
  found as (
    (select p.id from owner w
     join ${q}processes p on p.namespace = $3::text and p.owner = w.owner and p.owner_epoch = w.owner_epoch
       and not p.ended
     cross join me
     where not exists (select 1 from ${q}nodes n where n.id = w.owner and n.epoch = w.owner_epoch)
       and p.desired <> 'stopped' and ${runnable('p.agent', 'p.state_version')}
     limit $4::int)
    union
    (select p.id from ${q}processes p cross join me
     where p.namespace = $3::text and p.open and p.owner is null and not p.ended and p.desired = 'running'
       and ${runnable('p.agent', 'p.state_version')}
     limit $4::int)
    union
    (select t.target from target t cross join me
     left join ${q}processes p on p.namespace = $3::text and p.id = t.target
     where split_part(t.target, '/', 1) not in ${nameList(PSEUDO_AGENTS)}
       and ${runnable(`split_part(t.target, '/', 1)`, 'coalesce(p.state_version, 0)')}
       and (p.pid is null or (not p.ended and p.desired = 'running' and not exists (
         select 1 from ${q}nodes n where n.id = p.owner and n.epoch = p.owner_epoch)))
       and (p.takes is null or ${wakesSql(q, '$3::text')})
     limit $4::int))
  select id, split_part(id, '/', 1) as agent, substr(id, strpos(id, '/') + 1) as key from found limit $4::int`
}

/** W2: a message that wakes the parked turn of `p` waits for `t.target`. */
export function wakesSql(q: string, namespace: string): string {
  return `exists (
    select 1 from ${q}mailbox m where m.namespace = ${namespace} and m.target = t.target
      and (m.kind in ('reply', 'exit', 'cancel') or m.op = '${WAKE}'
        or (m.kind not in ('withdraw', 'down') and ('*' = any(p.takes) or m.op = any(p.takes))
          and (m.ord > p.judged or m.at > now() - interval '${JUDGED_MS} milliseconds'))))`
}
