/**
 * Who starts sagas, cancels them, and gives outcomes to their external steps: some clients and outsiders, each until it
 * was told something, on whatever node.
 */
import type { Call } from '../../server/definition/call.ts'
import { StepDoor } from '../../server/host/step-door.ts'
import { StoreFailure } from '../../server/store/store.ts'
import { isRuntimeError, type RuntimeError } from '../../shared/error.ts'
import type { Handed } from './observed.ts'
import type { Outsider } from './outsider.ts'
import { sagaKey } from './saga.ts'
import type { SagaRequest } from './saga-plan.ts'

/** Ms until an outsider gives its outcome; at some of them the turn is parked. */
const OUTCOME_MS = [0, 5, 60, 400, 1_500, 5_000] as const
/** Errors that say nothing of the outcome: asked again. */
const AGAIN: readonly string[] = [
  ...(['STORE_UNAVAILABLE', 'NODE_DRAINING', 'RUNTIME_STOPPED', 'FENCED', 'CALL_OUTCOME_UNKNOWN'] as const),
]

export class SagaClient {
  readonly #outsider: Outsider

  constructor(outsider: Outsider) {
    this.#outsider = outsider
    outsider.site.observed.onHanded = (handed) => this.#handed(handed)
  }

  /** Resolves when there is no more to hear of it. */
  async ask({ saga, cancel, signal }: SagaRequest): Promise<void> {
    await this.#start(saga, signal)
    const cancels = Array.from({ length: cancel?.clients ?? 0 }, () => this.#cancel(saga, cancel?.afterMs ?? 0))
    await Promise.all([this.#result(saga), ...cancels])
  }

  async #start(saga: SagaRequest['saga'], signal: string | null): Promise<void> {
    const { watch, observed } = this.#outsider.site
    for (;;) {
      const machine = await this.#outsider.machine()
      const ref = machine.core.ref(machine.saga, sagaKey(saga.to))
      const call = ref.run(saga) as unknown as Call<unknown> // made by a reference
      const options = { idempotencyKey: saga.id, ...(signal === null ? {} : { signal: pokeOf(signal) }) }
      const begin = () => machine.core.messenger.begin(call, options)
      if (signal !== null) observed.signals.tried(signal)
      if ((await this.#told(machine, `start ${saga.id}`, begin)) !== null) break
      await this.#outsider.again()
    }
    if (signal !== null) observed.signals.accepted(signal)
    if (watch.request(scopeOf(saga), saga.id) === undefined) {
      this.#wrong(`the start of ${saga.id} was accepted, and it is not stored`)
    }
  }

  /** Until somebody says that it is asked for, or too late. */
  async #cancel(saga: SagaRequest['saga'], afterMs: number): Promise<void> {
    const { site } = this.#outsider
    await this.#outsider.pause(afterMs)
    site.observed.asked.add(saga.id)
    for (;;) {
      const machine = await this.#outsider.machine()
      const cancel = async () => (await machine.core.messenger.handle(scopeOf(saga), saga.id)).cancel('a planned end')
      const answer = await this.#told(machine, `cancel ${saga.id}`, cancel)
      if (answer !== null && 'value' in answer) {
        site.observed.note('client', `${saga.id} is ${answer.value ? 'to be cancelled' : 'over'}`)
        const isOver = site.watch.request(scopeOf(saga), saga.id)?.status !== 'pending'
        if (!answer.value && !isOver) this.#wrong(`${saga.id} was said to be over, and it is not`)
        return
      }
      await this.#outsider.again()
    }
  }

  async #result(saga: SagaRequest['saga']): Promise<void> {
    const { watch, observed } = this.#outsider.site
    for (;;) {
      const machine = await this.#outsider.machine()
      const ask = async () => (await machine.core.messenger.handle(scopeOf(saga), saga.id)).result()
      const answer = await this.#told(machine, `result of ${saga.id}`, ask)
      if (answer !== null) {
        const told = 'value' in answer ? 'ok' : answer.error.code
        const stored = watch.outcome(scopeOf(saga), saga.id)
        observed.note('client', `${saga.id} is ${told}`)
        if (told !== stored) this.#wrong(`${saga.id} was said to be ${told}, and ${stored} is stored`)
        return
      }
      await this.#outsider.again()
    }
  }

  #handed(handed: Handed): void {
    for (let rival = 1; rival <= handed.rivals; rival++) void this.#outcome(handed, rival)
  }

  /** The second of several fails it. */
  async #outcome({ token, name, saga }: Handed, rival: number): Promise<void> {
    const { site, dice } = this.#outsider
    const value = `${name} by ${rival}`
    await this.#outsider.pause(dice.pick(OUTCOME_MS))
    for (;;) {
      const machine = await this.#outsider.machine()
      const outcome = rival === 2 ? { error: new Error(value) } : { value }
      const settle = () => new StepDoor(machine.core).settle(token, outcome)
      const answer = await this.#told(machine, `outcome of ${name}`, settle)
      if (answer !== null) {
        const told = 'value' in answer ? 'taken' : answer.error.code
        site.observed.note('outsider', `${value} is ${told}`)
        site.observed.outcomes.push({ token, name, saga, value, told })
        return
      }
      await this.#outsider.again()
    }
  }

  /** Null when nothing was told. */
  async #told<T>(
    machine: Parameters<Outsider['asked']>[0],
    what: string,
    work: () => Promise<T>,
  ): Promise<{ value: T } | { error: RuntimeError } | null> {
    return this.#outsider.asked(machine, what, work).catch((error: unknown) => {
      if (error instanceof StoreFailure) return null
      if (!isRuntimeError(error)) throw error
      return AGAIN.includes(error.code) ? null : { error }
    })
  }

  #wrong(text: string): void {
    this.#outsider.site.observed.violation(`client: ${text}`)
  }
}

function pokeOf(id: string): { op: string; message: { id: string } } {
  return { op: 'poke', message: { id } }
}

export function scopeOf({ to }: SagaRequest['saga']): string {
  return `saga/${sagaKey(to)}`
}
