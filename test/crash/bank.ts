/**
 * The agents under load. Each keeps, in its state, how often it did what it was asked for by id: two means doubled.
 *
 * - Money moves by calls (teller), with a slip in a table of the app, and by sends (purse); no money is made but by
 *   `add`, so the sum is known.
 * - clerk has effects outside, one line per attempt, under the step's idempotency key.
 * - Every fifth payment brings a receipt that is large enough to be stored apart; the clerk keeps the last one.
 * - States grow with the load, so that snapshots are due.
 * - The turns that wait, retry, stream and change with the code are errand.ts; those that are cancelled, take back what
 *   they did and have children, saga.ts.
 */
import { appendFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { agent, type Context, pool, supervisor, type Transaction } from 'vivarium'

export const ACCOUNTS = 16
export const CLERKS = 6
export const CLOCKS = 4
/** Balance of an account nobody used yet. */
export const OPENING = 1_000

/** Ms without a message after which keys leave memory: short, so that claims and releases are part of every run. */
export const PASSIVATE_MS = 250
/** Ms of a step: long enough that a kill meets open turns. */
const STEP_MS = 15
/** Characters that a visit leaves behind, and a step returns: patches grow past the snapshot's threshold. */
export const FILL = 'x'.repeat(400)
/** Repetitions of the id in a receipt: well over the size from which values are stored apart. */
const RECEIPT_LINES = 10_000

/** The receipt of a payment; null for those that have none. */
export function receiptOf(id: string): string | null {
  return /[05]$/.test(id) ? `${id};`.repeat(RECEIPT_LINES) : null
}

/** One line of the world outside. `note`: what the step knew when it acted. */
export type Effect = { id: string; key: string; step: string; attempt?: number; at?: number; note?: string }
export type AccountState = { balance: number; done: Record<string, number> }
export type ClerkState = DoneState & { receipt: { id: string; text: string } | null }
export type DoneState = { done: Record<string, number> }

type Move = { id: string; from: string; to: string; amount: number }
type Entry = { id: string; amount: number }
/** File of the world outside; the child that runs the bank names it before anything starts. */
let effects = ''
/** Table of the app's own, written in transactions of tellers. */
let slips = ''
let hasSlips = false
export function actIn(file: string, schema: string): void {
  effects = file
  slips = slipsOf(schema)
}

export function slipsOf(schema: string): string {
  return `slips_${schema}`
}

/** In the world outside, synchronously: what a step did stays done whatever dies. */
export function leave(effect: Effect): void {
  appendFileSync(effects, `${JSON.stringify(effect)}\n`)
}

export function count(state: { done: Record<string, number> }, what: string): void {
  state.done[what] = (state.done[what] ?? 0) + 1
}

export const account = agent('account', {
  state: (): AccountState => ({ balance: OPENING, done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    add(ctx, { id, amount }: Entry) {
      count(ctx.state, `add ${id}`)
      ctx.state.balance += amount
      return ctx.state.balance
    },
    take(ctx, { id, amount }: Entry) {
      count(ctx.state, `take ${id}`)
      ctx.state.balance -= amount
      return ctx.state.balance
    },
  },
})

/** Sends what it gives: no call, no answer. */
export const purse = agent('purse', {
  state: (): AccountState => ({ balance: OPENING, done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    push(ctx, { id, to, amount }: { id: string; to: string; amount: number }) {
      count(ctx.state, `take ${id}`)
      ctx.state.balance -= amount
      ctx.send(ctx.ref(account, to).add({ id, amount }))
    },
  },
})

/** Without a key on purpose: a slip that is written twice is there twice. */
async function fileSlip(tx: Transaction, id: string): Promise<void> {
  const table = sql.identifier(slips)
  if (!hasSlips) {
    await tx.execute(sql`select pg_advisory_xact_lock(7)`) // two that create it at once would clash
    await tx.execute(sql`create table if not exists ${table} (id text not null)`)
  }
  await tx.execute(sql`insert into ${table} values (${id})`)
  hasSlips = (await tx.execute(sql`select 1 from ${table} limit 2`)).length === 2 // the other one is committed
}

export const teller = agent('teller', {
  state: (): DoneState => ({ done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async move(ctx, { id, from, to, amount }: Move) {
      await ctx.ref(account, from).take({ id, amount })
      await ctx.ref(account, to).add({ id, amount })
      count(ctx.state, `move ${id}`)
      await ctx.transaction((tx) => fileSlip(tx, id))
    },
  },
})

/** Acts outside as the step's function does: the line may be written again, under the same key. */
async function act(ctx: Context<ClerkState>, step: string, id: string): Promise<string> {
  return ctx.step(step, async ({ idempotencyKey, signal }) => {
    leave({ id, key: idempotencyKey, step })
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, STEP_MS)
      signal.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    return (step === 'book' ? receiptOf(id) : null) ?? FILL
  })
}

export const clerk = agent('clerk', {
  state: (): ClerkState => ({ done: {}, receipt: null }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async pay(ctx, { id }: Entry) {
      await act(ctx, 'charge', id)
      const drawn = ctx.random() + ctx.now()
      const text = await act(ctx, 'book', id)
      if (receiptOf(id) !== null) ctx.state.receipt = { id, text }
      // Every fourth one fails once between its steps: the second attempt replays the first step.
      if (ctx.message.attempt === 1 && id.endsWith('4')) throw new Error('fails once, on purpose')
      await act(ctx, 'ship', id)
      if (!Number.isFinite(drawn)) throw new Error('no time')
      count(ctx.state, `pay ${id}`)
    },
  },
})

export const clock = agent('clock', {
  state: (): DoneState => ({ done: {} }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    alarm(ctx, { id, ms }: { id: string; ms: number }) {
      count(ctx.state, `alarm ${id}`)
      ctx.after(ms, 'ring', { id }, { name: id })
    },
    ring(ctx, { id }: { id: string }) {
      count(ctx.state, `ring ${id}`)
    },
  },
})

/** A static child: never passive, hears of every visit, and grows. */
export const till = agent('till', {
  state: (): DoneState & { log: string[] } => ({ done: {}, log: [] }),
  on: {
    tick(ctx, { id }: { id: string }) {
      count(ctx.state, `tick ${id}`)
      ctx.state.log = [...ctx.state.log.slice(-20), FILL]
    },
  },
})

export const guest = agent('guest', {
  state: () => ({ done: {} as Record<string, number>, fill: '' }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    visit(ctx, { id }: { id: string }) {
      count(ctx.state, `visit ${id}`)
      ctx.state.fill = FILL
      ctx.send(ctx.ref(till, 'main').tick({ id }))
    },
  },
})

/** Kills its node whenever its message is in hand, after a first step: the worst a message can do. */
export const bomb = agent('bomb', {
  state: (): DoneState => ({ done: {} }),
  on: {
    async blow(ctx, { id }: { id: string }) {
      await ctx.step('fuse', () => id)
      process.kill(process.pid, 'SIGKILL')
      await new Promise(() => {})
    },
  },
})

export const bank = supervisor('bank', {
  strategy: 'one_for_one',
  children: [
    till.spec({ key: 'main' }),
    ...[account, purse, teller, clerk, clock, guest, bomb].map((each) => pool(each)),
  ],
})
