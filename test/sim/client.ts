/**
 * The world outside: it asks nodes for things, and remembers what it was told. Whatever it is told is compared with the
 * store at that moment: who hears a reply finds it stored, who hears that something is accepted finds it there.
 */
import type { Call } from '../../server/definition/call.ts'
import { StoreFailure } from '../../server/store/store.ts'
import { key as keyOf, type Outcome, outcomeOf, unpositioned } from './actor.ts'
import type { Request } from './order.ts'
import type { Outsider } from './outsider.ts'

/** Ms of patience of a call; some programs take longer. */
const CALL_MS = 4_000

export class Client {
  readonly #outsider: Outsider

  constructor(outsider: Outsider) {
    this.#outsider = outsider
  }

  /** Resolves when there is no more to hear of it. */
  async ask(request: Request): Promise<void> {
    switch (request.kind) {
      case 'call':
        return this.#call(request)
      case 'send':
      case 'signal':
        return this.#send(request)
      case 'start':
        await this.#start(request)
        return this.#result(request)
      default:
        return request.kind satisfies never
    }
  }

  async #call({ to, order }: Request): Promise<void> {
    const machine = await this.#outsider.machine()
    const target = machine.core.ref(machine.actor, keyOf(to))
    const call = target.run(unpositioned(order))
    const ask = (): PromiseLike<unknown> => machine.core.messenger.call(call, { timeoutMs: CALL_MS })
    const outcome = await this.#outsider.asked(machine, `call ${order.id}`, ask).then(
      (answer): Outcome => {
        if (answer === null) return 'maybe'
        if (answer.value !== `done ${order.id}`) this.#wrong(`${order.id} was answered with ${String(answer.value)}`)
        return 'ok'
      },
      (error: unknown) => outcomeOf(error),
    )
    this.#heard(order.id, outcome)
  }

  async #send({ kind, to, order }: Request): Promise<void> {
    const machine = await this.#outsider.machine()
    const target = machine.core.ref(machine.actor, keyOf(to))
    const call: PromiseLike<unknown> =
      kind === 'send' ? target.run(unpositioned(order)) : target.signal({ id: order.id })
    const ask = (): Promise<string> => machine.core.messenger.send(call as Call<unknown>) // made by a reference
    const stored = await this.#outsider.asked(machine, `send ${order.id}`, ask).then(
      (answer) => answer !== null,
      () => false,
    )
    if (!stored) return
    const { watch, observed } = this.#outsider.site
    observed.accepted.add(order.id)
    if (!watch.isStored(order.id)) this.#wrong(`the send of ${order.id} was accepted, and it was not stored`)
  }

  /** Until somebody says that it is accepted. */
  async #start({ to, order }: Request): Promise<void> {
    const { observed, watch } = this.#outsider.site
    for (;;) {
      const machine = await this.#outsider.machine()
      const target = machine.core.ref(machine.actor, keyOf(to))
      const call = target.run(unpositioned(order)) as unknown as Call<unknown> // made by a reference
      const ask = () => machine.core.messenger.begin(call, { idempotencyKey: order.id })
      const begun = await this.#outsider.asked(machine, `start ${order.id}`, ask).then(
        (answer) => answer !== null,
        () => false,
      )
      if (begun) break
      await this.#outsider.again()
    }
    observed.accepted.add(order.id)
    if (watch.request(`actor/${keyOf(to)}`, order.id) === undefined) {
      this.#wrong(`the start of ${order.id} was accepted, and it is not stored`)
    }
  }

  async #result({ to, order }: Request): Promise<void> {
    for (;;) {
      const machine = await this.#outsider.machine()
      const scope = `actor/${keyOf(to)}`
      const ask = async (): Promise<unknown> => (await machine.core.messenger.handle(scope, order.id)).result()
      const answer = await this.#outsider.asked(machine, `result of ${order.id}`, ask).then(
        (found) => (found === null ? null : ('ok' as const)),
        (error: unknown) => (error instanceof StoreFailure ? null : outcomeOf(error)),
      )
      const settled = this.#outsider.site.watch.request(scope, order.id)?.status !== 'pending'
      if (answer !== null && (answer !== 'maybe' || settled)) return this.#heard(order.id, answer)
      await this.#outsider.again()
    }
  }

  #heard(id: string, outcome: Outcome): void {
    const { observed, watch } = this.#outsider.site
    observed.told.set(id, outcome)
    observed.note('client', `${id} is ${outcome}`)
    if (outcome === 'ok' && watch.done(id) === 0) this.#wrong(`${id} was answered before it was stored`)
    if (outcome === 'none' && watch.done(id) > 0) this.#wrong(`${id} was said to be withdrawn, and it was done`)
    if (outcome === 'dead' && watch.deadLetters(id) === 0)
      this.#wrong(`${id} was said to be dead, and it is not stored`)
  }

  #wrong(text: string): void {
    this.#outsider.site.observed.violation(`client: ${text}`)
  }
}
