/**
 * Rows of one latest-wins topic, outside React: one object per row, one listener set per row and one for the window.
 *
 * - A row object is replaced when the row changed and is the same object when it did not.
 * - Listeners run once per microtask however many frames arrived; nothing is dropped, newer values replace older ones.
 * - Only rows of the present window are kept, so memory is bounded by the window whatever the number of processes.
 */
import type { ServerFrame } from '../../shared/frame.ts'

export type Row = { id: string } & Record<string, unknown>
type Snap = Extract<ServerFrame, { t: 'snap' }>
type Delta = Extract<ServerFrame, { t: 'delta' }>

export type RowWindow = {
  /** False until the first snapshot. */
  loaded: boolean
  /** Index of the first row of `order` in the whole list. */
  from: number
  order: readonly string[]
  counts: Readonly<Record<string, number>>
  /** Server time of the newest frame. */
  at: number
}

type Listener = () => void

const EMPTY: RowWindow = { loaded: false, from: 0, order: [], counts: {}, at: 0 }

export class RowStore {
  #rows = new Map<string, Row>()
  #window: RowWindow = EMPTY
  readonly #rowListeners = new Map<string, Set<Listener>>()
  readonly #windowListeners = new Set<Listener>()
  readonly #dirtyRows = new Set<string>()
  #dirtyWindow = false
  #scheduled = false

  get window(): RowWindow {
    return this.#window
  }

  row(id: string): Row | undefined {
    return this.#rows.get(id)
  }

  /** Index in the whole list, or -1 when the row is outside the window. */
  indexOf(id: string): number {
    const at = this.#window.order.indexOf(id)
    return at < 0 ? -1 : this.#window.from + at
  }

  idAt(index: number): string | undefined {
    return this.#window.order[index - this.#window.from]
  }

  snap(frame: Snap): void {
    const rows = new Map<string, Row>()
    for (const row of frame.rows) rows.set(row.id, row)
    for (const id of this.#rows.keys()) this.#dirtyRows.add(id)
    for (const id of rows.keys()) this.#dirtyRows.add(id)
    this.#rows = rows
    this.#setWindow({ loaded: true, from: frame.from, order: [...rows.keys()], counts: frame.counts, at: frame.at })
  }

  delta(frame: Delta): void {
    const before = this.#window
    for (const row of frame.up) {
      this.#rows.set(row.id, row)
      this.#dirtyRows.add(row.id)
    }
    for (const id of frame.del) {
      this.#rows.delete(id)
      this.#dirtyRows.add(id)
    }
    const order = frame.order ?? this.#orderWithout(frame)
    if (frame.order) this.#prune(new Set(frame.order))
    const { from = before.from, counts = before.counts, at } = frame
    this.#setWindow({ loaded: true, from, order, counts, at })
  }

  onRow(id: string, listener: Listener): () => void {
    const listeners = this.#rowListeners.get(id) ?? new Set()
    this.#rowListeners.set(id, listeners)
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#rowListeners.get(id) === listeners) this.#rowListeners.delete(id)
    }
  }

  onWindow(listener: Listener): () => void {
    this.#windowListeners.add(listener)
    return () => this.#windowListeners.delete(listener)
  }

  /** Topics without a window of their own send no order: births go to the end, deaths leave. */
  #orderWithout(frame: Delta): readonly string[] {
    const known = new Set(this.#window.order)
    const born = frame.up.filter((row) => !known.has(row.id)).map((row) => row.id)
    if (born.length === 0 && frame.del.length === 0) return this.#window.order
    const gone = new Set(frame.del)
    return [...this.#window.order.filter((id) => !gone.has(id)), ...born]
  }

  #prune(keep: ReadonlySet<string>): void {
    for (const id of this.#rows.keys()) if (!keep.has(id)) this.#rows.delete(id)
  }

  #setWindow(window: RowWindow): void {
    this.#window = window
    this.#dirtyWindow = true
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    this.#scheduled = false
    const rows = [...this.#dirtyRows]
    this.#dirtyRows.clear()
    for (const id of rows) for (const listener of this.#rowListeners.get(id) ?? []) listener()
    if (!this.#dirtyWindow) return
    this.#dirtyWindow = false
    for (const listener of this.#windowListeners) listener()
  }
}
