/**
 * What the heartbeats of a step report: kept in the journal for the next attempt, shown in the wait of the process.
 *
 * - The first report is stored at once, later ones at most every PROGRESS_STORE_MS: a crash costs the reports of a
 *   few seconds, and so does the end of a step, which nobody continues. A failed attempt that is followed by another
 *   one loses nothing.
 */
import { encodeCopied, type Value } from '../../shared/value.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'

/** Ms between two stored reports of one step. Each is a journal row; a loop may report each of a million items. */
export const PROGRESS_STORE_MS = 5_000
/** Characters of a report on a line of the observer. */
const SHOWN_CHARACTERS_MAX = 200

export class Progress {
  readonly #clock: Clock
  readonly #store: (value: Value) => void
  #storedAt: number | null = null
  #timer: Timer | null = null
  #latest: Value | undefined

  constructor(clock: Clock, store: (value: Value) => void) {
    this.#clock = clock
    this.#store = store
  }

  report(value: Value): void {
    this.#latest = value
    if (this.#timer !== null) return
    const left = this.#storedAt === null ? 0 : this.#storedAt + PROGRESS_STORE_MS - this.#clock.monotonic()
    if (left <= 0) return this.#write()
    this.#timer = this.#clock.after(left, () => {
      this.#timer = null
      this.#write()
    })
  }

  /** The step ended or its retry entry holds the report: nothing is left to store. */
  close(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #write(): void {
    this.#storedAt = this.#clock.monotonic()
    if (this.#latest !== undefined) this.#store(this.#latest)
  }
}

export function shownProgress(value: Value): string {
  const text = typeof value === 'string' ? value : encodeCopied(value)
  return text.length <= SHOWN_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_CHARACTERS_MAX - 3)}...`.toWellFormed()
}
