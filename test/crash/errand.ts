/**
 * Agents whose turns wait, retry, stream, and outlive the code they began under. Like those of bank.ts they count what
 * they did by id; what a step saw stands outside (`leave`), what a turn came to in its state (`said`).
 *
 * - Within an errand steps follow each other, each with a line outside: a line of an earlier step behind one of a later
 *   step is a recorded result that ran again.
 * - The code changes with every life of a child (`relicOf`): a new state version, a new patch.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { agent, type Context, pool, supervisor } from 'vivarium'
import { account, count, type DoneState, FILL, leave, PASSIVATE_MS } from './bank.ts'

/** Rows that the annals keep; the fewer, the more often something is pruned. */
export const ANNALS_ROWS = 4
/** Chunks of a story, and ms between two: a kill meets streams of which a part is stored. */
export const CHUNKS = 8
const CHUNK_MS = 8
/** Attempts that a hot iron needs. */
export const HEATS = 3
const BLOWS = 3
const BLOW_MS = 4
/** Ms of a step beside others. Fewer than the steps: two of them always end in one tick. */
const SIDES_MS = [1, 2]
const FAST = { max: 5, initialMs: 3, maxMs: 10 }
/** Patches back to which the code still knows the old ways: more than lives pass while one turn is open. */
const PATCHES_KNOWN = 40

export type ErrandState = DoneState & { said: Record<string, string> }
export type Ask = { id: string; ms: number; to: string; amount: number }
export type Dish = { id: string; ask: string }
export type RelicState = ErrandState & { version: number }

const fresh = (): ErrandState => ({ done: {}, said: {} })

/** Told of each token that a step hands out; set by the child that runs the errands. */
let customs: (id: string, token: string) => void = () => {}
export function openCustoms(take: (id: string, token: string) => void): void {
  customs = take
}

/** A step that does nothing but leave its line. */
function mark(ctx: Pick<Context<unknown>, 'step'>, id: string, step: string, note?: string): Promise<void> {
  return ctx.step(step, ({ idempotencyKey, attempt }) =>
    leave({ id, key: idempotencyKey, step, attempt, at: Date.now(), ...(note === undefined ? {} : { note }) }),
  )
}

export const sleeper = agent('sleeper', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async nap(ctx, { id, ms }: Ask) {
      await mark(ctx, id, 'bed', String(ms))
      await ctx.sleep(ms)
      await mark(ctx, id, 'rise')
      count(ctx.state, `nap ${id}`)
    },
  },
})

/** The dish comes with the order, the bill by a timer of its own: short after, or when the turn has left memory. */
export const waiter = agent('waiter', {
  state: () => ({ ...fresh(), dishes: {} as Record<string, number> }),
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async order(ctx, { id, ms }: Ask) {
      const dish = await ctx.receive<Dish>('dish')
      serve(ctx.state.dishes, dish.message)
      await mark(ctx, id, 'serve', dish.message.ask)
      ctx.after(ms, 'bill', { id }, { name: 'bill' })
      await ctx.checkpoint()
      const bill = await ctx.receive<Ask>((op, message) => op === 'bill' && (message as Ask).id === id)
      await mark(ctx, id, 'pay', bill.message.id)
      count(ctx.state, `bill ${bill.message.id}`)
      count(ctx.state, `order ${id}`)
    },
    /** One too many: the order was asked for again, and each asking brings a dish. */
    dish(ctx, dish: Dish) {
      serve(ctx.state.dishes, dish)
    },
    bill(ctx, { id }: Ask) {
      count(ctx.state, `bill ${id}`)
    },
  },
})

function serve(dishes: Record<string, number>, { id, ask }: Dish): void {
  const what = `${id} ${ask}`
  dishes[what] = (dishes[what] ?? 0) + 1
}

export const smith = agent('smith', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async forge(ctx, { id }: Ask) {
      const heat = ({ idempotencyKey: key, attempt }: { idempotencyKey: string; attempt: number }): void => {
        leave({ id, key, step: 'heat', attempt })
        if (attempt < HEATS) throw new Error('not hot yet, on purpose')
      }
      await ctx.step('heat', heat, { retry: FAST })
      await hammer(ctx, id)
      const order: string[] = []
      const sides = ['left', 'right', 'edge'].map(async (side) => {
        await ctx.step(side, () => pause(SIDES_MS[Math.floor(Math.random() * SIDES_MS.length)]))
        order.push(side)
      })
      await Promise.all(sides)
      await mark(ctx, id, 'quench', order.join(' '))
      ctx.state.said[`forge ${id}`] = order.join(' ')
      count(ctx.state, `forge ${id}`)
    },
  },
})

