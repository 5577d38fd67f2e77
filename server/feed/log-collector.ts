/**
 * A bounded ring of the newest items of an append topic. Readers hold the index they read next; what they missed, in
 * the ring or before it, is counted for them exactly.
 *
 * - F10: indexes count all items there ever were, lost ones too: a jump between two kept items is a loss of that size.
 */
import type { Problem } from '../../shared/frame.ts'
import { Collector } from './collector.ts'

/** Items kept. At ten frames a second a reader that keeps up needs far fewer. */
export const RING_MAX = 1_000
/** Items of one frame. */
const PAGE_ITEMS_MAX = 200
/** Characters of one frame: three seconds of the pace of a subscription. */
const PAGE_LENGTH_MAX = 64 * 1024

type Entry = { index: number; value: unknown; length: number }
export type LogPage = { lost: number; items: unknown[]; next: number }

export abstract class LogCollector extends Collector {
  loaded = false
  problem: Problem | null = null
  readonly #ring: Entry[] = []
  #next = 0

  /** Index of the next item to come. */
  get next(): number {
    return this.#next
  }

  /** Index from which the last `count` kept items are read. */
  tail(count: number): number {
    return this.#ring.at(-Math.min(count, this.#ring.length))?.index ?? this.#next
  }

  /** What a reader at `cursor` reads next: how many it missed, then the items that follow one another. */
  page(cursor: number): LogPage {
    let at = this.#ring.length
    while (at > 0 && (this.#ring[at - 1]?.index ?? 0) >= cursor) at--
    const start = this.#ring[at]
    if (start === undefined) return { lost: this.#next - cursor, items: [], next: this.#next }
    const items: unknown[] = []
    let next = start.index
    let length = 0
    for (let entry: Entry | undefined = start; entry?.index === next; entry = this.#ring[++at]) {
      length += measured(entry)
      if (items.length >= PAGE_ITEMS_MAX || (items.length > 0 && length > PAGE_LENGTH_MAX)) break
      items.push(entry.value)
      next++
    }
    return { lost: start.index - cursor, items, next }
  }

  protected push(value: unknown): void {
    this.#ring.push({ index: this.#next++, value, length: 0 })
    if (this.#ring.length > RING_MAX) this.#ring.shift()
  }

  /** `n` items existed that nobody can have any more. */
  protected lose(n: number): void {
    this.#next += n
  }
}

/** Measured when it is first read: under a flood most items are never read. */
function measured(entry: Entry): number {
  if (entry.length > 0) return entry.length
  try {
    entry.length = JSON.stringify(entry.value).length
  } catch (error) {
    // Data of a log line may be anything; the line is kept and says what is missing.
    const why = error instanceof Error ? error.message : String(error)
    entry.value = { ...Object(entry.value), data: `[not shown: ${why}]` }
    entry.length = JSON.stringify(entry.value).length
  }
  return entry.length
}
