/**
 * Bench `compute`: what a task on a thread costs, and what CPU work costs the agents beside it.
 *
 * Measures: empty tasks a second through `ctx.task`, of ephemeral and of durable agents (record and commit included),
 * all threads warm. Then one agent is called every 5 ms, and each call says how late its answer is (from the time at
 * which it was due): alone, beside one task of 200 ms after the other on one thread, on as many threads as there are
 * cores, and beside the same function in the runtime's own thread, where it was before there were threads. Medians of
 * the rounds.
 * Leaves out: large arguments and results.
 * Checked: the pool counted every task that was asked for.
 */
import { availableParallelism } from 'node:os'
import { agent, type Context, computeModule } from '../server/index.ts'
import { burn } from './compute-work.ts'
import { forMs, median, openStage, percentile, round, type Stage } from './stage.ts'

const work = computeModule<typeof import('./compute-work.ts')>(new URL('./compute-work.ts', import.meta.url))
const WINDOW_MS = 4_000
const ROUNDS = 3
const LANES = 32
const TICK_MS = 5
const BURN_MS = 200

const on = {
  empty: (ctx: Context<null>) => ctx.task(work, 'empty', []).result(),
  burn: (ctx: Context<null>) => ctx.task(work, 'burn', [BURN_MS]).result(),
  burnHere: (ctx: Context<null>) => ctx.task('burn', () => burn(BURN_MS)).result(),
}
const swift = agent('swift', { durability: 'ephemeral', state: () => null, on })
const kept = agent('kept', { state: () => null, on })
const ticker = agent('ticker', {
  durability: 'ephemeral',
  state: () => ({ n: 0 }),
  on: { tick: (ctx) => ++ctx.state.n },
})

export async function run(): Promise<{ metrics: Record<string, number> }> {
  const metrics: Record<string, number> = {}
  const threads = availableParallelism()
  const stage = await openStage({ agents: [swift, kept, ticker], compute: { threads } })
  const { runtime } = stage
  let asked = 0
  const empties = async (definition: typeof swift | typeof kept): Promise<number> => {
    const lane = (n: number): Promise<unknown> => {
      asked += 1
      return runtime.ref(definition, `lane-${n}`).empty().run()
    }
    await forMs(1_000, LANES, lane)
    const { count, ms } = await forMs(WINDOW_MS, LANES, lane)
    return round((count / ms) * 1_000)
  }
  metrics['emptyTasksPerSecond'] = await empties(swift)
  metrics['emptyTasksPerSecondDurable'] = await empties(kept)
  const beside = async (lanes: number, op: 'burn' | 'burnHere'): Promise<number[]> => {
    const load = forMs(WINDOW_MS, lanes, (n) => {
      if (op === 'burn') asked += 1
      return runtime.ref(swift, `load-${n}`)[op]().run()
    })
    const late = await lateness(stage)
    await load
    return late
  }
  const loads = {
    alone: [0, 'burn'],
    oneThread: [1, 'burn'],
    allCores: [threads, 'burn'],
    ownThread: [1, 'burnHere'],
  } as const
  const rounds: Record<string, number[]> = {}
  for (let n = 0; n < ROUNDS; n++) {
    for (const [name, [lanes, op]] of Object.entries(loads)) {
      const late = await beside(lanes, op)
      for (const [of, share] of [
        ['P50Ms', 0.5],
        ['P99Ms', 0.99],
      ] as const) {
        rounds[name + of] ??= []
        rounds[name + of]?.push(percentile(late, share))
      }
    }
  }
  for (const [name, figures] of Object.entries(rounds)) metrics[name] = round(median(figures), 2)
  const { value } = await runtime.inspect.state('vivarium/compute')
  const done = Reflect.get(Object(value), 'done')
  await stage.end()
  if (done !== asked) throw new Error(`The pool counted ${String(done)} tasks of ${asked}.`)
  return { metrics }
}

/** Ms from when each call was due to its answer, over a window. */
async function lateness({ runtime }: Stage): Promise<number[]> {
  const late: number[] = []
  const calls: Promise<void>[] = []
  const startedAt = performance.now()
  for (let due = startedAt; due < startedAt + WINDOW_MS - BURN_MS; due += TICK_MS) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now() - 1)))
    // Timers come up to 1 ms early.
    while (performance.now() < due) await new Promise((resolve) => setImmediate(resolve))
    const at = due
    calls.push(
      runtime
        .ref(ticker, 't')
        .tick()
        .then(() => void late.push(performance.now() - at)),
    )
  }
  await Promise.all(calls)
  return late
}
