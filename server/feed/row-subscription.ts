/**
 * A latest-wins subscription: one `snap`, then `delta` frames with what differs from what the viewer has.
 *
 * - F3: a row is sent when it entered the window or one of its fields changed, and never otherwise.
 * - F9: while frozen a ranked list keeps its order; processes that are gone leave it, new ones join at its end.
 */
import { type Problem, type View, WINDOW_ROWS_MAX } from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'
import type { Collector, Lease } from './collector.ts'
import { type Listing, type Row, type RowSource, same } from './row-source.ts'
import { type Draft, Subscription, type SubscriptionOptions } from './subscription.ts'
import { isTree, viewKey } from './view.ts'

const WINDOW_DEFAULT: readonly [number, number] = [0, 100]

type Source = Collector & RowSource
type Options = SubscriptionOptions & {
  view: View
  acquire: (view: View) => Lease<Source>
  /** What was before: sent once as an `append` after the first snap. */
  history: () => unknown[]
}

export class RowSubscription extends Subscription {
  readonly #acquire: (view: View) => Lease<Source>
  #history: (() => unknown[]) | null
  #lease: Lease<Source> | null = null
  #unlisten: (() => void) | null = null
  #view: View
  #sent = new Map<string, Row>()
  #from = 0
  #order: readonly string[] = []
  #counts: Readonly<Record<string, number>> = {}
  #frozen: { key: string; ids: readonly string[] } | null = null
  #problem: string | null = null
  /** An empty delta is owed: after a problem or a resume the viewer must learn that its data is current again. */
  #owed = false
  #snapped = false

  constructor(options: Options) {
    super(options)
    this.#view = options.view
    this.#acquire = options.acquire
    this.#history = options.history
  }

  attach(): boolean {
    if (this.#lease !== null) return true
    this.#lease = this.#acquire(this.#view)
    this.#unlisten = this.#lease.source.listen(() => this.wake())
    this.#owed = this.#snapped
    if (this.#lease.source.loaded) this.answer()
    return true // rows are compared field by field, so another sampler is as good
  }

  detach(): void {
    this.#unlisten?.()
    this.#lease?.release()
    this.#unlisten = null
    this.#lease = null
  }

  setView(view: View): void {
    this.#view = view
    this.answer()
  }

  protected more(): boolean {
    return this.#history !== null
  }

  protected draft(): Draft | null {
    const source = this.#lease?.source
    if (source === undefined) return null
    if (source.problem !== null) this.#complain(source.problem)
    if (!source.loaded) return null
    let listing: Listing
    try {
      listing = source.list(this.#view)
    } catch (error) {
      this.#complain(problemOf(error)) // a query that does not parse: the viewer keeps what it has
      return null
    }
    if (source.problem === null && this.#problem !== null) {
      this.#problem = null
      this.#owed = true
    }
    if (this.#snapped && this.#history !== null) {
      const items = this.#history()
      this.#history = null
      if (items.length > 0) return { t: 'append', cursor: String(items.length), items, at: this.clock.now() }
    }
    const ids = this.#ordered(listing, source)
    const [from, to] = windowOf(this.#view, ids.length)
    return this.#frame({ listing, order: ids.slice(from, to), from, kept: (id) => listing.row(id) })
  }

  #frame(next: { listing: Listing; order: readonly string[]; from: number; kept: (id: string) => Row | undefined }) {
    const { listing, from, kept } = next
    const rows = next.order.map(kept).filter((row) => row !== undefined)
    const order = rows.map((row) => row.id)
    const { counts } = listing
    const at = this.clock.now()
    const before = { sent: this.#sent, order: this.#order, from: this.#from, counts: this.#counts }
    const up = rows.filter((row) => !unchanged(before.sent.get(row.id), row))
    this.#sent = new Map(rows.map((row) => [row.id, row]))
    this.#order = order
    this.#from = from
    this.#counts = counts
    if (!this.#snapped) {
      this.#snapped = true
      return { t: 'snap' as const, rows, from, counts, at }
    }
    const del = [...before.sent.keys()].filter((id) => !this.#sent.has(id))
    const moved = from !== before.from || !same(order, before.order)
    const recounted = !same(counts, before.counts)
    if (up.length === 0 && del.length === 0 && !moved && !recounted && !this.#owed) return null
    this.#owed = false
    const changes = { ...(moved ? { order: [...order], from } : {}), ...(recounted ? { counts } : {}) }
    return { t: 'delta' as const, up, del, ...changes, at }
  }

  #ordered({ ids, row }: Listing, source: RowSource): readonly string[] {
    if (this.#view.freeze !== true || isTree(this.#view)) {
      this.#frozen = null
      return ids
    }
    const key = viewKey(this.#view)
    if (this.#frozen?.key !== key) this.#frozen = { key, ids }
    const old = new Set(this.#frozen.ids)
    const kept = this.#frozen.ids.filter((id) => source.has(id) && row(id) !== undefined)
    const frozen = [...kept, ...ids.filter((id) => !old.has(id))]
    this.#frozen = { key, ids: frozen }
    return frozen
  }

  #complain(problem: Problem): void {
    if (this.#problem === problem.detail) return
    this.#problem = problem.detail
    this.outlet.send({ t: 'error', id: this.id, rid: null, problem })
  }
}

function windowOf(view: View, length: number): [number, number] {
  const [from, to] = view.window ?? WINDOW_DEFAULT
  // A window past the end, after the list became shorter, shows its end.
  const start = Math.min(from, Math.max(0, length - 1))
  return [start, Math.min(to, start + WINDOW_ROWS_MAX)]
}

function unchanged(before: Row | undefined, row: Row): boolean {
  return before !== undefined && (before === row || same(before, row))
}
