/**
 * SIGKILL under load at every named point; then nothing is lost and nothing is doubled (PROTOCOL T3). The short form
 * kills once at every fourth point; the seed says which, so that runs take turns. CRASH_LONG=1 kills three times at
 * each; CRASH_POINTS=cancel:stored,cancel:heard chooses the points, CRASH_SEED plays a run again.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { CRASH_POINTS, type CrashPointName } from '../../server/crash-point.ts'
import { Chain } from './chain.ts'

const LONG = process.env['CRASH_LONG'] === '1'
const SEED = Number(process.env['CRASH_SEED'] ?? Date.now() % 1_000_000)
const REPEATS = LONG ? 3 : 1

const CHOSEN = process.env['CRASH_POINTS']?.split(',')
const POINTS = CRASH_POINTS.filter((point, i) => CHOSEN?.includes(point) ?? (LONG || (i + SEED) % 4 === 0))
/** Which passage kills: from one of the first to one well under load. */
const PASSAGE: Record<CrashPointName, { from: number; to: number }> = {
  'commit:before-statement': { from: 1, to: 150 },
  'commit:sent': { from: 1, to: 150 },
  'commit:stored-before-reply': { from: 1, to: 150 },
  'commit:before-hint': { from: 1, to: 60 },
  'transaction:before-commit': { from: 1, to: 10 },
  'transaction:committed': { from: 1, to: 10 },
  'replay:middle': { from: 1, to: 3 },
  'blob:write': { from: 1, to: 8 },
  'snapshot:write': { from: 1, to: 3 },
  'activation:loaded': { from: 1, to: 30 },
  'passivation:released': { from: 1, to: 20 },
  'claim:taken': { from: 1, to: 30 },
  'timer:fire': { from: 1, to: 10 },
  'step:attempt-failed': { from: 1, to: 8 },
  'step:retry-stored': { from: 1, to: 8 },
  'step:progress-stored': { from: 1, to: 4 },
  'step:handed-over': { from: 1, to: 4 },
  'external:token-stored': { from: 1, to: 4 },
  'external:outcome-stored': { from: 1, to: 4 },
  'wait:due-stored': { from: 1, to: 6 },
  'sleep:woken': { from: 1, to: 6 },
  'receive:taken': { from: 1, to: 6 },
  'park:before-release': { from: 1, to: 3 },
  'park:released': { from: 1, to: 3 },
  'park:revived': { from: 1, to: 3 },
  'start:signal-stored': { from: 1, to: 4 },
  'start:result-read': { from: 1, to: 4 },
  'waiter:kept': { from: 1, to: 4 },
  'waiter:told': { from: 1, to: 3 },
  'cancel:stored': { from: 1, to: 6 },
  'cancel:taken': { from: 1, to: 4 },
  'cancel:heard': { from: 1, to: 4 },
  'rollback:begun': { from: 1, to: 4 },
  'rollback:undone': { from: 1, to: 8 },
  'rollback:over': { from: 1, to: 4 },
  'close:stored': { from: 1, to: 2 },
  'stream:stored': { from: 1, to: 20 },
  'stream:reset': { from: 1, to: 2 },
  'upgrade:made': { from: 1, to: 2 },
  'upgrade:stored': { from: 1, to: 2 },
  'patch:stored': { from: 1, to: 4 },
  'prune:step': { from: 1, to: 2 },
  'stream:pruned': { from: 1, to: 4 },
  'mend:taken': { from: 1, to: 3 },
  'mend:stored': { from: 1, to: 5 },
  'act:audited': { from: 1, to: 12 },
  'fork:stored': { from: 1, to: 2 },
  'answer:stored': { from: 1, to: 2 },
  'discard:middle': { from: 1, to: 1 },
  'import:middle': { from: 1, to: 3 },
  'import:stored': { from: 1, to: 2 },
  'migration:applied': { from: 1, to: 2 },
  'embedded:started': { from: 1, to: 1 },
  'shutdown:drained': { from: 1, to: 1 },
}

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

async function killAt(point: CrashPointName): Promise<void> {
  const { from, to } = PASSAGE[point]
  const nth = from + chain.chance.below(to - from + 1)
  switch (point) {
    case 'migration:applied':
      await chain.freshSchema()
      return chain.killAt(point, nth)
    case 'embedded:started':
      return chain.killAtServerStart()
    case 'shutdown:drained':
      return chain.killAt(point, nth, { drain: true })
    default:
      return chain.killAt(point, nth)
  }
}

test(`[X1, X20, X21, X22, X23, X24, X25, X26, X27, X28, X29, X32, X33] killed at every point (${SEED})`, async () => {
  for (let repeat = 0; repeat < REPEATS; repeat++) for (const point of POINTS) await killAt(point)
  await chain.settle()
  for (const point of POINTS) expect(chain.hits(point), point).toBe(REPEATS)
  console.log(`${chain.kills} kills, each of ${POINTS.length} points ${REPEATS} times;`, chain.totals)
})
