/** What is stored of the hospital, read as rows and as states, for the checkers of mending. */
import type { StoreReader } from 'vivarium'
import type { DoneState } from './bank.ts'
import type { PatientState, WardState } from './hospital.ts'
import type { Rows } from './rows.ts'

/** Entries as the documented row format has them; what a checker looks at. */
export type HospitalEntry = {
  k: string
  turn?: string | null
  key?: string
  out?: { ok?: unknown }
  by?: string
  why?: string | null
  to?: number | null
  kept?: number
}

export type HospitalView = {
  /** By process id. */
  wards: ReadonlyMap<string, WardState>
  patients: ReadonlyMap<string, PatientState>
  orderly: DoneState
  /** Of wards and patients, by process id, oldest first. */
  journals: ReadonlyMap<string, readonly HospitalEntry[]>
  /** Rows as they stand there, without their process and claim. */
  texts: ReadonlyMap<string, readonly string[]>
  /** Originals of copies, by copy. */
  copies: ReadonlyMap<string, string | null>
  letters: readonly { process: string; treatment: string; reason: string }[]
  audits: readonly { target: string; reason: string | null; outcome: string }[]
}

const AGENTS = ['ward', 'patient']

export async function readHospital(reader: StoreReader, rows: Rows): Promise<HospitalView> {
  const wards = new Map<string, WardState>()
  const patients = new Map<string, PatientState>()
  let orderly: DoneState = { done: {} }
  // The shapes of hospital.ts.
  for await (const { id, state } of reader.processes('ward'))
    if (state !== null) wards.set(id, state as unknown as WardState)
  for await (const { id, state } of reader.processes('patient'))
    if (state !== null) patients.set(id, state as unknown as PatientState)
  for await (const { state } of reader.processes('orderly')) if (state !== null) orderly = state as unknown as DoneState
  return { wards, patients, orderly, ...(await readJournals(rows)), ...(await readRest(rows)) }
}

async function readJournals({ sql, schema }: Rows): Promise<Pick<HospitalView, 'journals' | 'texts'>> {
  const found = await sql<{ id: string; payload: string; text: string }[]>`
    select p.id, j.payload, concat_ws(' ', j.seq, j.format, j.state_version, j.code_version, j.turn_ids::text, j.cause,
      j.actor, floor(extract(epoch from j.at) * 1000), j.payload) as text
    from ${sql(schema)}.journal j join ${sql(schema)}.processes p on p.pid = j.process
    where p.agent in ${sql(AGENTS)} order by p.id, j.seq`
  const journals = new Map<string, HospitalEntry[]>()
  const texts = new Map<string, string[]>()
  for (const { id, payload, text } of found) {
    journals.set(id, [...(journals.get(id) ?? []), ...(JSON.parse(payload) as HospitalEntry[])])
    texts.set(id, [...(texts.get(id) ?? []), text])
  }
  return { journals, texts }
}

async function readRest({ sql, schema }: Rows): Promise<Pick<HospitalView, 'copies' | 'letters' | 'audits'>> {
  const copies = await sql<{ id: string; sandbox: string | null }[]>`
    select id, sandbox from ${sql(schema)}.processes where agent = 'patient'`
  const letters = await sql<{ process: string; args: string; reason: string }[]>`
    select process, args, reason from ${sql(schema)}.dead_letters where op = 'treat'`
  const audits = await sql<{ target: string; reason: string | null; outcome: string }[]>`
    select target, reason, outcome from ${sql(schema)}.audit`
  return {
    copies: new Map(copies.map(({ id, sandbox }) => [id, sandbox])),
    letters: letters.map(({ args, ...row }) => ({ ...row, treatment: (JSON.parse(args) as { id: string }).id })),
    audits,
  }
}

/** X36, X37: whatever is there of a process is there whole, at every instant. */
export async function checkWhole({ sql, schema }: Rows): Promise<string[]> {
  const found: string[] = []
  const tables = ['journal', 'snapshots', 'waypoints', 'heads', 'timers', 'blob_refs', 'streams'] as const
  for (const table of tables) {
    const orphans = await sql<{ process: string }[]>`
      select distinct t.process from ${sql(schema)}.${sql(table)} t where t.process is not null
        and not exists (select 1 from ${sql(schema)}.processes p where p.pid = t.process)`
    for (const { process } of orphans) found.push(`rows of ${process} are left in ${table}, and no such process`)
  }
  const headless = await sql<{ id: string }[]>`
    select id from ${sql(schema)}.processes p
    where not exists (select 1 from ${sql(schema)}.heads h where h.process = p.pid)`
  for (const { id } of headless) found.push(`${id} is there without a head`)
  const empty = await sql<{ id: string }[]>`
    select p.id from ${sql(schema)}.processes p join ${sql(schema)}.heads h on h.process = p.pid
    where (p.sandbox is not null or p.id like 'ward/%-m') and h.seq = 0`
  for (const { id } of empty) found.push(`${id} was made of another process and has no rows`)
  return found
}
