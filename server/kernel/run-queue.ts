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

/** Slots kept when nobody is ready: a burst must not hold its memory, nor the processes in it, for ever. */
const SLOTS_KEPT = 1_024

/** Runs up to SLICE_MESSAGES_MAX messages of a process and says how many it handled. */
export type RunSlice = (process: Process) => number

export class RunQueue {
  readonly #clock: Clock
  readonly #slice: RunSlice
  readonly #onReading: (monotonic: number) => void
  // The array is reused: filling it again costs no allocation.
  #ready: (Process | undefined)[] = []
  #head = 0
  #tail = 0
  #scheduled = false
  #period = false
  #messages = 0
  #startedAt = 0
  /** Monotonic ms at the last reading of the clock, and what to add to get epoch ms. */
  #reading = 0
  #epoch = 0
  readonly #drain = (): void => this.#run()
  readonly #newPeriod = (): void => {
    this.#period = false
    this.#onReading(this.#clock.monotonic())
    if (this.#head < this.#tail) this.#run()
  }

  /** `onReading` hears of each reading of the clock: whatever happened since the last one is not younger than it. */
  constructor(clock: Clock, slice: RunSlice, onReading: (monotonic: number) => void) {
    this.#clock = clock
    this.#slice = slice
    this.#onReading = onReading
  }

  get length(): number {
    return this.#tail - this.#head
  }

  /** True between the first slice and the next macrotask: `now` is a recent reading then, and another one will come. */
  get inPeriod(): boolean {
    return this.#period
  }

  /** Epoch ms: as of the last slice inside a period (at most some ms old unless user code blocks), else exact. */
  now(): number {
    return this.#period ? Math.floor(this.#reading + this.#epoch) : this.#clock.now()
  }

  push(process: Process): void {
    if (process.queued) return
    process.queued = true
    this.#ready[this.#tail++] = process
    if (this.#scheduled || (this.#period && this.#exhausted())) return
    this.#wake()
  }

  #wake(): void {
    this.#scheduled = true
    this.#clock.microtask(this.#drain)
  }

  #exhausted(): boolean {
    return this.#messages >= PERIOD_MESSAGES_MAX || this.#reading - this.#startedAt >= PERIOD_MS_MAX
  }

  #run(): void {
    this.#scheduled = true // whatever is pushed meanwhile is run by this loop
    const clock = this.#clock
    this.#reading = clock.monotonic()
    if (!this.#period) {
      this.#period = true
      this.#messages = 0
      this.#startedAt = this.#reading
      this.#epoch = clock.now() - this.#reading
      clock.macrotask(this.#newPeriod)
    }
    try {
      this.#work(clock)
    } finally {
      this.#compact()
      // After an error nobody foresaw the queue must go on: one process's trouble is not that of its neighbours.
      this.#scheduled = false
      if (this.#head < this.#tail && !this.#exhausted()) this.#wake()
    }
  }

  #work(clock: Clock): void {
    this.#onReading(this.#reading)
    while (this.#head < this.#tail && !this.#exhausted()) {
      const process = this.#ready[this.#head] as Process // inside the filled part by the loop's condition
      this.#ready[this.#head++] = undefined // the array lives on; it must not keep the process
      process.queued = false
      this.#messages += this.#slice(process) + 1
      const after = clock.monotonic()
      process.stats.busyMs += after - this.#reading
      this.#reading = after
    }
  }

  #compact(): void {
    if (this.#head === this.#tail) {
      this.#head = this.#tail = 0
      if (this.#ready.length > SLOTS_KEPT) this.#ready = []
    } else if (this.#head * 2 > this.#tail) {
      this.#ready = this.#ready.slice(this.#head, this.#tail)
      this.#tail -= this.#head
      this.#head = 0
    }
  }
}
