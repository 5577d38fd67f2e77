/**
 * SIGKILL, SIGTERM and freezes under load at random moments; then nothing is lost and nothing is doubled (PROTOCOL T3).
 * The short form kills a few times, CRASH_LONG=1 a hundred times; CRASH_SEED plays a run again. Kills at the named
 * points: point.test.ts, on a server of its own.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Chain } from './chain.ts'

const LONG = process.env['CRASH_LONG'] === '1'
const SEED = Number(process.env['CRASH_SEED'] ?? Date.now() % 1_000_000)
const RANDOM_KILLS = LONG ? 100 : 6

/** Ms after the start of a child within which it dies: a third while it boots and takes over, the rest under load. */
const RANDOM_MS = LONG ? 4_000 : 2_500

let chain: Chain

beforeAll(async () => {
  chain = await Chain.begin(SEED)
})

beforeEach(async () => {
  await chain.again()
})

afterAll(async () => {
  await chain.end()
})

test(`[X3] SIGTERM under load: drained within ten seconds, exit 0, nothing lost (seed ${SEED})`, async () => {
  for (let drain = 0; drain < (LONG ? 10 : 1); drain++) {
    const { code, ms } = await chain.drain(1_000)
    console.log(`drained in ${ms.toFixed(0)} ms`)
    expect(code).toBe(0)
    expect(ms).toBeLessThan(10_000)
  }
  await chain.settle()
})

test(`[X5] frozen for longer than its lease, a node repeats nothing that was taken over (seed ${SEED})`, async () => {
  for (let freeze = 0; freeze < (LONG ? 3 : 1); freeze++) await chain.freeze(500 + chain.chance.below(1_500))
  console.log('after each freeze:', chain.totals)
})

test.for(LONG ? (['send-bomb', 'call-bomb'] as const) : (['call-bomb'] as const))(
  '[X4] a message that kills its node each time is buried (%s)',
  async (mode) => {
    const { killed, reason } = await chain.bomb(mode)
    expect(reason).toMatch(/SuspectedPoison/)
    expect(killed).toBe(5)
    // And nobody else was, however often its node died.
    await chain.settle()
  },
)

test(`[X2] killed at random moments, nothing is lost and nothing doubled (seed ${SEED})`, async () => {
  for (let kill = 0; kill < RANDOM_KILLS; kill++) {
    await chain.killAfter(chain.chance.below(RANDOM_MS), kill % 3 === 0 ? 'start' : 'up')
    // Journals are never pruned: a new schema keeps each check short.
    if (kill % 20 === 19) await chain.freshSchema()
  }
  await chain.settle()
  expect(chain.kills).toBe(RANDOM_KILLS)
  console.log(`${chain.kills} random kills;`, chain.totals)
})
