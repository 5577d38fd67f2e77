/**
 * The facts the doctor asks for. Reads only, each check a statement of its own under the timeout of the archive: one
 * that is cut short says so and hides none of the others.
 *
 * - What somebody has in hand comes last, so that much of it hides nothing.
 * - Supervisors that a node gave up are no work: whoever starts the tree takes them.
 * - Every check follows an index and ends after a number of rows, however large the tables are. How many it walked over
 *   comes back with whatever it found, so that one that found nothing still says what it did not look at.
 */
import {
  COUNT_MAX,
  LOOP_FAILURES,
  LOOP_MS,
  OVERDUE_MS,
  type Symptoms,
  UNOWNED_MS,
  type WaitingMail,
} from '../../../shared/doctor.ts'
import type { ErrorData } from '../../../shared/error.ts'
import { PSEUDO_AGENTS } from '../../../shared/id.ts'
import type { Wait } from '../../../shared/snapshot.ts'
import type { StoreFailure } from '../store.ts'
import { type Context, ms } from './context.ts'
import { asFailure } from './failure.ts'
import { nameList } from './list.ts'
import { wakesSql } from './orphans.ts'

/** Rows of one check. A person mends the first of them and looks again. */
const ROWS_MAX = 200
/** Mailboxes, owners and failures that one check walks over. */
const WALK_MAX = 20_000
/** References to large values: a healthy store has many, and each costs two probes of an index. */
const REFERENCES_MAX = 200_000

/** query_canceled: the statement took longer than the archive allows. */
const TIMEOUT = '57014'

type Rows = Record<string, unknown>[]
type Check = {
  readonly name: keyof Omit<Symptoms, 'now' | 'cut'>
  /** The query `walk`, of which `rows` chooses; null where an index gives the rows alone. */
  readonly walk: { readonly max: number; sql(q: string, max: number): string } | null
  readonly rows: (q: string) => string
}

const CHECKS: readonly Check[] = [
  { name: 'mail', walk: { max: WALK_MAX, sql: mailboxSql }, rows: mailSql },
  { name: 'open', walk: null, rows: openSql },
  { name: 'held', walk: null, rows: heldSql },
  { name: 'timers', walk: null, rows: timerSql },
  { name: 'claims', walk: { max: WALK_MAX, sql: ownerSql }, rows: claimSql },
  { name: 'loops', walk: { max: WALK_MAX, sql: failureSql }, rows: loopSql },
  { name: 'blobs', walk: { max: REFERENCES_MAX, sql: referenceSql }, rows: blobSql },
]

export async function symptoms(
  { archive, q }: Context,
  namespace: string,
  walkMax: number = Number.POSITIVE_INFINITY,
): Promise<Symptoms> {
  const [clock] = await archive.unsafe<{ now: number }[]>(`select ${ms('now()')} as now`)
  const found: Record<string, Rows> = {}
  const cut: Symptoms['cut'] = []
  for (const check of CHECKS) {
    const { name, walk } = check
    const max = Math.min(walk?.max ?? 0, walkMax)
    const answer = await patiently(() => archive.unsafe<Answer[]>(statement(check, q, max), [namespace]))
    if ('failure' in answer) {
      cut.push({ check: name, reason: answer.failure.message })
      continue
    }
    const rows = JSON.parse(answer.rows) as Rows // the statement builds exactly this
    found[name] = rows
    if (walk !== null && answer.walked >= max) cut.push({ check: name, reason: `only the first ${max} were looked at` })
    const last = rows.at(-1)
    const minor = (last?.['owner'] ?? last?.['parked'] ?? null) === null ? {} : { minor: true as const }
    if (rows.length === ROWS_MAX) cut.push({ check: name, reason: `there are more than ${ROWS_MAX}`, ...minor })
  }
  const list = <K extends Check['name']>(name: K): Symptoms[K] => (found[name] ?? []) as unknown as Symptoms[K] // below
  return {
    ...{ now: clock?.now ?? 0, cut },
    // The columns of each statement have the names and types of its part of Symptoms.
    ...{ mail: list('mail').map(mailOf), open: list('open'), held: list('held'), timers: list('timers') },
    ...{ claims: list('claims'), blobs: list('blobs'), loops: list('loops').map(loopOf) },
  }
}

type Answer = { readonly walked: number; readonly rows: string }

/** One row, also when nothing was found. */
function statement({ walk, rows }: Check, q: string, max: number): string {
  const found = `(select coalesce(json_agg(row_to_json(f)), '[]'::json)::text from (${rows(q)} limit ${ROWS_MAX}) f)`
  if (walk === null) return `select 0 as walked, ${found} as rows`
  return `with recursive walk as materialized (${walk.sql(q, max)})
  select (select count(*) from walk)::int as walked, ${found} as rows`
}

async function patiently(ask: () => Promise<Answer[]>): Promise<Answer | { failure: StoreFailure }> {
  try {
    const [answer] = await ask()
    return answer ?? { walked: 0, rows: '[]' }
  } catch (error) {
    const failure = asFailure(error)
    if ('sqlState' in failure && failure.sqlState === TIMEOUT) return { failure }
    throw failure
  }
}

function mailOf({ parked, ...mail }: Omit<WaitingMail, 'parked'> & { parked: unknown }): WaitingMail {
  return { ...mail, parked: typeof parked === 'string' ? (JSON.parse(parked) as Wait) : null }
}