/** Reports each blow and slips after the last one: the second attempt finds all of them. */
function hammer(ctx: Pick<Context<unknown>, 'step'>, id: string): Promise<void> {
  return ctx.step(
    'hammer',
    async (info) => {
      const done = Number(info.progress ?? 0)
      leave({ id, key: info.idempotencyKey, step: 'hammer', attempt: info.attempt, note: String(done) })
      for (let blow = done + 1; blow <= BLOWS; blow++) {
        info.heartbeat(blow)
        await pause(BLOW_MS)
      }
      if (info.attempt === 1) throw new Error('slips, on purpose')
    },
    { retry: FAST, heartbeatMs: 5_000 },
  )
}

export const depot = agent('depot', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async ship(ctx, { id }: Ask) {
      await mark(ctx, id, 'pack')
      const stamp = await ctx.step<string>(
        'customs',
        ({ token, idempotencyKey }) => {
          leave({ id, key: idempotencyKey, step: 'customs', note: token })
          customs(id, token)
        },
        { external: true },
      )
      await mark(ctx, id, 'sail', stamp)
      ctx.state.said[`ship ${id}`] = stamp
      count(ctx.state, `ship ${id}`)
    },
  },
})

/** Every other story is torn up once in the middle and told again; which telling a chunk is of stands in it. */
export const scribe = agent('scribe', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async tell(ctx, { id }: Ask) {
      const log = ctx.stream('log')
      await log.write('begins')
      const telling = await ctx.step(
        'model',
        async (info) => {
          const nonce = `${Date.now()}-${info.attempt}`
          leave({ id, key: info.idempotencyKey, step: 'model', attempt: info.attempt, note: nonce })
          const text = info.stream('text')
          for (let chunk = 0; chunk < CHUNKS; chunk++) {
            await text.write(`${nonce} ${chunk}`)
            if (chunk === CHUNKS / 2 && info.attempt === 1 && /[02468]$/.test(id)) throw new Error('torn, on purpose')
            await pause(CHUNK_MS)
          }
          return nonce
        },
        { retry: FAST },
      )
      await mark(ctx, id, 'bind', telling)
      await ctx.stream('text').close()
      await log.write('ends')
      await log.close()
      ctx.state.said[`tell ${id}`] = telling
      count(ctx.state, `tell ${id}`)
    },
  },
})

export const broker = agent('broker', {
  state: fresh,
  passivateAfterMs: PASSIVATE_MS,
  on: {
    async deal(ctx, { id, to, amount }: Ask) {
      const begun = await ctx.start(account, to, 'add', { id, amount })
      const balance = await begun.result()
      await mark(ctx, id, 'seal', String(balance))
      count(ctx.state, `deal ${id}`)
    },
  },
})

export const annals = agent('annals', {
  state: () => ({ done: {} as Record<string, number>, page: '' }),
  retention: { maxRows: ANNALS_ROWS },
  passivateAfterMs: PASSIVATE_MS,
  on: {
    write(ctx, { id }: { id: string }) {
      count(ctx.state, `write ${id}`)
      ctx.state.page = `${id} ${FILL.repeat(12)}`
    },
  },
})

/** The agent as the code of this version knows it: each version adds one to the state and another way of working. */
function relicOf(version: number) {
  const steps = Array.from(
    { length: version - 1 },
    (_, i) => [i + 1, (old: RelicState) => renewed(old, i + 1)] as const,
  )
  return agent('relic', {
    version,
    state: (): RelicState => ({ ...fresh(), version }),
    upgrade: Object.fromEntries(steps),
    passivateAfterMs: PASSIVATE_MS,
    on: {
      async renew(ctx, { id, ms }: Ask) {
        await mark(ctx, id, 'plan')
        const way = wayOf(ctx, version)
        await mark(ctx, id, 'lay', way)
        await ctx.sleep(ms)
        await mark(ctx, id, 'set', way)
        ctx.state.said[`renew ${id}`] = way
        count(ctx.state, `renew ${id}`)
      },
    },
  })
}

function renewed(old: RelicState, from: number): RelicState {
  if (old.version !== from) throw new Error(`A state of version ${old.version} was given to the upgrade from ${from}.`)
  return { ...old, version: from + 1 }
}

function wayOf(ctx: Pick<Context<unknown>, 'patched'>, version: number): string {
  for (let way = version; way > Math.max(0, version - PATCHES_KNOWN); way--)
    if (ctx.patched(`way${way}`)) return `${way}`
  throw new Error(`None of the last ${PATCHES_KNOWN} ways is this turn's.`)
}

/** Everything of this file under one supervisor, with the code of a version. */
export function errandsOf(version: number) {
  const relic = relicOf(version)
  const agents = { nap: sleeper, order: waiter, forge: smith, ship: depot, tell: scribe, deal: broker, renew: relic }
  const children = [...Object.values(agents), annals].map((each) => pool(each))
  return { agents, root: supervisor('errands', { strategy: 'one_for_one', children }) }
}

export type ErrandAgents = ReturnType<typeof errandsOf>['agents']
