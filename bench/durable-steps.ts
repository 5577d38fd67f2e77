/**
 * Bench `durable-steps`: recorded steps per second, 1,000 runs of ten steps at once, and one lone run.
 *
 * Measures: message accepted, each step after the one before is stored, results recorded, end of turn; the functions of
 * the steps do nothing.
 * Leaves out: replay (the recovery bench), work inside steps.
 * Checked from SQL: the journal holds ten step entries per finished run.
 */
import { agent, pool } from '../server/index.ts'
import { forMs, median, openStage, percentile, round } from './stage.ts'

const AGENTS = 1_000
const STEPS = 10
const ROUNDS = 4
const WARM_ROUNDS = 1
const ROUND_MS = 3_000
const LONE_RUNS = 200

const runner = agent('runner', {
  state: () => ({ runs: 0 }),
  on: {
    async run(ctx, steps: number): Promise<number> {
      let sum = 0
      for (let i = 0; i < steps; i++) sum += await ctx.step('work', () => i)
      ctx.state.runs += 1
      return sum
    },
  },
})

export async function run() {
  const stage = await openStage({ root: pool(runner) })
  try {
    const refs = Array.from({ length: AGENTS }, (_, i) => stage.runtime.ref(runner, `k${i}`))
    await Promise.all(refs.map((ref) => ref.run(0)))
    const rates: number[] = []
    let finished = 0
    for (let i = 0; i < ROUNDS; i++) {
      const { count, ms } = await forMs(ROUND_MS, AGENTS, async (lane) => refs[lane]?.run(STEPS))
      finished += count
      if (i >= WARM_ROUNDS) rates.push((count * STEPS) / (ms / 1_000))
    }
    const lone: number[] = []
    for (let i = 0; i < LONE_RUNS; i++) {
      const startedAt = performance.now()
      await refs[0]?.run(STEPS)
      lone.push((performance.now() - startedAt) / STEPS)
    }
    const expected = (finished + LONE_RUNS) * STEPS
    const [row] = await stage.sql<{ steps: number }[]>`
      select sum((length(payload) - length(replace(payload, '"k":"step"', ''))) / length('"k":"step"'))::int as steps
      from vivarium.journal`
    if (row?.steps !== expected) throw new Error(`Finished runs have ${expected} steps, the journal ${row?.steps}.`)
    return { metrics: { stepsPerSecond: round(median(rates)), loneStepP50Ms: round(percentile(lone, 0.5), 3) } }
  } finally {
    await stage.end()
  }
}
