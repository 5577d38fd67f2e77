/**
 * Bench `hot-entity`: turns per second of one durable agent with 500 callers.
 *
 * Measures: run-ahead and rows that carry many turns; every answer waits for its commit.
 * Leaves out: anything that spreads load. One process never uses more than one thread.
 * Checked from SQL: the state counts every acknowledged call once, and so does the journal.
 */
import { agent, pool } from '../server/index.ts'
import { forMs, median, openStage, round } from './stage.ts'

const CALLERS = 500
const ROUNDS = 5
const WARM_ROUNDS = 1
const ROUND_MS = 2_000

const counter = agent('counter', {
  state: () => ({ n: 0, last: '' }),
  on: {
    add(ctx, message: { by: number; who: string }) {
      ctx.state.n += message.by
      ctx.state.last = message.who
      return ctx.state.n
    },
  },
})

export async function run() {
  const stage = await openStage({ root: pool(counter) })
  try {
    const ref = stage.runtime.ref(counter, 'hot')
    const rates: number[] = []
    let acknowledged = 0
    for (let i = 0; i < ROUNDS; i++) {
      const { count, ms } = await forMs(ROUND_MS, CALLERS, async () => ref.add({ by: 1, who: 'someone' }))
      acknowledged += count
      if (i >= WARM_ROUNDS) rates.push(count / (ms / 1_000))
    }
    const { value } = await stage.runtime.inspect.state('counter/hot')
    const [row] = await stage.sql<{ turns: number; rows: number }[]>`
      select sum(cardinality(turn_ids))::int as turns, count(*)::int as rows
      from vivarium.journal where cardinality(turn_ids) > 0`
    const stored = (value as { n: number }).n // the agent above made it
    if (stored !== acknowledged || row?.turns !== acknowledged) {
      throw new Error(`Acknowledged ${acknowledged}, state says ${stored}, journal says ${row?.turns}.`)
    }
    return { metrics: { turnsPerSecond: round(median(rates)), turnsPerRow: round(row.turns / row.rows, 1) } }
  } finally {
    await stage.end()
  }
}
