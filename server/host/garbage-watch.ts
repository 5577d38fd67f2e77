/**
 * What garbage collection takes of this thread, while somebody looks.
 *
 * - It listens from the first look on and stops LOOK_MS after the last one: collections are frequent under load, and
 *   each that is listened to costs a callback.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import type { Clock } from '../kernel/clock-port.ts'

/** Ms after which nobody looks any more; the observer looks every second. */
const LOOK_MS = 10_000

export class GarbageWatch {
  readonly #clock: Clock
  readonly #observer: PerformanceObserver
  #lookedAt = 0
  #listens = false
  #totalMs = 0
  #maxMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) {
        this.#totalMs += duration
        this.#maxMs = Math.max(this.#maxMs, duration)
      }
      if (clock.monotonic() - this.#lookedAt > LOOK_MS) this.close()
    })
  }

  /** Since the last time; zero where nobody listened. */
  take(): { totalMs: number; maxMs: number } {
    const taken = { totalMs: this.#totalMs, maxMs: this.#maxMs }
    this.#totalMs = 0
    this.#maxMs = 0
    this.#lookedAt = this.#clock.monotonic()
    if (!this.#listens) this.#observer.observe({ entryTypes: ['gc'] })
    this.#listens = true
    return taken
  }

  close(): void {
    this.#observer.disconnect()
    this.#listens = false
    this.#totalMs = 0
    this.#maxMs = 0
  }
}
