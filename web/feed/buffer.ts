/**
 * Items of one append topic, newest last, bounded. What is missing is an entry of its own, never silence.
 *
 * - At most ITEMS_MAX entries are kept; what the limit pushed out is counted in `dropped`.
 * - An item seen twice (a resumed subscription may repeat some) replaces its earlier self by key.
 */

/** Entries. About 40 screens; older ones are read page by page over HTTP. */
export const ITEMS_MAX = 2_000

export type LogEntry = { kind: 'item'; key: string; value: unknown } | { kind: 'gap'; key: string; n: number }

export type LogSnapshot = { entries: readonly LogEntry[]; dropped: number; loaded: boolean; at: number }

type Listener = () => void

export class AppendBuffer {
  #snapshot: LogSnapshot = { entries: [], dropped: 0, loaded: false, at: 0 }
  #pending: LogEntry[] = []
  #at = 0
  #scheduled = false
  #serial = 0
  readonly #listeners = new Set<Listener>()

  get snapshot(): LogSnapshot {
    return this.#snapshot
  }

  append(items: readonly unknown[], at: number): void {
    for (const value of items) this.#pending.push({ kind: 'item', key: this.#keyOf(value), value })
    this.#at = at
    this.#schedule()
  }

  gap(n: number): void {
    this.#pending.push({ kind: 'gap', key: `gap-${this.#serial++}`, n })
    this.#schedule()
  }

  /** A subscription that could not be resumed starts anew. */
  clear(): void {
    this.#pending = []
    this.#snapshot = { entries: [], dropped: 0, loaded: false, at: this.#at }
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #keyOf(value: unknown): string {
    if (typeof value === 'object' && value !== null) {
      // Events carry the id of their process, which many share; their own number is `seq`.
      const id: unknown = Reflect.get(value, 'seq') ?? Reflect.get(value, 'id')
      if (typeof id === 'string' || typeof id === 'number') return String(id)
    }
    return `#${this.#serial++}`
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    this.#scheduled = false
    const merged = new Map<string, LogEntry>()
    for (const entry of this.#snapshot.entries) merged.set(entry.key, entry)
    for (const entry of this.#pending) merged.set(entry.key, entry)
    this.#pending = []
    const all = [...merged.values()]
    const excess = Math.max(0, all.length - ITEMS_MAX)
    const dropped = this.#snapshot.dropped + excess
    this.#snapshot = { entries: excess > 0 ? all.slice(excess) : all, dropped, loaded: true, at: this.#at }
    for (const listener of this.#listeners) listener()
  }
}
