/**
 * Time that moves only when a test says so. Micro- and macrotasks are the real ones, so that promises behave; what is
 * virtual is `now`, `monotonic` and every timer.
 *
 * - `advance` fires timers in order of time, then of arming, and lets everything settle after each.
 * - `settle` returns when no macrotask asked for through this clock is left: the kernel's run queue is empty then.
 */
import type { Clock, Random, Timer } from '../../server/kernel/clock-port.ts'

type Armed = { at: number; order: number; fn: () => void }

export class VirtualClock implements Clock {
  #now: number
  #order = 0
  #macrotasks = 0
  readonly #timers = new Set<Armed>()

  constructor(now = 1_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  /** Timers that are armed now: 0 at the end of a clean test. */
  get armed(): number {
    return this.#timers.size
  }

  after(ms: number, fn: () => void): Timer {
    const armed: Armed = { at: this.#now + ms, order: this.#order++, fn }
    this.#timers.add(armed)
    return { cancel: () => void this.#timers.delete(armed), keepAlive: () => {} }
  }

  microtask(fn: () => void): void {
    queueMicrotask(fn)
  }

  macrotask(fn: () => void): void {
    this.#macrotasks += 1
    setImmediate(() => {
      this.#macrotasks -= 1
      fn()
    })
  }

  /** Time passes while somebody computes: no timer can fire meanwhile. */
  jump(ms: number): void {
    this.#now += ms
  }

  async settle(): Promise<void> {
    do await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#macrotasks > 0)
  }

  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.settle()
    for (let next = this.#next(until); next !== null; next = this.#next(until)) {
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.fn()
      await this.settle()
    }
    this.#now = until
  }

  #next(until: number): Armed | null {
    let first: Armed | null = null
    for (const item of this.#timers) {
      if (item.at > until) continue
      if (first === null || item.at < first.at || (item.at === first.at && item.order < first.order)) first = item
    }
    return first
  }
}

/** xorshift32: the same seed gives the same run. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  return {
    next,
    id: () =>
      Math.floor(next() * 2 ** 32)
        .toString(16)
        .padStart(8, '0'),
  }
}
