/**
 * The order of results while several requests of a turn are open: one per macrotask, as a replay hands them over.
 *
 * - T5: two steps that end in the same tick would otherwise interleave in user code by the lengths of their promise
 *   chains, and a replay, which leaves a macrotask between them, would bind them the other way round.
 * - A result that comes alone goes through at once.
 */
import type { Clock } from '../kernel/clock-port.ts'

export class Delivery {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  #busy = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Null to go on at once; else resolves when it is this result's turn. */
  pass(): Promise<void> | null {
    if (this.#busy) return new Promise((resolve) => void this.#waiting.push(resolve))
    this.#hold()
    return null
  }

  #hold(): void {
    this.#busy = true
    this.#clock.macrotask(() => {
      this.#busy = false
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#hold()
      next()
    })
  }
}
