/**
 * The short form of `npm run random`: some random programs under SIGKILL against the oracle, and runtimes with a
 * planted mistake, which the oracle must find.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Chance } from '../crash/chance.ts'
import { Arena, campaign } from './campaign.ts'
import { MUTANTS } from './mutant.ts'
import { playRound } from './round.ts'

const SEED = Number(process.env['RANDOM_SEED'] ?? Date.now() % 1_000_000)
/** A large round that is killed once, and a smaller one that is killed twice. */
const ROUNDS = [
  { programs: 110, batch: 140, kills: 1, from: 0 },
  { programs: 40, batch: 110, kills: 2, from: 1_000 },
] as const
/** Enough for each kind of command to be met many times. */
const MUTANT_PROGRAMS = 40
const MUTANT_ROUNDS = 6
/** A runtime with a mistake may never come to an end. */
const FINISH_MS = 15_000

let arena: Arena

beforeAll(async () => {
  arena = await Arena.open()
})

afterAll(async () => {
  await arena.close()
})

test(`[X30] random programs that are killed while they run end as the oracle says (seed ${SEED})`, async () => {
  for (const round of ROUNDS) {
    const totals = await campaign(arena, { ...round, seed: SEED })
    expect(totals.programs).toBeGreaterThanOrEqual(round.programs)
    console.log('random programs:', totals)
  }
})

test.for(MUTANTS)('[X31] the oracle finds a runtime that %s', async (mutant) => {
  const { folder, server } = arena
  let found: string[] = []
  // A kill may come when nothing recorded is in hand: another round then, with other programs.
  for (let round = 0; round < MUTANT_ROUNDS && found.length === 0; round++) {
    // Numbers of its own for each: they share the database.
    const from = 100_000 + 1_000 * MUTANTS.indexOf(mutant) + 100 * round
    const batch = { seed: 1, from, count: MUTANT_PROGRAMS, kills: 1, chance: new Chance(round) }
    const { findings } = await playRound({ folder, server, ...batch, mutant, finishMs: FINISH_MS })
    // About programs: that a round did not end is not what is looked for.
    found = findings.filter((finding) => finding.startsWith('p'))
  }
  expect(found).not.toEqual([])
  console.log(`${mutant}: ${found.length} findings, the first is ${found[0]}`)
})
