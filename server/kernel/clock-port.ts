/**
 * Time as the kernel sees it; the runtime hands in the real clock, tests a virtual one.
 *
 * - `now` is epoch ms for people, `monotonic` is for arithmetic: only differences of it mean something.
 * - `microtask` runs before any I/O, `macrotask` after pending I/O had its turn.
 */
export type Timer = {
  /** After this the function is never called. Harmless when it was called already. */
  cancel(): void
  /** Whether this timer alone keeps the OS process from ending. True from birth. */
  keepAlive(on: boolean): void
}

export type Clock = {
  now(): number
  monotonic(): number
  after(ms: number, fn: () => void): Timer
  microtask(fn: () => void): void
  macrotask(fn: () => void): void
}

export function pause(clock: Pick<Clock, 'after'>, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

export type Random = {
  /** Uniform in [0, 1). */
  next(): number
  /** Random text of fixed length, for uniqueness across nodes. */
  id(): string
}
