/**
 * Who runs next. Ready processes take turns in one microtask; after a limit the rest waits for a macrotask, so that
 * timers and I/O of the thread are never starved, not even by processes that keep each other busy.
 *
 * - K11: a period begins with the first slice after I/O had its turn and ends at the next macrotask; the limits hold
 *   for the whole period, however many microtasks it was split into.
 * - One clock reading per slice of a process gives both its busy time and the period's length.
 */
import type { Clock } from './clock-port.ts'
import type { Process } from './process.ts'

/** Messages one process may handle before the next one runs: keeps neighbours of a flooded process alive. */
export const SLICE_MESSAGES_MAX = 64
/** Messages of a period. About 5 ms at full speed; the bound when the clock is virtual. */
export const PERIOD_MESSAGES_MAX = 10_000
/** Ms of a period: what a timer or socket may have to wait because of messages. */
export const PERIOD_MS_MAX = 5

/** Runs up to SLICE_MESSAGES_MAX messages of a process and says how many it handled. */
export type RunSlice = (process: Process) => number

export class RunQueue {
  readonly #clock: Clock
  readonly #slice: RunSlice
  #ready: Process[] = []
  #head = 0
  #scheduled = false
  #period = false
  #messages = 0
  #startedAt = 0
  readonly #drain = (): void => this.#run()
  readonly #newPeriod = (): void => {
    this.#period = false
    if (this.#head < this.#ready.length) this.#run()
  }

  constructor(clock: Clock, slice: RunSlice) {
    this.#clock = clock
    this.#slice = slice
  }

  get length(): number {
    return this.#ready.length - this.#head
  }

  push(process: Process): void {
    if (process.queued) return
    process.queued = true
    this.#ready.push(process)
    if (this.#scheduled || (this.#period && this.#exhausted())) return
    this.#scheduled = true
    this.#clock.microtask(this.#drain)
  }

  /** Forgets that a drain was under way; for a thread whose execution was terminated inside one. */
  recover(): void {
    this.#scheduled = true
    this.#clock.macrotask(this.#drain)
  }

  #exhausted(): boolean {
    return this.#messages >= PERIOD_MESSAGES_MAX || this.#clock.monotonic() - this.#startedAt >= PERIOD_MS_MAX
  }

  #run(): void {
    this.#scheduled = true // whatever is pushed meanwhile is run by this loop
    const clock = this.#clock
    let now = clock.monotonic()
    if (!this.#period) {
      this.#period = true
      this.#messages = 0
      this.#startedAt = now
      clock.macrotask(this.#newPeriod)
    }
    const ready = this.#ready
    while (this.#head < ready.length) {
      if (this.#messages >= PERIOD_MESSAGES_MAX || now - this.#startedAt >= PERIOD_MS_MAX) break
      // The index is inside the array by the loop's condition.
      const process = ready[this.#head++] as Process
      process.queued = false
      this.#messages += this.#slice(process) + 1
      const after = clock.monotonic()
      process.stats.busyMs += after - now
      now = after
    }
    this.#compact()
    this.#scheduled = false
  }

  #compact(): void {
    if (this.#head === this.#ready.length) {
      this.#ready.length = 0
      this.#head = 0
    } else if (this.#head > SLICE_MESSAGES_MAX && this.#head * 2 > this.#ready.length) {
      this.#ready.splice(0, this.#head)
      this.#head = 0
    }
  }
}
