/**
 * Agents whose turns are cancelled, take back what they did, have children, and wait for the results of others. Like
 * those of bank.ts they count in their state what they came to; each thing they do leaves a line outside.
 *
 * - A trip registers each leg's compensation before the leg, so a line of a leg means that its undoing is owed. Half of
 *   its state and its outbox stand behind a checkpoint: they leave with its end or not at all.
 * - A ticket is used by its trip. One that is left, or that was put back, is returned by itself.
 * - A walk that hangs ends by cancellation only.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { agent, type Context, pool, Reject, RuntimeError, type StepInfo, supervisor } from 'vivarium'
import { count, type DoneState, leave, PASSIVATE_MS } from './bank.ts'
import type { SagaEnd } from './fact.ts'

/** Ms. Nobody waits for so long here; short enough for a timer in memory. */
const HANG_MS = 3_600_000
/** Ms of a shielded section and of its halves: a cancellation meets it open. */
const SIGN_MS = 30
/** Ms between two looks of a watchman who does other things meanwhile: too short to leave memory. */
const ROUND_MS = 250
const ROUNDS = 4
export const LEGS = ['flight', 'hotel', 'car'] as const
/** Attempts after which a hopeless compensation is given up. */
export const UNDO_MAX = 2
const FAST = { max: 4, initialMs: 3, maxMs: 10 }

export type SagaState = DoneState & { said: Record<string, string> }
export type Trip = { id: string; end: SagaEnd }
/** Comes with the trip, once for each time that it is asked for. */
export type Ticket = { id: string; ask: string }
export type Tour = { id: string; end: SagaEnd; ms: number }
export type Walk = { id: string; end: SagaEnd; ms: number }
export type Vigil = { id: string; end: SagaEnd; ms: number; who: Watch }
export type Watch = 'a' | 'b'

const fresh = (): SagaState => ({ done: {}, said: {} })
const isCancelled = (error: unknown): boolean => error instanceof RuntimeError && error.code === 'CANCELLED'

/** Trips whose car cannot be given back. */
export function isHopeless(id: string): boolean {
  return /[02468]$/.test(id)
}

/** The life that runs this. The code that comes after it does not break down where that one did. */
let life = ''
export function liveAs(run: string): void {
  life = run
}

/** A trip that was begun by an earlier life: one that rolls back would go on now, and must not. */
function isMended(id: string): boolean {
  return !id.startsWith(`${life}-`)
}

/** Told of each line when it is left; set by the child that runs the sagas. */
let watching: (id: string, step: string) => void = () => {}
export function watchSteps(fn: (id: string, step: string) => void): void {
  watching = fn
}

function mark(ctx: Pick<Context<unknown>, 'step'>, id: string, step: string, note?: string): Promise<void> {
  return ctx.step(step, ({ idempotencyKey: key }) => {
    leave({ id, key, step, ...(note === undefined ? {} : { note }) })
    watching(id, step)
  })
}

/** The hotel is given back at the second attempt, a hopeless car never. */
function undo(id: string, leg: string, { idempotencyKey: key, attempt }: StepInfo): void {
  leave({ id, key, step: `undo ${leg}`, attempt })
  watching(id, `undo ${leg}`)
  if (leg === 'hotel' && attempt === 1) throw new Error('closed, on purpose')
  if (leg === 'car' && isHopeless(id)) throw new Error('nobody is there, on purpose')
}

async function travel(ctx: Pick<Context<unknown>, 'step' | 'onRollback'>, id: string, leg: string): Promise<void> {
  const retry = leg === 'car' ? { ...FAST, max: UNDO_MAX } : FAST
  ctx.onRollback(leg, (info) => undo(id, leg, info), { retry })
  await mark(ctx, id, leg)
}

/** Cleans up after a cancellation: waits and acts like any code, for what was heard is not heard again. */
async function heeding<T>(ctx: Pick<Context<unknown>, 'step' | 'sleep'>, id: string, work: () => Promise<T>) {
  try {
    return await work()
  } catch (error) {
    if (isCancelled(error)) {
      await mark(ctx, id, 'heard')
      await ctx.sleep(1)
      await mark(ctx, id, 'calm')
    }
    throw error
  }
}

