/**
 * Asks for sagas, asks for their end while they are on their way, and waits for what becomes of them. What it was told
 * stands on disk before anything else happens.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Handle, type Runtime, RuntimeError } from 'vivarium'
import { type Operation, readEffects, type SagaCancel } from './fact.ts'
import { type Ticket, type Tour, type Trip, tourist, traveller, type Vigil, watchman, watchSteps } from './saga.ts'
import { writeSagaFact } from './saga-fact.ts'

export type SagaOperation = Extract<Operation, { kind: 'saga' }>

type Options = { runtime: Runtime; facts: string; effects: string; run: string }

/** Ends of sagas. Anything else is a finding. */
const ENDS: ReadonlySet<string> = new Set(['CANCELLED', 'CALL_REJECTED', 'DEAD_LETTERED'])

export class SagaDesk {
  readonly #options: Options
  /** Who waits for a line, by id and step. */
  readonly #waiting = new Map<string, () => void>()

  constructor(options: Options) {
    this.#options = options
    watchSteps((id, step) => this.#waiting.get(`${id} ${step}`)?.())
  }

  async ask(id: string, op: SagaOperation): Promise<void> {
    const { of, cancel } = op
    if (of === 'vigil') return this.#keepVigil(id, op)
    const handle = await (of === 'trip' ? this.#startTrip(id, op) : this.#startTour(id, op))
    const heard = this.#hear(id, handle)
    const cancelled = cancel === null ? null : this.#cancel(id, handle, { ...cancel, over: heard })
    await Promise.all([cancelled, heard])
  }

  async #startTrip(id: string, { key, end }: SagaOperation): Promise<Handle> {
    const { runtime, facts, run: ask } = this.#options
    const [trip, ticket]: [Trip, Ticket] = [
      { id, end },
      { id, ask },
    ]
    const options = { idempotencyKey: id, signal: { op: 'ticket', message: ticket } }
    const handle = await runtime.start(traveller, key, 'trip', trip, options)
    writeSagaFact(facts, { f: 'ticket', id, ask })
    return handle
  }

  #startTour(id: string, { key, end, ms }: SagaOperation): Promise<Handle> {
    const tour: Tour = { id, end, ms }
    return this.#options.runtime.start(tourist, key, 'tour', tour, { idempotencyKey: id })
  }

  async #keepVigil(id: string, { end, ms }: SagaOperation): Promise<void> {
    const { runtime } = this.#options
    const watches = (['a', 'b'] as const).map(async (who) => {
      const [key, message]: [string, Vigil] = [`${id}-${who}`, { id, end, ms, who }]
      await this.#hear(key, await runtime.start(watchman, key, 'vigil', message, { idempotencyKey: key }))
    })
    await Promise.all(watches)
  }

  /** One that is over before it comes to the step is asked to end all the same. */
  async #cancel(id: string, handle: Handle, { after, ms, over }: SagaCancel & { over: Promise<void> }): Promise<void> {
    const { facts, effects } = this.#options
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    this.#waiting.set(`${id} ${after}`, resolve)
    const left = (): boolean => readEffects(effects).some((effect) => effect.id === id && effect.step === after)
    // An earlier life may have left the line.
    if (after === null || (!handle.created && left())) resolve()
    await Promise.race([reached, over])
    this.#waiting.delete(`${id} ${after}`)
    await pause(ms)
    writeSagaFact(facts, { f: 'asked', id })
    const taken = await handle.cancel('on purpose')
    writeSagaFact(facts, { f: 'answered', id, taken })
  }

  async #hear(id: string, handle: Handle): Promise<void> {
    const outcome = await handle.result().then(
      () => 'done',
      (error: unknown) => {
        if (error instanceof RuntimeError && ENDS.has(error.code)) return error.code
        throw error
      },
    )
    writeSagaFact(this.#options.facts, { f: 'told', id, outcome })
  }
}
