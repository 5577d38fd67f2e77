/**
 * Asks for errands and is the world they need: sends what they wait for, stamps what they hand out, reads what they
 * tell. What it was told stands on disk before anything else happens.
 *
 * - Stamps come from two rivals at once; a successor stamps what its predecessor left without one.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Runtime, RuntimeError, type StreamItem } from 'vivarium'
import type { Chance } from './chance.ts'
import { type Ask, type Dish, type ErrandAgents, openCustoms, scribe } from './errand.ts'
import { type Operation, readEffects, readFacts, writeFact } from './fact.ts'

export type ErrandOperation = Extract<Operation, { kind: 'errand' }>

type DeskOptions = {
  runtime: Runtime
  facts: string
  effects: string
  run: string
  chance: Chance
  agents: ErrandAgents
}

/** Ms between a token and its stamps, at most. */
const STAMP_MS = 40
/** Answers of rivals that came too late, and of a runtime on its way down. */
const EXPECTED = new Set(['ALREADY_COMPLETED', 'STEP_NOT_FOUND', 'NODE_DRAINING', 'RUNTIME_STOPPED'])

export class Desk {
  readonly #options: DeskOptions
  #stopped = false

  constructor(options: DeskOptions) {
    this.#options = options
    openCustoms((id, token) => this.#stampBoth(id, token))
  }

  /** Nothing that fails from now on is news. */
  stop(): void {
    this.#stopped = true
  }

  /** Stamps what earlier children left. */
  resume(): void {
    const { facts, effects } = this.#options
    const { done, stamped } = readFacts(facts)
    const over = new Set([...done, ...stamped.map(({ id }) => id)])
    const tokens = readEffects(effects).filter(({ id, step }) => step === 'customs' && !over.has(id))
    for (const [id, token] of new Map(tokens.map(({ id, note = '' }) => [id, note]))) this.#stampBoth(id, token)
  }

  async ask(id: string, { of, key, ms, to, amount }: ErrandOperation): Promise<void> {
    const { runtime, agents, run, facts } = this.#options
    const message: Ask = { id, ms, to, amount }
    const dish: Dish = { id, ask: run }
    const signal = of === 'order' ? { signal: { op: 'dish', message: dish } } : {}
    const handle = await runtime.start(agents[of], key, of as never, message, { idempotencyKey: id, ...signal })
    if (of === 'order') writeFact(facts, { f: 'signalled', id, ask: run })
    if (of === 'tell') await Promise.all([this.#read(id, key), handle.result()])
    else await handle.result()
  }

  async #read(id: string, key: string): Promise<void> {
    const { runtime, facts } = this.#options
    for await (const item of runtime.stream(`${scribe.name}/${key}`, 'text')) {
      writeFact(facts, { f: 'saw', id, offset: item.offset, what: whatOf(item) })
    }
  }

  #stampBoth(id: string, token: string): void {
    const { chance } = this.#options
    for (const by of ['a', 'b']) {
      this.#stamp(id, token, { by, afterMs: chance.below(STAMP_MS) }).catch((error: unknown) => {
        writeFact(this.#options.facts, { f: 'failed', id, why: String(error) })
      })
    }
  }

  async #stamp(id: string, token: string, { by, afterMs }: { by: string; afterMs: number }): Promise<void> {
    await pause(afterMs)
    const value = `${id} ${this.#options.run} ${by}`
    try {
      await this.#options.runtime.completeStep(token, value)
      writeFact(this.#options.facts, { f: 'stamped', id, by: value })
    } catch (error) {
      const code = error instanceof RuntimeError ? error.code : null
      // Stored or not: asking again says which.
      if (code === 'STORE_UNAVAILABLE') return this.#stamp(id, token, { by, afterMs })
      if (!this.#stopped && !(code !== null && EXPECTED.has(code))) throw error
    }
  }
}

/** As it stands in the table. */
function whatOf(item: StreamItem): string {
  return item.kind === 'reset' ? `reset ${item.to}` : `chunk ${String(item.value)}`
}
