/**
 * What the sagas of a simulation do: turns with compensations, external steps and children, which are cancelled, crash,
 * are rejected, or come to their end. Plain data, made from dice.
 *
 * - A child is of a saga behind its parent, so that no turns wait for each other in a circle.
 * - What waits for ever ends by a cancellation only: it is in a root that a client cancels, or in a child that stops
 *   with its parent. Such a parent waits for no child: it might be one queued behind what waits for ever.
 */
import type { ParentClose } from '../../server/definition/context.ts'
import type { Dice } from './dice.ts'
import type { Step } from './order.ts'

export const SAGAS = 4

export type External = { readonly kind: 'external'; readonly name: string; readonly rivals: number }

export type Doing =
  /** An effect and what takes it back, which fails `undoFails` times. */
  | ({ readonly kind: 'work'; readonly undoFails: number } & Step)
  | { readonly kind: 'sleep'; readonly ms: number }
  | { readonly kind: 'forever' }
  /** Takes a poke. */
  | { readonly kind: 'receive'; readonly ms: number }
  /** So many outsiders give an outcome, one of them an error. */
  | External
  | { readonly kind: 'child'; readonly saga: Saga; readonly policy: ParentClose; readonly awaited: boolean }
  | { readonly kind: 'shield'; readonly of: readonly Doing[] }
  | { readonly kind: 'both'; readonly of: readonly Doing[] }
  | { readonly kind: 'poke'; readonly to: number; readonly id: string }
  | { readonly kind: 'checkpoint' }
  /** Throws the first `times` times that the handler comes here. */
  | { readonly kind: 'crash'; readonly times: number }

export type Saga = {
  readonly id: string
  /** Its process. */
  readonly to: number
  readonly todo: readonly Doing[]
  readonly fate: 'done' | 'rejected' | 'dead'
  /** What its code makes of a cancellation. */
  readonly caught: 'no' | 'rethrown' | 'kept'
}

/** What a client does with one. */
export type SagaRequest = {
  readonly saga: Saga
  readonly afterMs: number
  /** Ms until it is cancelled, by so many; null for never. */
  readonly cancel: { readonly afterMs: number; readonly clients: number } | null
  /** A poke that goes with the start. */
  readonly signal: string | null
}

const DEPTH_MAX = 2
/** More often than any message is delivered. */
const FOR_EVER = 1_000

/** `waits`: it may wait for its children. */
type SagaPlace = { readonly depth: number; readonly at: number; readonly waits: boolean }

export class SagaProgram {
  readonly #dice: Dice
  #ids = 0

  constructor(dice: Dice) {
    this.#dice = dice
  }

  requests(): SagaRequest[] {
    const dice = this.#dice
    return Array.from({ length: dice.between(2, 6) }, () => {
      const isCancelled = dice.permille(600)
      const saga = this.#saga(0, dice.below(SAGAS), isCancelled)
      return {
        saga,
        afterMs: dice.pick([0, 0, 30, 200]),
        cancel: isCancelled
          ? { afterMs: dice.pick([1, 30, 150, 500, 2_000]), clients: dice.permille(250) ? 2 : 1 }
          : null,
        signal: dice.permille(300) ? this.#id() : null,
      }
    })
  }

  /** @param stoppable  somebody ends it for certain */
  #saga(depth: number, to: number, stoppable: boolean): Saga {
    const dice = this.#dice
    const id = this.#id()
    const waits = dice.permille(500)
    const todo = Array.from({ length: dice.between(1, depth === 0 ? 5 : 3) }, (_, i) =>
      this.#doing({ depth, at: to, waits }, `${id}.${i}`),
    )
    if (stoppable && dice.permille(450)) todo.push({ kind: 'forever' })
    const fate = dice.pick(['done', 'done', 'done', 'done', 'rejected', 'dead'] as const)
    if (fate === 'dead') todo.push({ kind: 'crash', times: FOR_EVER })
    return { id, to, todo, fate, caught: dice.pick(['no', 'no', 'rethrown', 'kept'] as const) }
  }

  #doing(place: SagaPlace, name: string): Doing {
    const dice = this.#dice
    const { depth, at } = place
    switch (dice.below(12)) {
      case 0:
      case 1:
        return this.#wait(name)
      case 2: {
        const of = [0, 1].map((i) => this.#wait(`${name}.${i}`))
        return { kind: 'shield', of }
      }
      case 3:
      case 4: {
        const of = [0, 1, 2].map((i) => this.#wait(`${name}.${i}`))
        return { kind: 'both', of: of.filter(({ kind }, i) => kind !== 'receive' || i === 0) }
      }
      case 5:
      case 6:
        return depth < DEPTH_MAX && at + 1 < SAGAS ? this.#child(place) : this.#work(name)
      case 7:
        return { kind: 'poke', to: dice.below(SAGAS), id: this.#id() }
      case 8:
        return { kind: 'checkpoint' }
      case 9:
        return dice.permille(500) ? { kind: 'crash', times: 1 } : this.#work(name)
      default:
        return this.#work(name)
    }
  }

  #wait(name: string): Doing {
    const dice = this.#dice
    switch (dice.below(5)) {
      case 0:
        return { kind: 'sleep', ms: dice.pick([1, 60, 700, 2_500]) }
      case 1:
        return { kind: 'receive', ms: dice.pick([20, 300, 2_500]) }
      case 2:
        return { kind: 'external', name, rivals: dice.between(1, 3) }
      default:
        return this.#work(name)
    }
  }

  #work(name: string): Doing {
    const dice = this.#dice
    const fails = (): number => (dice.permille(150) ? dice.between(1, 2) : 0)
    return { kind: 'work', name, fails: fails(), ms: dice.pick([0, 0, 3, 30, 250]), undoFails: fails() }
  }

  #child({ depth, at, waits }: SagaPlace): Doing {
    const dice = this.#dice
    const policy = waits
      ? dice.pick(['stop', 'wait', 'wait', 'detach'] as const)
      : dice.pick(['stop', 'stop', 'detach'] as const)
    const awaited = waits && dice.permille(600)
    const to = dice.between(at + 1, SAGAS - 1)
    return { kind: 'child', saga: this.#saga(depth + 1, to, policy === 'stop' && !waits), policy, awaited }
  }

  #id(): string {
    this.#ids += 1
    return `s${this.#ids}`
  }
}

/** All doings, also those inside of others, in the order of the code. */
export function* doingsOf(todo: readonly Doing[]): Iterable<Doing> {
  for (const one of todo) {
    yield one
    if (one.kind === 'shield' || one.kind === 'both') yield* doingsOf(one.of)
  }
}
