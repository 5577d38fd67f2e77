/**
 * The work of dbos-conformance: a tax filing that is handed to an authority outside and decided there.
 *
 * - The authority and the books outlive every node and every database of a test: they are what effects are counted in.
 *   The authority knows a filing by its id, which is its idempotency key, and can be asked for its status.
 * - A test may end a node in the middle of a step, after the effect: `outside.at` is called at each named place.
 */
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'

/** How the authority answers: `lost` records and says nothing, `lazy` decides only when it is told to. */
export type Plan = 'ok' | 'lost' | 'lazy' | 'throttled' | 'unavailable' | 'exhausted' | 'rejected'

/** One attempt and five more, as in the original. */
const ATTEMPTS_MAX = 6

class Refusal extends Error {
  readonly retryable: boolean
  constructor(message: string, retryable: boolean) {
    super(message)
    this.retryable = retryable
  }
}

export class Authority {
  readonly #filings = new Map<string, string>()
  readonly #asked = new Map<string, number>()
  attempts = 0
  duplicates = 0
  throttled = 0
  unavailable = 0

  get recorded(): number {
    return this.#filings.size
  }

  status(id: string): string {
    return this.#filings.get(id) ?? 'unknown'
  }

  decide(id: string, outcome: string): void {
    this.#filings.set(id, outcome)
  }

  submit(id: string, plan: Plan): void {
    this.attempts += 1
    const asked = (this.#asked.get(id) ?? 0) + 1
    this.#asked.set(id, asked)
    if (plan === 'exhausted' || (plan === 'throttled' && asked <= 2)) {
      this.throttled += 1
      throw Object.assign(new Refusal('429 too many requests', true), { retryAfterMs: 10 })
    }
    if (plan === 'unavailable' && asked <= 2) {
      this.unavailable += 1
      throw new Refusal('503 unavailable', true)
    }
    if (this.#filings.has(id)) this.duplicates += 1
    else this.#filings.set(id, plan === 'lazy' ? 'processing' : plan === 'rejected' ? 'rejected' : 'accepted')
    if (plan === 'rejected') throw new Refusal('422 rejected', false)
    if (plan === 'lost') throw new Refusal('the response timed out', true)
  }
}

/** What the product itself knows of its filings. A command with the state that it has already is a duplicate. */
export class Books {
  readonly #states = new Map<string, string>()
  applied = 0
  duplicates = 0

  state(id: string): string {
    return this.#states.get(id) ?? 'ready'
  }

  apply(id: string, state: string): void {
    if (this.#states.get(id) === state) this.duplicates += 1
    else this.applied += 1
    this.#states.set(id, state)
  }

  /** Filings that are due and not decided. */
  open(): string[] {
    return [...this.#states].filter(([, state]) => !FINAL.has(state)).map(([id]) => id)
  }

  due(id: string): void {
    this.#states.set(id, 'ready')
  }
}

const FINAL: ReadonlySet<string> = new Set(['accepted', 'rejected'])

export class Outside {
  readonly authority = new Authority()
  readonly books = new Books()
  /** Told of each place that code passes inside a step. */
  at: (id: string, place: string) => unknown = () => {}
  readonly passed: string[] = []

  pass(id: string, place: string): unknown {
    this.passed.push(`${id} ${place}`)
    return this.at(id, place)
  }
}

export type Filing = { status: string; callbacks: string[]; early: string | null }
type Callback = { key: string; outcome: string }
export type Order = { plan: Plan; waitMs: number }

export const filingAgent = (outside: Outside, { risk = false }: { risk?: boolean } = {}) =>
  agent('filing', {
    state: (): Filing => ({ status: 'new', callbacks: [], early: null }),
    passivateAfterMs: 100,
    on: {
      async file(ctx, { plan, waitMs }: Order) {
        const id = ctx.key
        await ctx.step('validate', () => outside.pass(id, 'validated') ?? null)
        if (risk && ctx.patched('risk')) await ctx.step('risk', () => outside.pass(id, 'risk') ?? null)
        await command(ctx, outside, 'submitting')
        const refused = await submitted(ctx, outside, plan)
        if (refused !== null) {
          await command(ctx, outside, refused)
          ctx.state.status = refused
          return refused
        }
        await command(ctx, outside, 'submitted')
        const outcome = await decided(ctx, outside, waitMs)
        await command(ctx, outside, outcome)
        ctx.state.status = outcome
        return outcome
      },
      async callback(ctx, { key, outcome }: Callback) {
        if (ctx.state.callbacks.includes(key)) return
        ctx.state.callbacks.push(key)
        if (ctx.state.status === 'new') ctx.state.early = outcome
        if (ctx.state.status !== 'needs_review') return
        await command(ctx, outside, outcome)
        ctx.state.status = outcome
      },
    },
  })

type Ctx = Context<Filing>

async function command(ctx: Ctx, outside: Outside, state: string): Promise<void> {
  await ctx.step(`book ${state}`, async () => {
    outside.books.apply(ctx.key, state)
    await outside.pass(ctx.key, state)
  })
}

/** Null once the authority has it; else the state in which the filing ends. */
async function submitted(ctx: Ctx, outside: Outside, plan: Plan): Promise<string | null> {
  const { authority } = outside
  const id = ctx.key
  const retry = { max: ATTEMPTS_MAX, initialMs: 5, maxMs: 20, retryIf: isWorthIt }
  try {
    await ctx.step(
      'submit',
      async () => {
        // Asked first: an attempt whose end nobody knows must not become a second one.
        if (authority.status(id) === 'unknown') authority.submit(id, plan)
        await outside.pass(id, 'sent')
      },
      { retry },
    )
    return null
  } catch {
    // The answer is lost, or it was a no: the authority is asked which.
    const status = await ctx.step('find', () => authority.status(id))
    if (status === 'unknown') return 'needs_review'
    return status === 'rejected' ? 'rejected' : null
  }
}

/** A timeout says nothing about the effect: it is looked up, not repeated. */
function isWorthIt(error: unknown): boolean {
  return error instanceof Refusal && error.retryable && !error.message.includes('timed out')
}

async function decided(ctx: Ctx, outside: Outside, waitMs: number): Promise<string> {
  if (ctx.state.early !== null) return ctx.state.early
  const heard = await ctx.receive<Callback>('callback', { timeoutMs: waitMs })
  if (heard !== null) {
    ctx.state.callbacks.push(heard.message.key)
    return heard.message.outcome
  }
  const status = await ctx.step('poll', async () => {
    await outside.pass(ctx.key, 'polled')
    return outside.authority.status(ctx.key)
  })
  return FINAL.has(status) ? status : 'needs_review'
}