function loopOf(row: Symptoms['loops'][number]): Symptoms['loops'][number] {
  const error = JSON.parse(row.error) as ErrorData // written by this store
  return { ...row, error: error.message }
}

const pendingSql = (q: string, target: string): string =>
  `(select count(*) from (select 1 from ${q}mailbox c where c.namespace = $1 and c.target = ${target}
    limit ${COUNT_MAX}) c)::int`

const liveSql = (q: string): string => `${q}nodes n on n.id = p.owner and n.epoch = p.owner_epoch`

/** One probe per mailbox, however many messages are in it. */
function mailboxSql(q: string, max: number): string {
  return `(select target, ord, 1 as n from ${q}mailbox where namespace = $1 order by target, ord limit 1)
    union all
    select o.target, o.ord, t.n + 1 from walk t cross join lateral (
      select target, ord from ${q}mailbox where namespace = $1 and target > t.target order by target, ord limit 1) o
    where t.n < ${max}`
}

function mailSql(q: string): string {
  return `select t.target as process, m.op, ${ms('m.at')} as at, ${ms('m.deadline')} as deadline, m.attempts,
    ${pendingSql(q, 't.target')} as pending, n.name as owner, coalesce(p.desired, 'running') as desired,
    coalesce(p.diverged, false) as diverged, coalesce(p.ended, false) as ended,
    coalesce(p.state_version, 0) as "stateVersion",
    case when p.takes is not null and not ${wakesSql(q, '$1')} then p.wait end as parked
  from walk t
  cross join lateral (
    select * from ${q}mailbox b where b.namespace = $1 and b.target = t.target and b.ord = t.ord offset 0) m
  left join ${q}processes p on p.namespace = $1 and p.id = t.target
  left join ${liveSql(q)}
  where split_part(t.target, '/', 1) not in ${nameList(PSEUDO_AGENTS)}
    and (m.at < now() - interval '${UNOWNED_MS} milliseconds' or m.deadline < now())
  order by (n.name is not null or p.takes is not null), m.at, t.target`
}

function openSql(q: string): string {
  return `select p.id as process, ${ms('coalesce(j.at, p.created_at)')} as at, p.state_version as "stateVersion"
  from ${q}processes p
  left join ${q}heads h on h.process = p.pid
  left join ${q}journal j on j.process = p.pid and j.seq = h.seq
  where p.namespace = $1 and p.open and p.owner is null and not p.ended and p.desired = 'running' and p.kind = 'agent'
    and coalesce(j.at, p.created_at) < now() - interval '${UNOWNED_MS} milliseconds'`
}

/** The condition is that of the index processes_held. */
function heldSql(q: string): string {
  return `select p.id as process, p.desired, p.diverged, p.open, ${pendingSql(q, 'p.id')} as pending
  from ${q}processes p
  where p.namespace = $1 and not p.ended and (p.diverged or p.desired <> 'running')
  order by p.id`
}

function timerSql(q: string): string {
  return `select t.target as process, t.name, ${ms('t.due')} as due from ${q}timers t
  where t.namespace = $1 and t.due < now() - interval '${OVERDUE_MS} milliseconds'
  order by t.due`
}

/** Owners one by one: live ones cost one probe each. */
function ownerSql(q: string, max: number): string {
  return `(select owner, owner_epoch, 1 as n from ${q}processes
     where namespace = $1 and owner is not null and not ended order by owner, owner_epoch limit 1)
    union all
    select o.*, w.n + 1 from walk w cross join lateral (
      select owner, owner_epoch from ${q}processes
      where namespace = $1 and owner is not null and not ended
        and (owner, owner_epoch) > (w.owner, w.owner_epoch) order by owner, owner_epoch limit 1) o
    where w.n < ${max}`
}

function claimSql(q: string): string {
  return `select w.owner as node, min(p.id) as example, count(*)::int as processes
  from walk w cross join lateral (
    select id from ${q}processes p where p.namespace = $1 and p.owner = w.owner and p.owner_epoch = w.owner_epoch
      and not p.ended limit ${COUNT_MAX}) p
  where not exists (select 1 from ${q}nodes n where n.id = w.owner and n.epoch = w.owner_epoch)
  group by w.owner, w.owner_epoch order by w.owner`
}

function failureSql(q: string, max: number): string {
  return `select f.process, f.at, f.error from ${q}failures f
    where f.namespace = $1 and f.at > now() - interval '${LOOP_MS} milliseconds' order by f.at desc limit ${max}`
}

function loopSql(): string {
  return `select r.process, count(*)::int as failures, ${ms('min(r.at)')} as since,
    (array_agg(r.error order by r.at desc))[1] as error
  from walk r group by r.process having count(*) >= ${LOOP_FAILURES} order by count(*) desc`
}

function referenceSql(q: string, max: number): string {
  return `select r.process, r.seq, r.hash from ${q}blob_refs r order by r.hash limit ${max}`
}

function blobSql(q: string): string {
  return `select p.id as process, w.seq, w.hash
  from walk w join ${q}processes p on p.pid = w.process
  where p.namespace = $1 and not exists (select 1 from ${q}blobs b where b.hash = w.hash)`
}
