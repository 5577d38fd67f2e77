/**
 * What the actors of a simulation are told to do: small programs that are plain data, made from dice. An order has an
 * id of its own and leaves it in the state of whoever carried it out, so that a second time, or none, is seen.
 *
 * - Actors call only actors behind them, so that no calls wait for each other in a circle.
 * - An order that ends without its commit (rejected, poison) takes no positions: what it asked of others may stay.
 */
import type { Dice } from './dice.ts'

export const ACTORS = 5

export type Step = { readonly name: string; readonly fails: number; readonly ms: number }

export type Instruction =
  /** Fails `fails` times; takes `ms`. */
  | ({ readonly kind: 'step' } & Step)
  | { readonly kind: 'parallel'; readonly steps: readonly Step[] }
  /** `patienceMs`: shorter than some waits here; null is longer than any. */
  | { readonly kind: 'call'; readonly to: number; readonly order: Order; readonly patienceMs: number | null }
  | { readonly kind: 'send'; readonly to: number; readonly order: Order }
  | { readonly kind: 'later'; readonly ms: number; readonly order: Order }
  /** Two timers of one name: the second replaces the first. */
  | { readonly kind: 'replaced'; readonly ms: number; readonly first: Order; readonly order: Order }
  /** Armed and disarmed in one turn, or with a stored step between. */
  | { readonly kind: 'cancelled'; readonly ms: number; readonly order: Order }
  | { readonly kind: 'start'; readonly to: number; readonly order: Order }
  | { readonly kind: 'signal'; readonly to: number; readonly id: string }
  | { readonly kind: 'receive'; readonly ms: number }
  | { readonly kind: 'sleep'; readonly ms: number }
  | { readonly kind: 'checkpoint' }
  /** Throws the first `times` times that the handler comes here. */
  | { readonly kind: 'crash'; readonly times: number }
  | { readonly kind: 'reject' }

/** How an order ends when nothing disturbs it. */
export type Fate = 'done' | 'rejected' | 'dead'

export type Order = {
  readonly id: string
  readonly todo: readonly Instruction[]
  /** Characters that it leaves in the state. */
  readonly fat: number
  readonly fate: Fate
}

/** A position per sender and receiver, counted in the state of the sender. */
export type Sent = { readonly order: Order; readonly from: string | null; readonly n: number }

/** What a client asks of an actor. */
export type Request = {
  readonly kind: 'call' | 'send' | 'start' | 'signal'
  readonly to: number
  readonly order: Order
  /** Ms before it is asked. */
  readonly afterMs: number
}

/** Below the deliveries that an actor allows, together with the kills of an operator. */
const CRASHES_MAX = 2
const DEPTH_MAX = 3
/** More often than any message is delivered. */
const FOR_EVER = 1_000
const PATIENCE_MS = [300, 1_000, 4_000] as const

export class Program {
  readonly #dice: Dice
  #ids = 0
  /** Orders that several others start under one key. */
  readonly #shared: { to: number; order: Order }[] = []

  constructor(dice: Dice) {
    this.#dice = dice
  }

  requests(): Request[] {
    const dice = this.#dice
    for (let i = 0; i < 2; i++) this.#shared.push({ to: ACTORS - 1, order: this.#plain(DEPTH_MAX, ACTORS - 1) })
    const count = dice.between(8, 22)
    return Array.from({ length: count }, () => {
      const to = dice.below(ACTORS)
      const kind = dice.pick(['call', 'call', 'send', 'start', 'start', 'signal'] as const)
      const order = kind === 'signal' ? this.#empty() : this.#order(0, to)
      return { kind, to, order, afterMs: dice.pick([0, 0, 5, 40, 150]) }
    })
  }

  #order(depth: number, at: number): Order {
    const dice = this.#dice
    if (!dice.permille(80)) return this.#plain(depth, at)
    const order = this.#plain(depth, at)
    const fate = dice.pick(['rejected', 'rejected', 'dead'] as const)
    const last: Instruction = fate === 'dead' ? { kind: 'crash', times: FOR_EVER } : { kind: 'reject' }
    return { ...order, fate, todo: [...order.todo, last] }
  }

  #plain(depth: number, at: number): Order {
    const dice = this.#dice
    const id = this.#id()
    const todo: Instruction[] = []
    const length = depth === 0 ? dice.between(1, 5) : dice.below(3)
    let crashes = 0
    for (let i = 0; i < length; i++) {
      const one = this.#instruction(depth, at, `${id}.${i}`)
      if (one === null || (one.kind === 'crash' && ++crashes > 1)) continue
      todo.push(one)
    }
    return { id, todo, fat: dice.permille(150) ? 3_000 : 0, fate: 'done' }
  }

  #instruction(depth: number, at: number, name: string): Instruction | null {
    const dice = this.#dice
    const behind = at + 1 < ACTORS && depth < DEPTH_MAX ? dice.between(at + 1, ACTORS - 1) : null
    const below = (to: number): Order => this.#order(depth + 1, to)
    const deep = depth < DEPTH_MAX
    switch (dice.below(14)) {
      case 0:
      case 1:
        return { kind: 'step', ...this.#step(name) }
      case 2:
        return { kind: 'parallel', steps: [0, 1, 2].map((i) => this.#step(`${name}.${i}`)) }
      case 3:
      case 4: {
        const patienceMs = dice.permille(300) ? dice.pick(PATIENCE_MS) : null
        return behind === null ? null : { kind: 'call', to: behind, order: below(behind), patienceMs }
      }
      case 5:
      case 6: {
        const to = dice.below(ACTORS)
        return deep ? { kind: 'send', to, order: below(to) } : null
      }
      case 7:
        return deep ? this.#timer(dice.pick([1, 50, 400, 1_500]), () => this.#plain(DEPTH_MAX, at)) : null
      case 8:
        return behind === null ? null : { kind: 'start', ...this.#started(depth, behind) }
      case 9:
        return { kind: 'signal', to: dice.below(ACTORS), id: this.#id() }
      case 10:
        return { kind: 'receive', ms: dice.pick([20, 300, 2_500]) }
      case 11:
        return { kind: 'sleep', ms: dice.pick([1, 60, 700, 2_500]) }
      case 12:
        return { kind: 'checkpoint' }
      default:
        return { kind: 'crash', times: dice.between(1, CRASHES_MAX) }
    }
  }

  #timer(ms: number, order: () => Order): Instruction {
    const kind = this.#dice.pick(['later', 'later', 'replaced', 'cancelled'] as const)
    if (kind === 'replaced') return { kind, ms, first: order(), order: order() }
    return { kind, ms, order: order() }
  }

  #started(depth: number, behind: number): { to: number; order: Order } {
    const shared = this.#dice.permille(500) ? this.#dice.pick(this.#shared) : null
    // Its actor is the last one, which calls nobody.
    return shared ?? { to: behind, order: this.#order(depth + 1, behind) }
  }

  #step(name: string): Step {
    const dice = this.#dice
    return { name, fails: dice.permille(200) ? dice.between(1, 2) : 0, ms: dice.pick([0, 0, 3, 30, 250]) }
  }

  #empty(): Order {
    return { id: this.#id(), todo: [], fat: 0, fate: 'done' }
  }

  #id(): string {
    this.#ids += 1
    return `o${this.#ids}`
  }
}
