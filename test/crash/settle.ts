/**
 * Brings a killed system to rest and checks everything: a successor finishes what was begun, drains, and leaves; then
 * every checker reads what is there.
 */
import { readStore } from 'vivarium'
import { caseFile, readCases } from './case.ts'
import { checkBlobs } from './checker-blob.ts'
import { checkErrands } from './checker-errand.ts'
import { checkJournal } from './checker-journal.ts'
import { checkMailbox, countWaiting } from './checker-mailbox.ts'
import { checkMending } from './checker-mend.ts'
import { checkOwners } from './checker-owner.ts'
import { checkEffects, checkPromises, readSlips, readWorld } from './checker-promise.ts'
import { checkHeard, checkPrunedRows, readPruned } from './checker-prune.ts'
import { checkSagas } from './checker-saga.ts'
import { checkSagaRows } from './checker-saga-row.ts'
import { checkDiscarded, checkSandboxes } from './checker-sandbox.ts'
import { checkStreams, readStreams } from './checker-stream.ts'
import { checkVersions, checkWaits } from './checker-wait.ts'
import { Child, type ForkedChild } from './child.ts'
import { readEffects, readFacts, readLines } from './fact.ts'
import { type Treatment, treatmentsOf } from './hospital.ts'
import { checkWhole, readHospital } from './hospital-view.ts'
import type { Place } from './place.ts'
import type { Rows } from './rows.ts'
import { readSagaFacts } from './saga-fact.ts'
import { readSagaDeeds, readSagaRows } from './saga-row.ts'

const UP_MS = 30_000
const FINISH_MS = 60_000
const DRAIN_MS = 15_000
const LOOK_MS = 100

export type Settled = { operations: number; promised: number; effects: number; rows: number }

/** @throws listing everything that was found wrong */
export async function settle(place: Place, rows: Rows, run: string): Promise<Settled> {
  const child = new Child(place, { run, seed: 1, mode: 'settle' })
  try {
    await child.says('finished', UP_MS + FINISH_MS)
  } catch (error) {
    child.kill('SIGKILL') // or it would bring the server up again that the end of the suite takes down
    throw error
  }
  await atRest(rows, child)
  child.kill('SIGTERM')
  const { code, errors } = await child.ended(DRAIN_MS)
  if (code !== 0) throw new Error(`The settling child ended with ${code}:\n${errors}`)
  return checkAll(place, rows)
}

/** Waits until nothing waits: no message, no timer, no request, no open turn. */
export async function atRest(rows: Rows, child: ForkedChild): Promise<void> {
  const deadline = performance.now() + FINISH_MS
  for (;;) {
    const { mailbox, timers, requests } = await countWaiting(rows)
    if (mailbox + timers + requests === 0) {
      const { open } = await checkJournal(rows)
      if (open.length === 0) return
    }
    if (performance.now() > deadline) {
      child.kill('SIGKILL')
      const stuck = await stuckRows(rows)
      throw new Error(`Not at rest: ${mailbox} messages, ${timers} timers, ${requests} requests.\n${stuck.join('\n')}`)
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

export async function stuckRows(rows: Rows): Promise<string[]> {
  const { sql, schema } = rows
  const messages = await sql<{ text: string }[]>`
    select concat_ws(' ', m.id, m.kind, m.op, 'to', m.target, 'attempts', m.attempts, 'recoveries', m.recoveries,
      'owner', p.owner, 'ended', p.ended, 'open', p.open, 'desired', p.desired) as text
    from ${sql(schema)}.mailbox m left join ${sql(schema)}.processes p on p.id = m.target order by m.ord limit 20`
  const timers = await sql<{ text: string }[]>`
    select concat_ws(' ', 'timer', t.name, 'of', t.target, 'due', t.due, 'owner', p.owner, 'wait', p.wait) as text
    from ${sql(schema)}.timers t left join ${sql(schema)}.processes p on p.pid = t.process order by t.due limit 20`
  const { open } = await checkJournal(rows)
  return [...messages, ...timers].map((row) => row.text).concat(open.map((turn) => `open turn ${turn}`))
}

/** What must hold at every instant, also in the middle of work. @throws listing what is wrong */
export async function checkStructure(rows: Rows): Promise<void> {
  const { broken, ended } = await checkJournal(rows)
  expectNothing('structure', [
    ...broken,
    ...(await checkMailbox(rows, ended)),
    ...(await checkBlobs(rows)),
    ...(await checkWhole(rows)),
    ...checkPrunedRows(await readPruned(rows)),
  ])
}

/** The same, and what the child was told before it died. */
export async function checkKilled(rows: Rows, place: Place): Promise<void> {
  await checkStructure(rows)
  expectNothing('sagas', checkSagaRows(await readSagaRows(rows), readSagaFacts(place.facts)))
}

async function checkAll(place: Place, rows: Rows): Promise<Settled> {
  const journal = await checkJournal(rows)
  const facts = readFacts(place.facts)
  const effects = readEffects(place.effects)
  const [stored, deeds] = await readStore({ data: place.data, schema: place.schema }, async (reader) => {
    return [await readWorld(reader), await readSagaDeeds(reader)] as const
  })
  const world = { ...stored, deeds: new Map([...stored.deeds, ...(await readSlips(rows))]) }
  const sagas = { effects, facts, sagas: readSagaFacts(place.facts), rows: await readSagaRows(rows), world: deeds }
  expectNothing('rest', [
    ...journal.broken,
    ...journal.open.map((turn) => `turn ${turn} has no end`),
    ...(await checkMailbox(rows, journal.ended)),
    ...(await checkOwners(rows)),
    ...checkPromises(facts, world),
    ...checkEffects(effects, facts, world),
    ...checkErrands(effects, facts, world),
    ...checkSagas(sagas),
    ...checkSagaRows(sagas.rows, sagas.sagas),
    ...(await checkWaits(rows, journal.ended)),
    ...(await checkVersions(rows, world.versions)),
    ...checkStreams(await readStreams(rows), facts, world.said),
    ...(await checkOperator(place, rows)),
  ])
  return { operations: facts.wanted.size, promised: facts.done.size, effects: effects.length, rows: journal.rows }
}

async function checkOperator(place: Place, rows: Rows): Promise<string[]> {
  const { data, schema, facts, effects } = place
  const cases = readCases(caseFile(facts))
  const treatments = readLines(treatmentsOf(effects)).map((line) => JSON.parse(line) as Treatment) // of hospital.ts
  const view = await readStore({ data, schema }, (reader) => readHospital(reader, rows))
  const streams = await readPruned(rows)
  return [
    ...checkMending(cases, view, treatments),
    ...checkSandboxes(cases, view, treatments),
    ...(await checkDiscarded(cases, rows)),
    ...(await checkWhole(rows)),
    ...checkPrunedRows(streams),
    ...checkHeard(cases, streams),
  ]
}

function expectNothing(what: string, found: readonly string[]): void {
  if (found.length === 0) return
  throw new Error(`${found.length} findings about ${what}:\n${found.slice(0, 30).join('\n')}`)
}
