/**
 * The order of results while several requests of a turn are open: one per macrotask, as a replay hands them over. Every
 * kind of request passes here, or the order of one kind against another would be left to chance.
 *
 * - T5: two steps that end in the same tick would otherwise interleave in user code by the lengths of their promise
 *   chains, and a replay, which leaves a macrotask between them, would bind them the other way round.
 * - A result that comes alone goes through at once.
 * - What is journaled some time before it is handed over (a checkpoint, a transaction) holds the others back meanwhile.
 */
import type { Clock } from '../kernel/clock-port.ts'

export class Delivery {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  #busy = false
  #held = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Null to go on at once; else resolves when it is this result's turn. */
  pass(): Promise<void> | null {
    if (this.#busy || this.#held > 0) return new Promise((resolve) => void this.#waiting.push(resolve))
    this.#occupy()
    return null
  }

  /** Keeps other results back until the returned function is called: when this one is handed over, or never will be. */
  hold(): () => void {
    this.#held += 1
    return () => {
      this.#held -= 1
      if (!this.#busy) this.#occupy()
    }
  }

  #occupy(): void {
    this.#busy = true
    this.#clock.macrotask(() => {
      this.#busy = false
      if (this.#held > 0) return
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#occupy()
      next()
    })
  }
}
