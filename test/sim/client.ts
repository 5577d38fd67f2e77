/**
 * The world outside: it asks nodes for things, and remembers what it was told. Whatever it is told is compared with the
 * store at that moment: who hears a reply finds it stored, who hears that something is accepted finds it there.
 */
import type { Call } from '../../server/definition/call.ts'
import { StoreFailure } from '../../server/store/store.ts'
import { key as keyOf, type Outcome, outcomeOf, unpositioned } from './actor.ts'
import type { Dice } from './dice.ts'
import type { Machine, Site } from './machine.ts'
import type { Request } from './order.ts'
import type { Place } from './schedule.ts'

/** Ms after which a client gives up a call of which it heard nothing, on a node that may be frozen. */
const DEAF_MS = 90_000
/** Ms of patience of a call; some programs take longer. */
const CALL_MS = 4_000
/** Ms before something is tried again. */
const AGAIN_MS = 60

export class Client {
  readonly #site: Site
  readonly #place: Place
  readonly #dice: Dice
  readonly #machines: () => readonly Machine[]

  constructor(site: Site, init: { place: Place; dice: Dice; machines: () => readonly Machine[] }) {
    this.#site = site
    this.#place = init.place
    this.#dice = init.dice
    this.#machines = init.machines
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

  async #machine(): Promise<Machine> {
    for (;;) {
      const open = this.#machines().filter((machine) => machine.alive)
      if (open.length > 0) return this.#dice.pick(open)
      await this.#pause(AGAIN_MS)
    }
  }

  #pause(ms: number): Promise<void> {
    return this.#site.schedule.pause(this.#place, ms)
  }

  /** Null when the machine dies, or is silent for too long. */
  #asked<T>(machine: Machine, what: string, work: () => PromiseLike<T>): Promise<{ value: T } | null> {
    return Promise.race([
      machine.ask(what, work).then((value) => ({ value })),
      machine.died.then(() => null),
      this.#pause(DEAF_MS).then(() => null),
    ])
  }

  async #call({ to, order }: Request): Promise<void> {
    const machine = await this.#machine()
    const target = machine.core.ref(machine.actor, keyOf(to))
    const call = target.run(unpositioned(order))
    const ask = (): PromiseLike<unknown> => machine.core.messenger.call(call, { timeoutMs: CALL_MS })
    const outcome = await this.#asked(machine, `call ${order.id}`, ask).then(
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
    const machine = await this.#machine()
    const target = machine.core.ref(machine.actor, keyOf(to))
    const call: PromiseLike<unknown> =
      kind === 'send' ? target.run(unpositioned(order)) : target.signal({ id: order.id })
    const ask = (): Promise<string> => machine.core.messenger.send(call as Call<unknown>) // made by a reference
    const stored = await this.#asked(machine, `send ${order.id}`, ask).then(
      (answer) => answer !== null,
      () => false,
    )
    if (!stored) return
    const { watch, observed } = this.#site
    observed.accepted.add(order.id)
    if (!watch.isStored(order.id)) this.#wrong(`the send of ${order.id} was accepted, and it was not stored`)
  }

  /** Until somebody says that it is accepted. */
  async #start({ to, order }: Request): Promise<void> {
    const { observed, watch } = this.#site
    for (;;) {
      const machine = await this.#machine()
      const target = machine.core.ref(machine.actor, keyOf(to))
      const call = target.run(unpositioned(order)) as unknown as Call<unknown> // made by a reference
      const ask = () => machine.core.messenger.begin(call, { idempotencyKey: order.id })
      const begun = await this.#asked(machine, `start ${order.id}`, ask).then(
        (answer) => answer !== null,
        () => false,
      )
      if (begun) break
      await this.#pause(AGAIN_MS)
    }
    observed.accepted.add(order.id)
    if (watch.request(`actor/${keyOf(to)}`, order.id) === undefined) {
      this.#wrong(`the start of ${order.id} was accepted, and it is not stored`)
    }
  }

  async #result({ to, order }: Request): Promise<void> {
    for (;;) {
      const machine = await this.#machine()
      const scope = `actor/${keyOf(to)}`
      const ask = async (): Promise<unknown> => (await machine.core.messenger.handle(scope, order.id)).result()
      const answer = await this.#asked(machine, `result of ${order.id}`, ask).then(
        (found) => (found === null ? null : ('ok' as const)),
        (error: unknown) => (error instanceof StoreFailure ? null : outcomeOf(error)),
      )
      const settled = this.#site.watch.request(scope, order.id)?.status !== 'pending'
      if (answer !== null && (answer !== 'maybe' || settled)) return this.#heard(order.id, answer)
      await this.#pause(AGAIN_MS)
    }
  }

  #heard(id: string, outcome: Outcome): void {
    const { observed, watch } = this.#site
    observed.told.set(id, outcome)
    observed.note('client', `${id} is ${outcome}`)
    if (outcome === 'ok' && watch.done(id) === 0) this.#wrong(`${id} was answered before it was stored`)
    if (outcome === 'none' && watch.done(id) > 0) this.#wrong(`${id} was said to be withdrawn, and it was done`)
    if (outcome === 'dead' && watch.deadLetters(id) === 0)
      this.#wrong(`${id} was said to be dead, and it is not stored`)
  }

  #wrong(text: string): void {
    this.#site.observed.violation(`client: ${text}`)
  }
}
