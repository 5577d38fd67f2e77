/**
 * What watching costs: viewers, bytes, losses and processor time of the feed itself. Shown to whoever watches.
 *
 * - Every number is measured. Processor time is that of the feed's own synchronous work, which is all it does, as the
 *   system accounts it to this thread: time the thread waited for a busy machine is not ours.
 */
import type { Clock } from '../clock.ts'

export type FeedCost = { viewers: number; bytesPerSecond: number; dropped: number; cpuPercent: number }

/** Milliseconds over which rates are taken: shorter ones jump between two ticks of a collector. */
const WINDOW_MS = 5_000

type Mark = { at: number; bytes: number; busyMs: number }

export class CostMeter {
  viewers = 0
  /** Items that a viewer was told it did not get, since the start. */
  dropped = 0
  readonly #clock: Clock
  readonly #cpuMs: () => number
  #now: Mark
  #marks: Mark[]
  #depth = 0

  constructor(clock: Clock, cpuMs: () => number = threadCpuMs) {
    this.#clock = clock
    this.#cpuMs = cpuMs
    this.#now = { at: clock.monotonic(), bytes: 0, busyMs: 0 }
    this.#marks = [{ ...this.#now }]
  }

  sent(bytes: number): void {
    this.#now.bytes += bytes
  }

  /** Runs `work` and counts its time once, however deep measured work nests. */
  measure<T>(work: () => T): T {
    if (this.#depth > 0) return work()
    this.#depth++
    const began = this.#cpuMs()
    try {
      return work()
    } finally {
      this.#depth--
      this.#now.busyMs += this.#cpuMs() - began
    }
  }

  /** Processor time of this thread so far; only differences mean something. */
  cpuMs(): number {
    return this.#cpuMs()
  }

  read(): FeedCost {
    const at = this.#clock.monotonic()
    this.#marks.push({ ...this.#now, at })
    while (this.#marks.length > 2 && (this.#marks[1]?.at ?? at) <= at - WINDOW_MS) this.#marks.shift()
    const first = this.#marks[0] ?? { ...this.#now, at }
    const spanMs = Math.max(1, at - first.at)
    return {
      viewers: this.viewers,
      bytesPerSecond: Math.round(((this.#now.bytes - first.bytes) / spanMs) * 1_000),
      dropped: this.dropped,
      cpuPercent: Math.round(((this.#now.busyMs - first.busyMs) / spanMs) * 10_000) / 100,
    }
  }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}
