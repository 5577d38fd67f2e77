/**
 * Ties whose end was missed: peer and tie were committed at the same time, or the peer does not exist. The stored life
 * of the peer is then later than the one the tie remembers, or there is none. Each such tie goes, and its living end
 * hears `noproc`, in one statement.
 */
import type { NodeIdentity } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'
import { textList, texts } from './list.ts'
import { DOWN_OR_EXIT, signalInsert } from './tie-signal.ts'

export async function sweepTies({ read, q }: Context, node: NodeIdentity, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return []
  const values = [...nodeValues(node), textList(ids, (id) => id)]
  const rows = await read.unsafe<{ target: string }[]>(sweepSql(q), values, { prepare: true })
  return rows.map(({ target }) => target)
}

/** Whether one end of tie `l` is over; `life` null: an end without a row. */
const over = (life: string, id: string, q: string): string => `
      ${life} is not null and not exists (
        select 1 from ${q}processes p where p.namespace = $3::text and p.id = ${id}
          and not p.ended and not p.gone and p.incarnation <= ${life})`

function sweepSql(q: string): string {
  return `with ${fence(q)},
  places as materialized (
    select distinct t.place from unnest(${texts('$4')}) as x(id) cross join fence
    cross join lateral (
      (select l.ctid as place from ${q}links l where l.namespace = $3::text and l.process = x.id offset 0)
      union all
      (select l.ctid from ${q}links l where l.namespace = $3::text and l.peer = x.id offset 0)) t),
  seen as materialized (
    select l.ctid as place, l.process, l.peer, l.kind, l.ref, ${over('l.incarnation', 'l.process', q)} as own_over,
      ${over('l.peer_incarnation', 'l.peer', q)} as peer_over
    from ${q}links l where l.ctid = any(array(select place from places))),
  cut as (
    delete from ${q}links t where t.ctid = any(array(select place from seen where own_over or peer_over))
    returning t.process, t.peer, t.kind, t.ref, t.incarnation, t.peer_incarnation),
  told as materialized (
    select nextval('${q}ords') as ord, '{"kind":"noproc"}' as reason, s.* from (
      select c.process as target, c.incarnation as life, c.peer as sender, c.peer_incarnation as incarnation, c.ref,
        ${DOWN_OR_EXIT} from cut c join seen n using (process, peer, kind, ref) where n.peer_over and not n.own_over
      union all
      select c.peer, c.peer_incarnation, c.process, c.incarnation, c.ref,
        ${DOWN_OR_EXIT} from cut c join seen n using (process, peer, kind, ref)
      where c.kind = 'link' and n.own_over and not n.peer_over
      order by target, ref) s
    where s.life is not null),
  stored as (${signalInsert(q, 'told')})
  select distinct target from told`
}