/** What comes with the baggage is there only if the trip came to its end. */
export const porter = agent('porter', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    carry(ctx, { id }: { id: string }) {
      count(ctx.state, `carry ${id}`)
    },
  },
})

export const traveller = agent('traveller', {
  state: fresh,
  maxAttempts: 2,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async trip(ctx, { id, end }: Trip) {
      await heeding(ctx, id, async () => {
        await travel(ctx, id, 'flight')
        await travel(ctx, id, 'hotel')
        count(ctx.state, `sworn ${id}`)
        await ctx.checkpoint()
        count(ctx.state, `trip ${id}`)
        ctx.send(ctx.ref(porter, 'p').carry({ id }))
        await travel(ctx, id, 'car')
        const fits = (op: string, message: unknown): boolean => op === 'ticket' && (message as Ticket).id === id
        const ticket = await ctx.receive<Ticket>(fits)
        count(ctx.state, `ticket ${id} ${ticket.message.ask}`)
        const signing = ctx.shield(async () => {
          await mark(ctx, id, 'sign')
          await ctx.sleep(SIGN_MS)
          await mark(ctx, id, 'seal')
        })
        await Promise.all([ctx.sleep(1), signing])
        if (end === 'break-down') {
          if (!isMended(id)) throw new Error('breaks down, on purpose')
          await mark(ctx, id, 'mended')
        }
        if (end === 'turn-back') throw new Reject('turns back')
        if (end === 'hang') await ctx.sleep(HANG_MS)
      })
    },
    ticket(ctx, { id, ask }: Ticket) {
      count(ctx.state, `ticket ${id} ${ask}`)
    },
  },
})

export const guide = agent('guide', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async walk(ctx, { id, end, ms }: Walk) {
      return heeding(ctx, id, async () => {
        await mark(ctx, id, 'set out')
        const ticket = await ctx.step('ticket', () => pause(1, `${Date.now()}-${Math.random()}`))
        await ctx.sleep(end === 'hang' ? HANG_MS : ms)
        await mark(ctx, id, 'arrive', ticket)
        if (end === 'turn-back') throw new Reject(ticket)
        count(ctx.state, `walk ${id}`)
        return ticket
      })
    },
  },
})

export const tourist = agent('tourist', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async tour(ctx, { id, end, ms }: Tour) {
      for (const parentClose of ['stop', 'wait', 'detach'] as const) {
        const walk: Walk = { id: `${id}-${parentClose}`, end: parentClose === 'stop' ? 'hang' : 'arrive', ms }
        await ctx.start(guide, walk.id, 'walk', walk, { parentClose })
      }
      await mark(ctx, id, 'depart')
      count(ctx.state, `tour ${id}`)
      if (end === 'turn-back') throw new Reject('turns back')
      if (end === 'hang') await ctx.sleep(HANG_MS)
    },
  },
})

/** Watchmen of one lamp: one leaves memory meanwhile, the other asks again and again. */
export const watchman = agent('watchman', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async vigil(ctx, { id, end, ms, who }: Vigil) {
      const lamp: Walk = { id: `${id}-lamp`, end, ms }
      const lit = await ctx.start(guide, lamp.id, 'walk', lamp, { idempotencyKey: lamp.id })
      const rounds = who === 'a' ? 0 : ROUNDS
      const look = (): Promise<string> => lit.result().then(String, (error: RuntimeError) => `${error.code}`)
      for (let round = 0, seen: string | null = null; round < rounds && seen === null; round++)
        seen = await Promise.race([look(), ctx.sleep(ROUND_MS).then(() => null)])
      const told = await look()
      await mark(ctx, `${id}-${who}`, 'told', told)
      ctx.state.said[`${id}-${who}`] = told
      count(ctx.state, `vigil ${id}-${who}`)
    },
  },
})

export const sagas = supervisor('sagas', {
  strategy: 'one_for_one',
  children: [porter, traveller, guide, tourist, watchman].map((each) => pool(each)),
})
