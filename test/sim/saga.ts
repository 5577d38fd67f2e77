/**
 * The agent of sagas: it carries plans out and leaves in its state what came of them. What it is handed is checked on
 * the spot by `Witness`, as the code of a user would see it.
 */
import { type AgentDefinition, agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { isRuntimeError } from '../../shared/error.ts'
import type { Doing, External, Saga } from './saga-plan.ts'
import type { Witness } from './witness.ts'

export type SagaState = {
  /** How often each plan, poke and point (`ID/N`, a checkpoint) was carried out. */
  done: { [id: string]: number }
  /** How often a plan heard of its cancellation. */
  heard: { [id: string]: number }
  /** What steps and children gave. */
  got: { [what: string]: string }
}

type Ctx = Context<SagaState>

const ATTEMPTS_MAX = 6
/** Ms; waits of the plans are shorter and longer than that. */
const PASSIVATE_AFTER_MS = 800
const RETRY = { max: 8, initialMs: 40, jitter: 0.5 } as const

type Ops = {
  run(ctx: Ctx, saga: Saga): Promise<string>
  poke(ctx: Ctx, poke: { id: string }): void
  never(ctx: Ctx): void
}

export type SagaAgent = AgentDefinition<SagaState, Ops, { all(state: SagaState): SagaState }>

/** @param witness  of the node that runs it */
export function sagaOf(witness: Witness): SagaAgent {
  const sagas: SagaAgent = agent('saga', {
    state: (): SagaState => ({ done: {}, heard: {}, got: {} }),
    on: {
      run: (ctx, saga: Saga) => new Telling(ctx, saga, witness, () => sagas).run(),
      poke: (ctx, { id }: { id: string }) => count(ctx.state.done, id),
      never: () => {},
    },
    queries: { all: (state) => state },
    passivateAfterMs: PASSIVATE_AFTER_MS,
    maxAttempts: ATTEMPTS_MAX,
  })
  return sagas
}

/** One plan, in one of its attempts. */
class Telling {
  readonly #ctx: Ctx
  readonly #saga: Saga
  readonly #witness: Witness
  readonly #agent: () => SagaAgent

  constructor(ctx: Ctx, saga: Saga, witness: Witness, agent: () => SagaAgent) {
    this.#ctx = ctx
    this.#saga = saga
    this.#witness = witness
    this.#agent = agent
  }

  async run(): Promise<string> {
    const { id, todo, fate, caught } = this.#saga
    const ctx = this.#ctx
    this.#witness.begun(id)
    try {
      for (const [i, one] of todo.entries()) await this.#carryOut(one, `${id}/${i}`)
    } catch (error) {
      if (!this.#isOwnEnd(error) || caught === 'no') throw error
      count(ctx.state.heard, id)
      // All verbs work again.
      await this.#step({ name: `${id}.clean`, fails: 0, ms: 0 })
      await ctx.sleep(1)
      if (caught === 'rethrown') throw error
    }
    if (fate === 'rejected') throw new Reject('a planned rejection')
    count(ctx.state.done, id)
    return `done ${id}`
  }

  /** Children are of other processes. */
  #isOwnEnd(error: unknown): boolean {
    return isRuntimeError(error, 'CANCELLED') && error.message.includes(` of ${this.#ctx.id} was cancelled`)
  }

  async #carryOut(one: Doing, at: string): Promise<void> {
    const ctx = this.#ctx
    switch (one.kind) {
      case 'work':
        return this.#work(one)
      case 'sleep':
        return ctx.sleep(one.ms)
      case 'forever':
        return void (await ctx.receive('never'))
      case 'receive': {
        const got = await ctx.receive<{ id: string }>('poke', { timeoutMs: one.ms })
        if (got !== null) count(ctx.state.done, got.message.id)
        return
      }
      case 'external':
        return this.#external(one)
      case 'child':
        return this.#child(one)
      case 'shield':
        return ctx.shield(async () => {
          for (const [i, inner] of one.of.entries()) await this.#carryOut(inner, `${at}/${i}`)
        })
      case 'both':
        await Promise.all(one.of.map((inner, i) => this.#carryOut(inner, `${at}/${i}`)))
        return
      case 'poke':
        return ctx.send(ctx.ref(this.#agent(), sagaKey(one.to)).poke({ id: one.id }))
      case 'checkpoint':
        count(ctx.state.done, at)
        return ctx.checkpoint()
      case 'crash':
        if (this.#witness.visit(`crash ${at}`) <= one.times) throw new Error('a planned crash')
        return
      default:
        return one satisfies never
    }
  }

  async #work({ undoFails, ...step }: Extract<Doing, { kind: 'work' }>): Promise<void> {
    const turn = this.#turn
    const name = `undo ${step.name}`
    this.#ctx.onRollback(
      name,
      ({ idempotencyKey }) => {
        const given = this.#witness.ran(name, idempotencyKey, { actor: this.#ctx.id, turn, before: [] })
        if (this.#witness.visit(name) <= undoFails) throw new Error('a planned failure')
        return given
      },
      { retry: RETRY },
    )
    await this.#step(step)
  }

  async #step({ name, fails, ms }: { name: string; fails: number; ms: number }): Promise<void> {
    const turn = this.#turn
    const fn = async ({ idempotencyKey }: { idempotencyKey: string }): Promise<string> => {
      const given = this.#witness.ran(name, idempotencyKey, { actor: this.#ctx.id, turn, before: [] })
      if (ms > 0) await this.#witness.pause(ms)
      if (this.#witness.visit(`step ${name}`) <= fails) throw new Error('a planned failure')
      return given
    }
    const value = await this.#ctx.step(name, fn, { retry: RETRY })
    this.#ctx.state.got[name] = value
  }

  async #external({ name, rivals }: External): Promise<void> {
    const ctx = this.#ctx
    const { id } = this.#saga
    const step = ctx.step<string>(name, ({ token }) => this.#witness.handed({ name, saga: id, token, rivals }), {
      external: true,
    })
    ctx.state.got[name] = await step.catch((error: unknown) => {
      if (!isRuntimeError(error, 'STEP_FAILED')) throw error
      return String((error.cause as Error).message) // what the outsider failed it with
    })
  }

  async #child({ saga, policy, awaited }: Extract<Doing, { kind: 'child' }>): Promise<void> {
    const options = { idempotencyKey: saga.id, parentClose: policy }
    const started = await this.#ctx.start(this.#agent(), sagaKey(saga.to), 'run', saga, options)
    if (!awaited) return
    this.#ctx.state.got[saga.id] = await started.result().then(String, (error: unknown) => {
      if (this.#isOwnEnd(error) || !isRuntimeError(error)) throw error
      return error.code
    })
  }

  get #turn(): string {
    return this.#ctx.message.id ?? ''
  }
}

export function sagaKey(index: number): string {
  return `s${index}`
}

function count(counts: { [name: string]: number }, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
