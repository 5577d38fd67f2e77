/**
 * Bench `watchdog`: what a runtime pays for being watched while it does nothing.
 *
 * Measures: CPU time of the whole OS process, the thread of the watchdog included, and its resident memory, in windows
 * without and with it, alternately in one process. Not measured: a look into a thread that is held; there it is late
 * anyway.
 */
import { agent, pool } from '../server/index.ts'
import { median, openStage, round } from './stage.ts'

const ROUNDS = 4
/** Ms until what a start leaves to do is done, and of a window. */
const SETTLE_MS = 1_500
const WINDOW_MS = 4_000

const idle = agent('idle', { state: () => null, on: {} })

type Cost = { percent: number; rssMb: number }

export async function run() {
  await cost(false) // warm
  const [bare, watched]: [Cost[], Cost[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await cost(false))
    watched.push(await cost({}))
  }
  const percent = (costs: Cost[]): number => median(costs.map((one) => one.percent))
  const rssMb = (costs: Cost[]): number => median(costs.map((one) => one.rssMb))
  return {
    metrics: {
      barePercentOfCore: round(percent(bare), 2),
      watchedPercentOfCore: round(percent(watched), 2),
      addedRssMb: round(rssMb(watched) - rssMb(bare), 1),
    },
  }
}

async function cost(watchdog: false | object): Promise<Cost> {
  const stage = await openStage({ root: pool(idle), watchdog })
  await pause(SETTLE_MS)
  const before = process.cpuUsage()
  const startedAt = performance.now()
  await pause(WINDOW_MS)
  const { user, system } = process.cpuUsage(before)
  const percent = (user + system) / 10 / (performance.now() - startedAt)
  const rssMb = process.memoryUsage().rss / 1e6
  await stage.end()
  return { percent, rssMb }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
