/**
 * A tree under load for browser tests on a real server.
 *
 *   supervisor/smithy (one_for_one)
 *   ├─ supervisor/bench   worker/anvil …   durable, a slow step per message, mailboxes of different depth
 *   ├─ supervisor/clocks  ticker/00 …      durable, commit a tick again and again
 *   ├─ pool/visitor                        ephemeral, one per key
 *   └─ crier/main                          ephemeral, sends to visitors all the time
 */
import { agent, pool, supervisor } from 'vivarium'

/** Messages given to each worker: none of them is done with its mailbox while a test runs. */
export const WORKERS: Readonly<Record<string, number>> = { anvil: 600, bellows: 400, chisel: 200 }
const TICKERS = Array.from({ length: 12 }, (_, index) => String(index).padStart(2, '0'))

/** Milliseconds a worker takes for a message, too long to be missed by who looks. */
const FORGE_MS = 600
/** Milliseconds between the ticks of one ticker: twelve of them commit 60 times a second. */
const TICK_MS = 200
/** Milliseconds between the rounds of the crier, and visitors it sends to in each: 2,000 messages a second. */
const CRY_MS = 50
const CRIED_TO = 100

type Piece = { piece: number; of: string }

export const worker = agent('worker', {
  state: () => ({ pieces: 0, last: null as Piece | null }),
  on: {
    async forge(ctx, piece: Piece): Promise<void> {
      await ctx.step('heat', ({ signal }) => pause(FORGE_MS, signal))
      ctx.state.pieces += 1
      ctx.state.last = piece
    },
  },
})

export const ticker = agent('ticker', {
  state: () => ({ ticks: 0 }),
  on: {
    tick(ctx): void {
      ctx.state.ticks += 1
      ctx.after(TICK_MS, 'tick', null, { name: 'tick' })
    },
  },
})

export const visitor = agent('visitor', {
  durability: 'ephemeral',
  state: () => ({ heard: 0 }),
  on: {
    hear(ctx): void {
      ctx.state.heard += 1
    },
  },
})

export const crier = agent('crier', {
  durability: 'ephemeral',
  state: () => ({ round: 0, keys: [] as string[] }),
  on: {
    begin(ctx, keys: string[]): void {
      ctx.state.keys = keys
      ctx.after(CRY_MS, 'cry')
    },
    cry(ctx): void {
      const { keys, round } = ctx.state
      for (let at = 0; at < CRIED_TO; at++) {
        const key = keys[(round * CRIED_TO + at) % keys.length]
        if (key !== undefined) ctx.send(ctx.ref(visitor, key).hear())
      }
      ctx.state.round = round + 1
      ctx.after(CRY_MS, 'cry')
    },
  },
})

export const tickers: readonly string[] = TICKERS

export const smithy = supervisor('smithy', {
  strategy: 'one_for_one',
  children: [
    supervisor('bench', {
      strategy: 'one_for_one',
      children: Object.keys(WORKERS).map((key) => worker.spec({ key })),
    }),
    supervisor('clocks', { strategy: 'one_for_one', children: TICKERS.map((key) => ticker.spec({ key })) }),
    pool(visitor),
    crier.spec({ key: 'main' }),
  ],
})

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason)
    })
  })
}
