/**
 * The agent of the simulation: it carries orders out and leaves their ids in its state. What it is handed is checked on
 * the spot by `Witness`, as the code of a user would see it.
 */
import { type AgentDefinition, agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { isRuntimeError } from '../../shared/error.ts'
import type { Instruction, Order, Sent, Step } from './order.ts'
import type { Witness } from './witness.ts'

export type ActorState = {
  /** How often each order was carried out. */
  done: { [id: string]: number }
  /** `sender#n` in the order in which they were carried out. */
  log: string[]
  /** Orders so far, by receiver. */
  sent: { [to: string]: number }
  /** What became of calls and receives, and what steps gave. */
  got: { [what: string]: string }
  fat: string
}

type Ctx = Context<ActorState>

/** Deliveries of one message: more than its own crashes and the kills of an operator take. */
const ATTEMPTS_MAX = 6
/** Longer than anything here lasts: such a call has an outcome. */
const LONG_MS = 3_000_000
/** Ms; waits of the programs are shorter and longer than that. */
const PASSIVATE_AFTER_MS = 800

/** What a call came to, as the caller knows it. */
export type Outcome = 'ok' | 'none' | 'maybe' | 'rejected' | 'dead'

type Ops = {
  run(ctx: Ctx, sent: Sent): Promise<string>
  signal(ctx: Ctx, signal: { id: string }): void
}

export type Actor = AgentDefinition<ActorState, Ops, { all(state: ActorState): ActorState }>

/** @param witness  of the node that runs it */
export function actorOf(witness: Witness): Actor {
  const actor: Actor = agent('actor', {
    state: (): ActorState => ({ done: {}, log: [], sent: {}, got: {}, fat: '' }),
    on: {
      run: (ctx, sent: Sent) => new Work(ctx, sent, witness, () => actor).run(),
      signal: (ctx, { id }: { id: string }) => count(ctx.state.done, id),
    },
    queries: { all: (state) => state },
    passivateAfterMs: PASSIVATE_AFTER_MS,
    maxAttempts: ATTEMPTS_MAX,
  })
  return actor
}

/** One order, in one of its attempts. */
class Work {
  readonly #ctx: Ctx
  readonly #sent: Sent
  readonly #witness: Witness
  readonly #actor: () => Actor
  /** Results that this attempt was handed. */
  readonly #handed: string[] = []

  constructor(ctx: Ctx, sent: Sent, witness: Witness, actor: () => Actor) {
    this.#ctx = ctx
    this.#sent = sent
    this.#witness = witness
    this.#actor = actor
  }

  async run(): Promise<string> {
    const ctx = this.#ctx
    const { order, from, n } = this.#sent
    this.#witness.begun(order.id)
    if (from !== null) ctx.state.log.push(`${from}#${n}`)
    if (order.fat > 0) ctx.state.fat = `${order.id}${'.'.repeat(order.fat)}`
    for (const [i, one] of order.todo.entries()) await this.#carryOut(one, i)
    count(ctx.state.done, order.id)
    return `done ${order.id}`
  }

  async #carryOut(one: Instruction, i: number): Promise<void> {
    const ctx = this.#ctx
    switch (one.kind) {
      case 'step':
        return this.#step(one)
      case 'parallel':
        await Promise.all(one.steps.map((step) => this.#step(step)))
        return
      case 'call':
        return this.#call(one.to, one.order, one.patienceMs)
      case 'send':
        return ctx.send(this.#to(one.to).run(this.#positioned(one.to, one.order)))
      case 'later':
        return void ctx.after(one.ms, 'run', unpositioned(one.order))
      case 'replaced':
        ctx.after(one.ms, 'run', unpositioned(one.first), { name: one.order.id })
        return void ctx.after(one.ms + 1, 'run', unpositioned(one.order), { name: one.order.id })
      case 'cancelled':
        return void ctx.cancel(ctx.after(one.ms, 'run', unpositioned(one.order)))
      case 'start':
        await ctx.start(this.#actor(), key(one.to), 'run', unpositioned(one.order), { idempotencyKey: one.order.id })
        return
      case 'signal':
        return ctx.send(this.#to(one.to).signal({ id: one.id }))
      case 'receive': {
        const got = await ctx.receive<{ id: string }>('signal', { timeoutMs: one.ms })
        if (got !== null) count(ctx.state.done, got.message.id)
        return
      }
      case 'sleep':
        return ctx.sleep(one.ms)
      case 'checkpoint':
        count(ctx.state.done, `${this.#sent.order.id}/${i}`)
        return ctx.checkpoint()
      case 'crash':
        if (this.#witness.visit(`crash ${this.#sent.order.id}/${i}`) <= one.times) throw new Error('a planned crash')
        return
      case 'reject':
        throw new Reject('a planned rejection')
      default:
        return one satisfies never
    }
  }

  async #step({ name, fails, ms }: Step): Promise<void> {
    const before = [...this.#handed]
    const turn = this.#ctx.message.id ?? ''
    const value = await this.#ctx.step(
      name,
      async ({ idempotencyKey }) => {
        const given = this.#witness.ran(name, idempotencyKey, { actor: this.#ctx.id, turn, before })
        if (ms > 0) await this.#witness.pause(ms)
        if (this.#witness.visit(`step ${name}`) <= fails) throw new Error('a planned failure')
        return given
      },
      { retry: { max: 8, initialMs: 40, jitter: 0.5 } },
    )
    this.#handed.push(value)
    this.#ctx.state.got[name] = value
  }

  async #call(to: number, order: Order, patienceMs: number | null): Promise<void> {
    // A call that may be given up has no position: it may be missing.
    const sent = patienceMs === null ? this.#positioned(to, order) : unpositioned(order)
    const outcome = await this.#ctx.call(this.#to(to).run(sent), { timeoutMs: patienceMs ?? LONG_MS }).then(
      () => 'ok' as const,
      (error: unknown) => outcomeOf(error),
    )
    this.#witness.heard(`${this.#ctx.id} of its call`, order, { to: key(to), outcome })
    this.#ctx.state.got[order.id] = outcome
  }

  #to(index: number) {
    return this.#ctx.ref(this.#actor(), key(index))
  }

  #positioned(to: number, order: Order): Sent {
    if (this.#sent.order.fate !== 'done') return unpositioned(order)
    const { sent } = this.#ctx.state
    const n = (sent[key(to)] ?? 0) + 1
    sent[key(to)] = n
    return { order, from: this.#ctx.key, n }
  }
}

export function unpositioned(order: Order): Sent {
  return { order, from: null, n: 0 }
}

export function key(index: number): string {
  return `a${index}`
}

/** What an error says of whether the order was carried out. @throws the error, where it says nothing of it */
export function outcomeOf(error: unknown): Outcome {
  if (!isRuntimeError(error)) throw error
  switch (error.code) {
    case 'CALL_REJECTED':
      return 'rejected'
    case 'DEAD_LETTERED':
      return 'dead'
    case 'CALL_TIMEOUT':
      return error.detail['outcome'] === 'withdrawn' ? 'none' : 'maybe'
    case 'CALL_OUTCOME_UNKNOWN':
    case 'PROCESS_EXITED':
    case 'STORE_UNAVAILABLE':
    case 'FENCED':
    case 'NODE_DRAINING':
    case 'RUNTIME_STOPPED':
      return 'maybe'
    default:
      throw error
  }
}

function count(counts: { [name: string]: number }, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
