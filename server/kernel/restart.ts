/**
 * Restart accounting of a supervisor, and the delay before a restart.
 *
 * - S10: `intensity` restarts within `periodMs` are allowed, the next one makes the supervisor give up. The window is
 *   inclusive and counts in milliseconds (OTP: whole seconds).
 * - S11: one count per restart attempt, failed attempts included, whatever the number of siblings restarted with it.
 * - S12: the first restart comes at once, then 50 * 2^n ms, capped so that intensity + 1 attempts always fit into one
 *   period: a permanent failure always reaches the limit. A child that lived for a whole period starts afresh.
 */
import type { Child } from './child.ts'
import type { ExitReason } from './exit.ts'
import type { KernelPorts } from './port.ts'
import type { Process } from './process.ts'
import { restarts } from './supervisor-spec.ts'

export const RESTART_DELAY_MS = 50

export class RestartWindow {
  readonly intensity: number
  readonly periodMs: number
  #restarts: number[] = []

  constructor(intensity: number, periodMs: number) {
    this.intensity = intensity
    this.periodMs = periodMs
  }

  /** Counts one restart at `now` (monotonic ms). False: one too many. */
  add(now: number): boolean {
    this.#forget(now)
    this.#restarts.push(now)
    return this.#restarts.length <= this.intensity
  }

  /** Restarts of an earlier life, ascending, beside those of this one: they count as long as they are recent (S54). */
  restore(restarts: readonly number[]): void {
    this.#restarts = [...restarts, ...this.#restarts].sort((a, b) => a - b)
  }

  recent(now: number): number {
    this.#forget(now)
    return this.#restarts.length
  }

  #forget(now: number): void {
    const from = now - this.periodMs
    let old = 0
    while (old < this.#restarts.length && (this.#restarts[old] ?? 0) < from) old += 1
    if (old > 0) this.#restarts.splice(0, old)
  }

  /** Ms to wait before restart number `attempt` (0 is the first) of one child. */
  delayMs(attempt: number): number {
    if (attempt === 0) return 0
    const cap = this.periodMs / (2 * (this.intensity + 1))
    return Math.min(RESTART_DELAY_MS * 2 ** Math.min(attempt - 1, 30), cap)
  }
}

/** What becomes of a child that ends by itself; null where that is not decided here: it is being stopped. */
export function fateOf(child: Child | undefined, reason: ExitReason): 'restart' | 'end' | null {
  if (child?.state !== 'running') return null
  if (child.terminated) return 'end'
  return restarts(child.spec, reason) ? 'restart' : 'end'
}

/** A dead child that will be started again shows it, and since when and until when it waits for that. */
export function announceRestart(
  { clock, emit, watching }: KernelPorts,
  process: Process,
  { delayMs, attempt }: { delayMs: number; attempt: number },
): void {
  const at = clock.now()
  process.status = 'restarting'
  process.wait = { kind: 'restart', target: null, since: at, deadline: at + delayMs, attempt }
  const { id, incarnation } = process
  if (watching('process:restart')) emit({ kind: 'process:restart', at, id, incarnation, delayMs })
}
