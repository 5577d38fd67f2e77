/**
 * Claims of many processes in one transaction of four statements, sent together: make, lock, decide, read. What does
 * not exist is made as owned at once, which saves writing each new row twice; `xmin` tells the deciding statement.
 *
 * - D4, F4: a process is taken only where it has no owner or its owner's epoch is dead. The rows are locked first; the
 *   deciding statement then has a snapshot younger than every earlier claim and every registration of a node. In one
 *   statement, a node that registered and claimed while this one waited for the row would have looked dead.
 * - V1: a state newer than the code is refused. P3: only re-creation raises the incarnation, a claim never does.
 * - P2: an owner that died holding a message raises the recoveries of the oldest pending one, in this same transaction.
 */
import type { ClaimOutcome, ClaimRequest, NodeIdentity } from '../store.ts'
import { begin } from './begin.ts'
import { type Context, fence } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'
import { textList, texts } from './list.ts'
import { type ProcessRow, processColumns, processRecord } from './process-row.ts'

type Verdict = { i: number; outcome: ClaimOutcome['kind'] | 'made'; recovered: boolean }
type Row = ProcessRow & { claim: number | null; seq: number | null }

const REQUEST = `json_to_recordset($4::text::json) as x(i int, id text, agent text, key text, kind text, parent text,
  version int, may_create boolean, for_mail boolean, recreate boolean, mine boolean)`
/** Stored rows are reached by their keys: without statistics a join would read the whole namespace. */
const wanted = (namespace: string, ids: string): string =>
  `p.namespace = ${namespace}::text and p.id = any(${texts(ids)})`

export async function claim(
  { read, q }: Context,
  node: NodeIdentity,
  requests: readonly ClaimRequest[],
): Promise<ClaimOutcome[]> {
  if (requests.length === 0) return []
  const values = [...nodeValues(node), JSON.stringify(requests.map(item))]
  const ids = textList(requests, (request) => request.id)
  const [, , verdicts, rows] = await begin(read, (tx) =>
    Promise.all([
      tx.unsafe(createSql(q), values, { prepare: true }),
      tx.unsafe(lockSql(q), [node.namespace, ids], { prepare: true }),
      tx.unsafe<Verdict[]>(claimSql(q), [...values, ids], { prepare: true }),
      tx.unsafe<Row[]>(recordSql(q), [node.namespace, ids], { prepare: true }),
    ]),
  )
  if (verdicts.length === 0) throw nodeFenced(node)
  const byId = new Map(rows.map((row) => [row.id, row]))
  const byPlace = new Map(verdicts.map((verdict) => [verdict.i, verdict]))
  const claimed = new Set<string>()
  return requests.map((request, i) => {
    const result = outcome(byPlace.get(i), byId.get(request.id))
    if (result.kind !== 'claimed') return result
    // Asked for twice in one batch: the second one comes too late, as it would in a batch of its own.
    if (claimed.has(request.id)) return { kind: 'owned', record: result.record }
    claimed.add(request.id)
    return result
  })
}

function item(request: ClaimRequest, i: number) {
  const { id, agent, key, kind, parent } = request
  const { stateVersion: version, create, recreate } = request
  const made = { may_create: create !== false, for_mail: create === 'mail' }
  return { i, id, agent, key, kind, parent, version, ...made, recreate, mine: request.mine ?? false }
}

function createSql(q: string): string {
  return `with ${fence(q)},
  made as (
    insert into ${q}processes (namespace, id, agent, key, kind, parent, state_version, owner, owner_epoch)
    select $3::text, x.id, x.agent, x.key, x.kind, x.parent, x.version, $1::bigint, $2::bigint from ${REQUEST}, fence
    where x.may_create and (not x.for_mail or exists (
      select 1 from ${q}mailbox m where m.namespace = $3::text and m.target = x.id))
    order by x.id
    on conflict (namespace, id) do nothing
    returning pid)
  insert into ${q}heads (process, seq, claim) select pid, 0, nextval('${q}claims') from made`
}

/** Sorted by id: two claimers of overlapping batches cannot deadlock. */
function lockSql(q: string): string {
  return `select p.pid from ${q}processes p where ${wanted('$1', '$2')} order by p.id for no key update`
}

/** Read after the decision, under its locks: joins of what the decision returns would be quadratic. */
function recordSql(q: string): string {
  return `select ${processColumns('p')}, h.seq, h.claim
    from ${q}processes p left join ${q}heads h on h.process = p.pid where ${wanted('$1', '$2')}`
}

function claimSql(q: string): string {
  return `with ${fence(q)},
  seen as materialized (
    select x.i, x.version, x.recreate, p.pid, p.id,
      p.owner is not null and n.id is null as recovered,
      case
        when p.pid is null then 'absent'
        when p.made then 'made'
        when n.id is not null and not (x.mine and n.id = $1::bigint) then 'owned'
        when p.state_version > x.version then 'unsupported'
        when p.ended and not x.recreate then 'ended'
        else 'claimed'
      end as outcome
    from ${REQUEST}
    cross join fence
    left join (
      select p.*, p.xmin = pg_current_xact_id()::xid as made from ${q}processes p where ${wanted('$3', '$5')}
    ) p on p.id = x.id
    left join ${q}nodes n on n.id = p.owner and n.epoch = p.owner_epoch),
  taken as (
    update ${q}processes p set owner = $1::bigint, owner_epoch = $2::bigint, open = false,
      wait = null, takes = null, judged = null,
      incarnation = p.incarnation + case when p.ended then 1 else 0 end,
      state_version = case when p.state_version = 0 then s.version else p.state_version end,
      exit = case when p.ended then null else p.exit end, ended = false, gone = false
    from seen s where p.pid = s.pid and s.outcome = 'claimed'
    returning p.pid),
  head as (
    insert into ${q}heads as h (process, seq, claim) select pid, 0, nextval('${q}claims') from taken
    on conflict (process) do update set claim = excluded.claim),
  held as (
    update ${q}mailbox m set recoveries = m.recoveries + 1
    from (
      select s.id, (
        select o.ord from ${q}mailbox o
        where o.namespace = $3::text and o.target = s.id and o.kind not in ('reply', 'withdraw', 'cancel')
        order by o.ord limit 1) as ord
      from seen s where s.outcome = 'claimed' and s.recovered) f
    where m.namespace = $3::text and m.target = f.id and m.ord = f.ord)
  select i, outcome, recovered from seen`
}

function outcome(verdict: Verdict | undefined, row: Row | undefined): ClaimOutcome {
  if (verdict === undefined || verdict.outcome === 'absent' || row === undefined) return { kind: 'absent' }
  const record = processRecord(row)
  if (verdict.outcome !== 'claimed' && verdict.outcome !== 'made') return { kind: verdict.outcome, record }
  if (row.claim === null || row.seq === null) throw new Error(`Claimed process ${row.id} came back without a head.`)
  return { kind: 'claimed', record, claim: row.claim, seq: row.seq, recovered: verdict.recovered }
}
