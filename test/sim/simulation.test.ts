/** A few hundred seeds, every time. `npm run sim -- --seeds 2000` makes more. */
import { describe, expect, test } from 'vitest'
import { MUTATIONS } from './mutation.ts'
import { FEATURE_MUTATIONS } from './mutation-feature.ts'
import { simulate } from './simulation.ts'
import { Summary } from './summary.ts'

const SEEDS = 200
/** Seeds of one test: a failure stops none of the others. */
const CHUNK = 50
/** Seeds in which a planted bug must be found. */
const PLANTED_SEEDS_MAX = 500
/** Ms: what a machine under load may take. */
const TIMEOUT_MS = 60_000

async function simulated(first: number, seeds: number): Promise<string[]> {
  const summary = new Summary()
  for (let seed = first; seed < first + seeds; seed++) summary.add(await simulate(seed))
  return summary.failed.map((report) => summary.failure(report))
}

for (let first = 1; first <= SEEDS; first += CHUNK) {
  test(`[J6, X10] seeds ${first} to ${first + CHUNK - 1} keep every promise`, { timeout: TIMEOUT_MS }, async () => {
    expect(await simulated(first, CHUNK)).toEqual([])
  })
}

/** Seeds that found something. Programs change, so each has a test of its own elsewhere, too. */
const FOUND = [
  { what: 'a spawned child whose node drains before it began', seed: 2_146 },
  { what: 'a node that leaves before it looked for the end of a tie', seed: 3_127 },
] as const

test.each(FOUND)('[X10] $what (seed $seed)', async ({ seed }) => {
  expect(await simulated(seed, 1)).toEqual([])
})

test('[X11] the same seed is the same run', { timeout: TIMEOUT_MS }, async () => {
  const hashes = new Set<string>()
  for (const seed of [3, 17, 4_711]) {
    const once = await simulate(seed)
    const again = await simulate(seed)
    expect(again).toEqual(once)
    hashes.add(once.hash)
  }
  expect(hashes.size).toBe(3)
})

describe('planted bugs are found', () => {
  test.each([...MUTATIONS, ...FEATURE_MUTATIONS])('[X12] $name', { timeout: TIMEOUT_MS }, async (mutation) => {
    for (let seed = 1; seed < PLANTED_SEEDS_MAX; seed++) {
      const { violations } = await simulate(seed, { mutation })
      if (violations.length > 0) return
    }
    expect.fail(`${mutation.name} was not found in ${PLANTED_SEEDS_MAX} seeds.`)
  })
})
