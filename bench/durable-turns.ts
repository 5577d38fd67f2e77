/**
 * Bench `durable-turns`: turns per second of 1,000 durable agents, each with one caller that waits for its commit.
 *
 * Measures: call, mailbox, handler with a state patch, commit on the embedded server with fsync on, answer after the
 * commit; everything a turn costs, callers included, on one thread. Then the same with one send per turn to the next
 * agent (only the turns that were called are counted, the receivers' turns run beside them), and a lone agent.
 * Leaves out: steps (durable-steps), one busy agent (hot-entity), observers (observe-tax).
 * Checked from SQL: the sum of the agents' states is the number of acknowledged turns, sends included.
 */
import { agent, pool } from '../server/index.ts'
import { forMs, median, openStage, percentile, round, type Stage } from './stage.ts'

const AGENTS = 1_000
const ROUNDS = 5
const WARM_ROUNDS = 1
const ROUND_MS = 3_000
const LONE_TURNS = 2_000

const account = agent('account', {
  state: () => ({ n: 0, sent: 0, got: 0, last: '', owner: { name: 'x'.repeat(80), tags: ['a', 'b'] } }),
  on: {
    add(ctx, message: { by: number; who: string }) {
      ctx.state.n += message.by
      ctx.state.last = message.who
      return ctx.state.n
    },
    addAndSend(ctx, message: { by: number; to: string }) {
      ctx.state.sent += message.by
      ctx.send(ctx.ref(account, message.to).take(1))
      return ctx.state.sent
    },
    take(ctx, by: number) {
      ctx.state.got += by
    },
  },
  queries: { counts: (state) => ({ n: state.n, sent: state.sent, got: state.got }) },
})

export async function run() {
  const stage = await openStage({ root: pool(account) })
  try {
    const keys = Array.from({ length: AGENTS }, (_, i) => `k${i}`)
    const refs = keys.map((key) => stage.runtime.ref(account, key))
    await Promise.all(refs.map((ref) => ref.add({ by: 0, who: 'warm' })))
    const plain = await rounds((lane) => refs[lane]?.add({ by: 1, who: `caller ${lane}` }) ?? never())
    const sending = await rounds(
      (lane) => refs[lane]?.addAndSend({ by: 1, to: keys[(lane + 1) % AGENTS] ?? '' }) ?? never(),
    )
    const lone = await loneTurns(stage)
    await check(stage, plain.acknowledged + LONE_TURNS, sending.acknowledged)
    return {
      metrics: {
        turnsPerSecond: plain.rate,
        turnsPerSecondWithSend: sending.rate,
        loneP50Ms: round(percentile(lone, 0.5), 3),
        p99Ms: round(percentile(lone, 0.99), 3),
        cpuUsPerTurn: plain.cpuUs,
      },
    }
  } finally {
    await stage.end()
  }
}

async function rounds(work: (lane: number) => PromiseLike<unknown>) {
  const rates: number[] = []
  const cpu: number[] = []
  let acknowledged = 0
  for (let i = 0; i < ROUNDS; i++) {
    const before = process.cpuUsage()
    const { count, ms } = await forMs(ROUND_MS, AGENTS, async (lane) => work(lane))
    const { user, system } = process.cpuUsage(before)
    acknowledged += count
    if (i < WARM_ROUNDS) continue
    rates.push(count / (ms / 1_000))
    cpu.push((user + system) / count)
  }
  return { rate: round(median(rates)), cpuUs: round(median(cpu), 1), acknowledged }
}

async function loneTurns(stage: Stage): Promise<number[]> {
  const ref = stage.runtime.ref(account, 'k0')
  const times: number[] = []
  for (let i = 0; i < LONE_TURNS; i++) {
    const startedAt = performance.now()
    await ref.add({ by: 1, who: 'lone' })
    times.push(performance.now() - startedAt)
  }
  return times
}

async function check(stage: Stage, added: number, sent: number): Promise<void> {
  // Messages may still be on their way when the callers are done.
  for (;;) {
    const [row] = await stage.sql<{ n: number }[]>`select count(*)::int as n from vivarium.mailbox`
    if (row?.n === 0) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const totals = { n: 0, sent: 0, got: 0 }
  for (let i = 0; i < AGENTS; i++) {
    const { value } = await stage.runtime.inspect.state(`account/k${i}`)
    const state = value as typeof totals // the agent above made it
    totals.n += state.n
    totals.sent += state.sent
    totals.got += state.got
  }
  const [ends] = await stage.sql<{ n: number }[]>`
    select sum(cardinality(turn_ids))::int as n from vivarium.journal where cardinality(turn_ids) > 0`
  if (totals.n === added && totals.sent === sent && totals.got === sent && (ends?.n ?? 0) >= added + 2 * sent) return
  throw new Error(
    `Acknowledged ${added} and ${sent}; the states say ${JSON.stringify(totals)}, the journal ${ends?.n} turns.`,
  )
}

function never(): never {
  throw new Error('A lane without an agent.')
}
