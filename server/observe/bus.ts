/**
 * The one bus of a runtime: whatever it tells about itself goes through here to feed, ring, metrics, traces and tests.
 *
 * - O3: `emit` never throws and allocates nothing. A listener that throws is counted, and dropped after
 *   LISTENER_FAILURES_MAX of its errors; one log event says so.
 * - O4: `watching(kind)` is true exactly while somebody listens to that kind, so that events of hot kinds are built
 *   for a listener only.
 * - Listeners run at once, in the order in which they came; those of the kind before those of all kinds.
 */
import type { Emit, EventKind, EventOf, RuntimeEvent } from '../../shared/event.ts'

/** Errors of one listener. Enough to survive one odd event, few enough that a broken one costs nothing for long. */
export const LISTENER_FAILURES_MAX = 10
/** Events emitted by a listener of an event, and so on. Deeper means listeners that feed each other for ever. */
export const EMIT_DEPTH_MAX = 16
/** The process under whose name the bus speaks about itself. */
export const BUS_ID = 'vivarium/bus'

type Listener = { readonly fn: (event: RuntimeEvent) => void; readonly label: string; failures: number; open: boolean }
type Listeners = readonly Listener[]

export type BusStats = {
  emitted: number
  /** Errors of listeners. */
  failures: number
  /** Events not delivered: to listeners that were dropped or threw, and those emitted too deep. */
  dropped: number
  listeners: number
}

export class Bus {
  // Replaced, never changed in place: a listener may come or go while an event is being handed out.
  readonly #byKind = new Map<EventKind, Listeners>()
  #all: Listeners = []
  #depth = 0
  readonly #now: () => number
  readonly stats: BusStats = { emitted: 0, failures: 0, dropped: 0, listeners: 0 }

  constructor(now: () => number) {
    this.#now = now
  }

  /** Hands an event to its listeners. Bound, so that it can be passed as a port. */
  readonly emit: Emit = (event) => {
    const some = this.#byKind.get(event.kind)
    if (some === undefined && this.#all.length === 0) return
    if (this.#depth >= EMIT_DEPTH_MAX) {
      this.stats.dropped += 1
      return
    }
    this.stats.emitted += 1
    this.#depth += 1
    if (some !== undefined) this.#tell(some, event)
    if (this.#all.length > 0) this.#tell(this.#all, event)
    this.#depth -= 1
  }

  /** Whether an event of this kind would reach anybody. */
  readonly watching = (kind: EventKind): boolean => this.#all.length > 0 || this.#byKind.has(kind)

  /** Listens until the returned function is called. A listener of `all` makes hot kinds (turn, step) be built too.
   *  @param label  named in the log event when the listener has to be dropped */
  listen<K extends EventKind>(kinds: readonly K[], fn: (event: EventOf<K>) => void, label?: string): () => void
  listen(kinds: readonly EventKind[] | 'all', fn: (event: RuntimeEvent) => void, label?: string): () => void
  listen(kinds: readonly EventKind[] | 'all', fn: (event: never) => void, label = 'listener'): () => void {
    // The overloads give `fn` exactly the kinds it is registered under.
    const listener: Listener = { fn: fn as (event: RuntimeEvent) => void, label, failures: 0, open: true }
    this.stats.listeners += 1
    if (kinds === 'all') this.#all = [...this.#all, listener]
    else for (const kind of new Set(kinds)) this.#byKind.set(kind, [...(this.#byKind.get(kind) ?? []), listener])
    return () => this.#remove(listener)
  }

  #tell(listeners: Listeners, event: RuntimeEvent): void {
    for (const listener of listeners) {
      if (!listener.open) continue
      try {
        listener.fn(event)
      } catch (error) {
        this.#failed(listener, event, error)
      }
    }
  }

  #failed(listener: Listener, event: RuntimeEvent, error: unknown): void {
    this.stats.failures += 1
    this.stats.dropped += 1
    listener.failures += 1
    if (listener.failures < LISTENER_FAILURES_MAX || !listener.open) return
    this.#remove(listener)
    const message =
      `The ${listener.label} of runtime events threw ${listener.failures} times, last at ${event.kind}: ` +
      `${textOf(error)}. It gets no more events; mend it and listen again.`
    this.emit({ kind: 'log', at: this.#now(), id: BUS_ID, incarnation: 0, level: 'error', message, data: null })
  }

  #remove(listener: Listener): void {
    if (!listener.open) return
    listener.open = false
    this.stats.listeners -= 1
    this.#all = this.#all.filter((one) => one !== listener)
    for (const [kind, listeners] of this.#byKind) {
      const rest = listeners.filter((one) => one !== listener)
      if (rest.length === 0) this.#byKind.delete(kind)
      else if (rest.length < listeners.length) this.#byKind.set(kind, rest)
    }
  }
}

/** Thrown things may throw again while they are described, and `emit` must not. */
function textOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return 'something that cannot be described'
  }
}
