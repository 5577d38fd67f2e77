/**
 * Claims of many processes in one transaction of three statements, sent together.
 *
 * - D4, F4: a process is taken only where it has no owner or its owner's epoch is dead. The rows are locked first; the
 *   deciding statement then has a snapshot younger than every earlier claim and every registration of a node. In one
 *   statement, a node that registered and claimed while this one waited for the row would have looked dead.
 * - V1: a state newer than the code is refused. P3: only re-creation raises the incarnation, a claim never does.
 * - P2: an owner that died holding a message raises the recoveries of the oldest pending one, in this same transaction.
 */
import type { ClaimOutcome, ClaimRequest, NodeIdentity } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'
import { type ProcessRow, processColumns, processRecord } from './process-row.ts'

type Row = ProcessRow & {
  i: number
  outcome: ClaimOutcome['kind']
  claim: number | null
  seq: number | null
  recovered: boolean
}

const REQUEST = `json_to_recordset($4::text::json) as x(i int, id text, agent text, key text, kind text, parent text,
  version int, may_create boolean, recreate boolean, mine boolean)`

export async function claim(
  { read, q }: Context,
  node: NodeIdentity,
  requests: readonly ClaimRequest[],
): Promise<ClaimOutcome[]> {
  if (requests.length === 0) return []
  const values = [...nodeValues(node), JSON.stringify(requests.map(item))]
  const [, , rows] = await read.begin((tx) => [
    tx.unsafe(createSql(q), values, { prepare: true }),
    tx.unsafe(lockSql(q), values.slice(2), { prepare: true }),
    tx.unsafe<Row[]>(claimSql(q), values, { prepare: true }),
  ])
  if (rows.length === 0) throw nodeFenced(node)
  const outcomes = new Map(rows.map((row) => [row.i, outcome(row)]))
  return requests.map((_, i) => outcomes.get(i) ?? { kind: 'absent' })
}

function item(request: ClaimRequest, i: number) {
  const { id, agent, key, kind, parent } = request
  const { stateVersion: version, create: may_create, recreate } = request
  return { i, id, agent, key, kind, parent, version, may_create, recreate, mine: request.mine ?? false }
}

function createSql(q: string): string {
  return `with ${fence(q)}
    insert into ${q}processes (namespace, id, agent, key, kind, parent, state_version)
    select $3::text, x.id, x.agent, x.key, x.kind, x.parent, x.version from ${REQUEST}, fence
    where x.may_create order by x.id
    on conflict (namespace, id) do nothing`
}

/** Sorted by id: two claimers of overlapping batches cannot deadlock. */
function lockSql(q: string): string {
  return `select p.pid from ${q}processes p
    where p.namespace = $1::text and p.id in (select x.id from ${REQUEST.replace('$4', '$2')})
    order by p.id for no key update`
}

function claimSql(q: string): string {
  return `with ${fence(q)},
  seen as materialized (
    select x.i, x.version, x.recreate, p.pid, p.id,
      p.owner is not null and n.id is null as recovered,
      case
        when p.pid is null then 'absent'
        when n.id is not null and not (x.mine and n.id = $1::bigint) then 'owned'
        when p.state_version > x.version then 'unsupported'
        when p.ended and not x.recreate then 'ended'
        else 'claimed'
      end as outcome
    from ${REQUEST}
    cross join fence
    left join ${q}processes p on p.namespace = $3::text and p.id = x.id
    left join ${q}nodes n on n.id = p.owner and n.epoch = p.owner_epoch),
  taken as (
    update ${q}processes p set owner = $1::bigint, owner_epoch = $2::bigint, open = false,
      incarnation = p.incarnation + case when p.ended then 1 else 0 end,
      state_version = case when p.state_version = 0 then s.version else p.state_version end,
      exit = case when p.ended then null else p.exit end, ended = false
    from seen s where p.pid = s.pid and s.outcome = 'claimed'
    returning s.i, p.*),
  head as (
    insert into ${q}heads as h (process, seq, claim) select pid, 0, nextval('${q}claims') from taken
    on conflict (process) do update set claim = excluded.claim
    returning h.process, h.seq, h.claim),
  held as (
    update ${q}mailbox m set recoveries = m.recoveries + 1
    from (
      select s.id, (
        select o.ord from ${q}mailbox o
        where o.namespace = $3::text and o.target = s.id and o.kind <> 'reply' order by o.ord limit 1) as ord
      from seen s where s.outcome = 'claimed' and s.recovered) f
    where m.namespace = $3::text and m.target = f.id and m.ord = f.ord)
  select s.i, s.outcome, h.claim, h.seq, s.recovered, ${processColumns('p')}
  from seen s
  left join lateral (
    select t.* from (select i, ${ROW} from taken) t where t.i = s.i
    union all
    select s.i, ${ROW} from ${q}processes o where s.outcome <> 'claimed' and o.pid = s.pid) p on true
  left join head h on h.process = p.pid`
}

const ROW =
  'pid, id, agent, key, kind, parent, incarnation, state_version, restarts, desired, diverged, ended, exit, owner, ' +
  'owner_epoch, created_at'

function outcome(row: Row): ClaimOutcome {
  switch (row.outcome) {
    case 'absent':
      return { kind: 'absent' }
    case 'owned':
    case 'ended':
    case 'unsupported':
      return { kind: row.outcome, record: processRecord(row) }
    case 'claimed':
      if (row.claim === null || row.seq === null) throw new Error(`Claimed process ${row.id} came back without a head.`)
      return { kind: 'claimed', record: processRecord(row), claim: row.claim, seq: row.seq, recovered: row.recovered }
  }
}
