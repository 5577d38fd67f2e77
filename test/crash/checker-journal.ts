/**
 * Reads the journal as rows and text, with no code of the runtime: numbers without gaps, owners in order, turns with
 * one end. Knows the row format from its documentation alone.
 *
 * - One agent is pruned: its rows begin behind a stored snapshot, and as many are left as it wants to keep (G3).
 */
import { ANNALS_ROWS } from './errand.ts'
import type { Rows } from './rows.ts'

type JournalEntry = { k: string; turn?: string | null; decision?: string }
type Turns = { accepted: Set<string>; ended: Map<string, number>; late: string[] }

export type JournalFindings = {
  rows: number
  /** What can never be right, whatever state the system is in. */
  broken: string[]
  /** Turns accepted and not ended: right in the middle of work, wrong when all work is done. */
  open: string[]
  /** Turn ids, which are message ids, that have an end or a dead letter. */
  ended: ReadonlySet<string>
}

export async function checkJournal(rows: Rows): Promise<JournalFindings> {
  const { sql, schema } = rows
  const broken: string[] = []
  broken.push(...(await gaps(rows)), ...(await heads(rows)), ...(await claims(rows)))
  const turns = newTurns()
  // A copy has the turns of its original, under the same ids.
  const copies = new Map((await copiesOf(rows)).map(({ pid }) => [pid, newTurns()]))
  let count = 0
  const journal = sql<{ process: string; id: string; seq: string; payload: string }[]>`
    select j.process, p.id, j.seq, j.payload
    from ${sql(schema)}.journal j left join ${sql(schema)}.processes p on p.pid = j.process order by j.process, j.seq`
  for await (const page of journal.cursor(2_000)) {
    for (const { process, id, seq, payload } of page) {
      count += 1
      for (const entry of JSON.parse(payload) as JournalEntry[])
        note(copies.get(process) ?? turns, entry, `${id} seq ${seq}`)
    }
  }
  const open: string[] = []
  for (const { accepted, ended, late } of [turns, ...copies.values()]) {
    for (const [turn, times] of ended) if (times > 1) broken.push(`turn ${turn} has ${times} ends`)
    broken.push(...late)
    open.push(...[...accepted].filter((turn) => !ended.has(turn)))
  }
  return { rows: count, broken, open, ended: new Set(turns.ended.keys()) }
}

function newTurns(): Turns {
  return { accepted: new Set(), ended: new Map(), late: [] }
}

/** Sandboxes, and what was imported under another id (operator.ts). */
function copiesOf({ sql, schema }: Rows): Promise<{ pid: string }[]> {
  return sql<{ pid: string }[]>`
    select pid from ${sql(schema)}.processes where sandbox is not null or id like 'ward/%-m'`
}

function note(turns: Turns, { k, turn, decision }: JournalEntry, where: string): void {
  if (turn === undefined || turn === null) return
  if (k === 'accepted') {
    if (turns.accepted.has(turn)) turns.late.push(`turn ${turn} was accepted twice (${where})`)
    turns.accepted.add(turn)
  }
  const ends = k === 'end' || (k === 'failed' && decision === 'dead')
  if (turns.ended.has(turn)) turns.late.push(`turn ${turn} has "${k}" after its end (${where})`)
  if (ends) turns.ended.set(turn, (turns.ended.get(turn) ?? 0) + 1)
}

async function gaps({ sql, schema }: Rows): Promise<string[]> {
  const found = await sql<JournalRange[]>`
    select p.id, p.agent, j.low::float8, j.high::float8, j.rows::float8, s.seq::float8 as snapshot,
      (select min(w.seq) from ${sql(schema)}.waypoints w where w.process = p.pid)::float8 as waypoint
    from (
      select process, min(seq) as low, max(seq) as high, count(*) as rows from ${sql(schema)}.journal group by process
    ) j
    join ${sql(schema)}.processes p on p.pid = j.process
    left join ${sql(schema)}.snapshots s on s.process = j.process
    where j.low <> 1 or j.high <> j.rows`
  return found.flatMap(checkRange)
}

/** Which rows a process has; `waypoint`: the first one. */
export type JournalRange = {
  id: string
  agent: string
  low: number
  high: number
  rows: number
  snapshot: number | null
  waypoint: number | null
}

/** X26: nothing is missing but what was pruned from the front, and nothing was pruned that is needed. */
export function checkRange({ id, agent, low, high, rows, snapshot, waypoint }: JournalRange): string[] {
  const where = `${id} has ${rows} rows from ${low} to ${high}`
  if (high - low + 1 !== rows) return [where]
  if (low === 1) return []
  if (agent !== 'annals') return [`${where} and is never pruned`]
  const found: string[] = []
  if (snapshot === null || snapshot < low - 1) found.push(`${where} and its snapshot is at ${snapshot}`)
  if (waypoint !== null && waypoint < low - 1) found.push(`${where} and a waypoint at ${waypoint}`)
  if (rows < ANNALS_ROWS) found.push(`${where} of ${ANNALS_ROWS} that it keeps`)
  return found
}

async function heads({ sql, schema }: Rows): Promise<string[]> {
  const found = await sql<{ process: string; head: string; high: string | null }[]>`
    select h.process, h.seq as head, max(j.seq) as high
    from ${sql(schema)}.heads h left join ${sql(schema)}.journal j on j.process = h.process
    group by h.process, h.seq having h.seq <> coalesce(max(j.seq), 0)`
  return found.map((row) => `head of process ${row.process} is ${row.head}, its last row ${row.high ?? 'none'}`)
}

/** Claims only grow along a journal: who wrote after a later owner was a ghost. */
async function claims({ sql, schema }: Rows): Promise<string[]> {
  const found = await sql<{ process: string; seq: string }[]>`
    select process, seq from (
      select process, seq, claim, lag(claim) over (partition by process order by seq) as before
      from ${sql(schema)}.journal) j
    where claim < before`
  return found.map((row) => `process ${row.process} row ${row.seq} was written by an earlier owner`)
}
