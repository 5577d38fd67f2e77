/**
 * An append subscription: `append` frames with a cursor, and a `gap` frame for whatever it did not get.
 *
 * - F10: the sum of `n` over all gaps is the number of items between two appends that were lost; it is also counted in
 *   the feed's own cost.
 * - The first frame is an `append`, empty when there is nothing yet: the viewer knows that it is up to date.
 */
import type { Problem, View } from '../../shared/frame.ts'
import type { Lease } from './collector.ts'
import type { CostMeter } from './cost.ts'
import type { LogCollector } from './log-collector.ts'
import { type Draft, Subscription, type SubscriptionOptions } from './subscription.ts'

/** Items a new reader gets at once. */
const HISTORY_MAX = 200

type Options = SubscriptionOptions & {
  acquire: () => Lease<LogCollector>
  /** Index of the first item; without it the newest ones. */
  from?: number | undefined
}

export class LogSubscription extends Subscription {
  readonly #acquire: () => Lease<LogCollector>
  readonly #cost: CostMeter
  readonly #from: number | undefined
  #lease: Lease<LogCollector> | null = null
  #seen: LogCollector | null = null
  #unlisten: (() => void) | null = null
  #cursor = -1
  #problem: string | null = null
  /** An empty append is owed: at first, and after a problem passed. */
  #owed = true

  constructor(options: Options) {
    super(options)
    this.#acquire = options.acquire
    this.#cost = options.cost
    this.#from = options.from
  }

  attach(): boolean {
    if (this.#lease !== null) return true
    const lease = this.#acquire()
    const continued = this.#seen === null || this.#seen === lease.source
    if (!continued) {
      lease.release()
      return false
    }
    this.#lease = lease
    this.#seen = lease.source
    this.#unlisten = lease.source.listen(() => this.wake())
    if (lease.source.loaded) this.answer()
    return true
  }

  detach(): void {
    this.#unlisten?.()
    this.#lease?.release()
    this.#unlisten = null
    this.#lease = null
  }

  setView(_view: View): void {} // an append topic has nothing to choose

  protected more(): boolean {
    return this.#lease !== null && this.#cursor < this.#lease.source.next
  }

  protected draft(): Draft | null {
    const source = this.#lease?.source
    if (source === undefined) return null
    if (source.problem !== null) this.#complain(source.problem)
    else if (this.#problem !== null) {
      this.#problem = null
      this.#owed = true
    }
    if (!source.loaded) return null
    if (this.#cursor < 0) this.#cursor = this.#begin(source)
    const { lost, items, next } = source.page(this.#cursor)
    const at = this.clock.now()
    if (lost > 0 && !this.#owed) {
      const from = this.#cursor
      this.#cursor = from + lost
      this.#cost.dropped += lost
      return { t: 'gap', from: String(from), to: String(from + lost - 1), n: lost }
    }
    if (items.length === 0 && !this.#owed) return null
    this.#owed = false
    if (lost > 0) return { t: 'append', cursor: String(this.#cursor - 1), items: [], at } // the gap comes next
    this.#cursor = next
    return { t: 'append', cursor: String(next - 1), items, at }
  }

  #begin(source: LogCollector): number {
    const tail = source.tail(HISTORY_MAX)
    return this.#from === undefined ? tail : Math.min(this.#from, source.next)
  }

  #complain(problem: Problem): void {
    if (this.#problem === problem.detail) return
    this.#problem = problem.detail
    this.outlet.send({ t: 'error', id: this.id, rid: null, problem })
  }
}
