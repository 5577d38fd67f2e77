/**
 * One round: a batch of programs in a schema of its own, killed while they run, brought to rest by a last child, and
 * compared with the oracle.
 *
 * - A program counts as killed only when its request was stored and had no outcome after the child was dead and the
 *   statements it left behind had ended: read from rows, never assumed.
 */
import { statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { EmbeddedPostgres } from '../../server/store/embedded/embedded.ts'
import type { Chance } from '../crash/chance.ts'
import { checkJournal } from '../crash/checker-journal.ts'
import { checkMailbox } from '../crash/checker-mailbox.ts'
import { checkOwners } from '../crash/checker-owner.ts'
import { Place } from '../crash/place.ts'
import { openRows, type Rows } from '../crash/rows.ts'
import { atRest, checkStructure, stuckRows } from '../crash/settle.ts'
import { RandomChild } from './child.ts'
import { compare } from './comparison.ts'
import { expectationOf } from './expectation.ts'
import { readLog } from './line.ts'
import type { Mutant } from './mutant.ts'
import { type Program, programOf } from './program.ts'
import { readWorlds, type Worlds } from './world.ts'

/** Ms until a child is up, on a machine that does other things as well. */
const UP_MS = 60_000
/** Ms until the programs of a round have ended. */
const FINISH_MS = 300_000
/** How far a round has come when it is killed, in characters of log a program, at most: a whole one leaves about 1,000.
 *  Not ms, because machines differ. */
const KILL_CHARACTERS = 350
/** Ms after which it is killed however far it came. */
const KILL_MS = 20_000
const LOOK_MS = 20

export type RoundOptions = {
  folder: string
  server: EmbeddedPostgres
  seed: number
  from: number
  count: number
  kills: number
  chance: Chance
  mutant?: Mutant
  /** Ms until the programs have ended, once the last child is up. */
  finishMs?: number
}

export type RoundReport = {
  /** By program: how often it was killed, and whether in the middle of its root turn. */
  readonly struck: ReadonlyMap<string, { kills: number; begun: boolean }>
  readonly kills: number
  readonly turns: number
  /** Times a handler was entered again. */
  readonly replays: number
  readonly steps: number
  /** Times the function of a step was run. */
  readonly runs: number
  readonly findings: readonly string[]
  /** Those that the findings are about. */
  readonly programs: readonly Program[]
}

export async function playRound(options: RoundOptions): Promise<RoundReport> {
  const { folder, server, seed, from, count } = options
  const schema = `random${from}`
  const place = new Place(folder, schema, `${schema}.hits`)
  const rows = openRows(server.connection, schema)
  const table = `marks_${schema}`
  try {
    await rows.sql`create table ${rows.sql(table)} (path text not null, value text not null)`
    const child = (): RandomChild =>
      new RandomChild(place, { seed, from, count, table, mutant: options.mutant ?? null })
    const struck = new Map<string, { kills: number; begun: boolean }>()
    const findings: string[] = []
    for (let kill = 0; kill < options.kills; kill++) {
      await killOne(child(), options, place.effects)
      for (const { program, begun } of await openPrograms(rows)) {
        const before = struck.get(program)
        struck.set(program, { kills: (before?.kills ?? 0) + 1, begun: begun || before?.begun === true })
      }
      await attempt(findings, () => checkStructure(rows))
    }
    await attempt(findings, () => finish(child(), rows, options.finishMs ?? FINISH_MS))
    const lines = readLog(place.effects)
    const worlds = await readWorlds(place, rows, table, lines)
    for (const line of lines) if (line.e === 'failed') findings.push(`${line.what}: ${line.why}`)
    return { ...judge(options, worlds, findings), struck, kills: options.kills }
  } finally {
    await rows.sql`drop schema if exists ${rows.sql(schema)} cascade`
    await rows.sql`drop table if exists ${rows.sql(table)}`
    await rows.close()
    await rm(place.effects, { force: true })
  }
}

/** At a random moment: mostly when all are under way, now and then while they are still being accepted, or at boot. */
async function killOne(child: RandomChild, { chance, count }: RoundOptions, log: string): Promise<void> {
  const before = sizeOf(log)
  const early = chance.below(6) === 0
  await child.says(early ? 'up' : 'accepted', UP_MS)
  const far = chance.below((early ? KILL_CHARACTERS / 4 : KILL_CHARACTERS) * count)
  const deadline = performance.now() + KILL_MS
  while (sizeOf(log) - before < far && !child.hasSaid('finished') && performance.now() < deadline) await pause(LOOK_MS)
  await pause(chance.below(LOOK_MS))
  child.kill('SIGKILL')
  const { signal, code, errors } = await child.ended(UP_MS)
  if (signal !== 'SIGKILL') throw new Error(`The child ended with ${signal ?? code} before it was killed:\n${errors}`)
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

/** Programs that were accepted and have not ended, once nothing of the dead child is at work in the database. */
async function openPrograms({ sql, schema }: Rows): Promise<{ program: string; begun: boolean }[]> {
  for (const deadline = performance.now() + UP_MS; ; ) {
    if (performance.now() > deadline) throw new Error('The dead child still has connections.')
    const [others] = await sql<[{ n: number }]>`
      select count(*)::int as n from pg_stat_activity
      where backend_type = 'client backend' and datname = current_database() and pid <> pg_backend_pid()`
    if (others.n === 0) break
    await pause(LOOK_MS)
  }
  return sql<{ program: string; begun: boolean }[]>`
    select r.key as program, exists (select 1 from ${sql(schema)}.processes p
      join ${sql(schema)}.journal j on j.process = p.pid where p.id = r.scope) as begun
    from ${sql(schema)}.requests r where r.status = 'pending' and r.scope = 'layer0/' || r.key`
}

async function finish(child: RandomChild, rows: Rows, finishMs: number): Promise<void> {
  try {
    await child.says('up', UP_MS)
    await child.says('finished', finishMs)
    await atRest(rows, child)
  } catch (error) {
    child.kill('SIGKILL')
    await child.ended(UP_MS)
    const stuck = await stuckRows(rows)
    throw new Error(`${error instanceof Error ? error.message : error}\n${stuck.join('\n')}`)
  }
  child.kill('SIGTERM')
  const { code, errors } = await child.ended(UP_MS)
  if (code !== 0) throw new Error(`The last child ended with ${code}:\n${errors}`)
  const { broken, open, ended } = await checkJournal(rows)
  const found = [...broken, ...open, ...(await checkMailbox(rows, ended)), ...(await checkOwners(rows))]
  if (found.length > 0) throw new Error(found.join('\n'))
}

/** What a checker threw is a finding beside the others. */
async function attempt(findings: string[], check: () => Promise<void>): Promise<void> {
  try {
    await check()
  } catch (error) {
    findings.push(error instanceof Error ? error.message : String(error))
  }
}

type Judged = Pick<RoundReport, 'turns' | 'replays' | 'steps' | 'runs' | 'findings' | 'programs'>

function judge({ seed, from, count }: RoundOptions, worlds: Worlds, before: readonly string[]): Judged {
  const findings = [...before]
  const programs: Program[] = []
  const ids = new Set<string>()
  const sum = { turns: 0, replays: 0, steps: 0, runs: 0 }
  for (let i = 0; i < count; i++) {
    const program = programOf(seed, from + i)
    ids.add(program.id)
    const expected = expectationOf(program)
    const world = worlds.of(program.id)
    const found = compare(expected, world)
    sum.turns += expected.turns.size
    sum.replays += world.begins.length - new Set(world.begins.map(({ path }) => path)).size
    sum.steps += expected.effects.size + expected.external.size
    sum.runs += [...world.effects.values()].reduce((n, runs) => n + runs.length, world.tokens.length)
    if (found.length === 0) continue
    findings.push(...found)
    programs.push(program)
  }
  for (const program of worlds.programs) if (!ids.has(program)) findings.push(`${program} is no program of this round`)
  return { ...sum, findings, programs }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
