/**
 * One subscription as the page sees it; it outlives connections. Rows and log entries are kept while the connection
 * is away, so a lost server leaves the last data readable.
 *
 * - `seq` is the last frame applied. A reconnect asks to resume there; a snapshot instead replaces everything.
 * - A frame is acknowledged once it was applied and a paint had its chance, so a slow machine gets fewer, newer ones.
 */
import type { ClientFrame, Problem, ServerFrame, View } from '../../shared/frame.ts'
import { AppendBuffer } from './buffer.ts'
import { RowStore } from './store.ts'

export type SubscriptionFrame = Extract<ServerFrame, { t: 'snap' | 'delta' | 'append' | 'gap' }>

export type SubscriptionOptions = { view?: View; maxHz?: number }

export class Subscription {
  readonly id: string
  readonly topic: string
  readonly rows = new RowStore()
  readonly log = new AppendBuffer()
  problem: Problem | null = null
  #view: View | undefined
  readonly #maxHz: number | undefined
  #seq: number | null = null
  /** The session whose numbering `#seq` belongs to. */
  #session: string | null = null
  readonly #problemListeners = new Set<() => void>()

  constructor(id: string, topic: string, options: SubscriptionOptions) {
    this.id = id
    this.topic = topic
    this.#view = options.view
    this.#maxHz = options.maxHz
  }

  get view(): View | undefined {
    return this.#view
  }

  /** What to send on a new connection. */
  open(): ClientFrame {
    const frame: Extract<ClientFrame, { t: 'sub' }> = { t: 'sub', id: this.id, topic: this.topic }
    if (this.#view !== undefined) frame.view = this.#view
    if (this.#maxHz !== undefined) frame.maxHz = this.#maxHz
    if (this.#seq !== null && this.#session !== null) frame.resume = { session: this.#session, seq: this.#seq }
    return frame
  }

  setView(view: View): ClientFrame {
    this.#view = view
    return { t: 'view', id: this.id, view }
  }

  apply(frame: SubscriptionFrame, session: string): ClientFrame {
    // A new session whose numbers do not go on from ours starts the log anew; rows are replaced by the snapshot itself.
    if (this.#session !== session && this.#seq !== null && frame.seq <= this.#seq) this.log.clear()
    this.#session = session
    this.#seq = frame.seq
    this.setProblem(null)
    switch (frame.t) {
      case 'snap':
        this.rows.snap(frame)
        break
      case 'delta':
        this.rows.delta(frame)
        break
      case 'append':
        this.log.append(frame.items, frame.at)
        break
      case 'gap':
        this.log.gap(frame.n)
        break
      default:
        frame satisfies never
    }
    return { t: 'ack', id: this.id, seq: frame.seq }
  }

  setProblem(problem: Problem | null): void {
    if (this.problem === problem) return
    this.problem = problem
    for (const listener of this.#problemListeners) listener()
  }

  onProblem(listener: () => void): () => void {
    this.#problemListeners.add(listener)
    return () => this.#problemListeners.delete(listener)
  }
}
