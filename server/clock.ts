/**
 * The real clock: one of the two places (with random.ts) where the outside world's nondeterminism enters.
 */
import type { Clock, Timer } from './kernel/clock-port.ts'

export type { Clock, Timer } from './kernel/clock-port.ts'

/** The longest delay of setTimeout, 24 days; it takes a longer one for 1 ms. */
const DELAY_MS_MAX = 2_147_483_647

class RealTimer implements Timer {
  readonly #handle: NodeJS.Timeout
  constructor(handle: NodeJS.Timeout) {
    this.#handle = handle
  }
  cancel(): void {
    clearTimeout(this.#handle)
  }
  keepAlive(on: boolean): void {
    if (on) this.#handle.ref()
    else this.#handle.unref()
  }
}

export function realClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after: (ms, fn) => new RealTimer(setTimeout(fn, Math.min(ms, DELAY_MS_MAX))),
    microtask: (fn) => queueMicrotask(fn),
    macrotask: (fn) => void setImmediate(fn),
  }
}
