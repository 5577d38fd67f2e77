/**
 * Collector of a small latest-wins topic: asks the runtime at a period, and sooner when an event says that something
 * changed.
 *
 * - At most one question is out at a time; a slow answer stretches the period.
 * - A failed question keeps the last rows and says why they are old; the next good one takes that back.
 */

import { RuntimeError } from '../../shared/error.ts'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import type { Problem, View } from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Inspect } from '../observe/inspect.ts'
import { Collector } from './collector.ts'
import type { CostMeter } from './cost.ts'
import { type Listing, type Row, type RowSource, same } from './row-source.ts'

export type Polled = { rows: readonly Row[]; counts?: Readonly<Record<string, number>> }

export type PollOptions = {
  clock: Clock
  cost: CostMeter
  inspect: Inspect
  report: (error: unknown) => void
  periodMs: number
  read: () => Promise<Polled> | Polled
  /** Events after which it asks at once, and which of them. */
  wake?: { kinds: readonly EventKind[]; when: (event: RuntimeEvent) => boolean }
}

/** Milliseconds between two questions, whatever the events. */
const WAKE_MS_MIN = 100

export class PollCollector extends Collector implements RowSource {
  loaded = false
  problem: Problem | null = null
  readonly #options: PollOptions
  #rows = new Map<string, Row>()
  #counts: Readonly<Record<string, number>> = {}
  #timer: Timer | null = null
  #unlisten: (() => void) | null = null
  #asking = false
  #again = false
  #stopped = false
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(options: PollOptions) {
    super()
    this.#options = options
  }

  start(): void {
    const { wake, inspect } = this.#options
    if (wake !== undefined) this.#unlisten = inspect.listen(wake.kinds, (event) => wake.when(event) && this.#wake())
    void this.#ask()
  }

  stop(): void {
    this.#stopped = true
    this.#unlisten?.()
    this.#timer?.cancel()
  }

  list(_view: View): Listing {
    return { ids: [...this.#rows.keys()], counts: this.#counts, row: (id) => this.#rows.get(id) }
  }

  has(id: string): boolean {
    return this.#rows.has(id)
  }

  #wake(): void {
    if (this.#stopped) return
    if (this.#asking) {
      this.#again = true
      return
    }
    this.#schedule(Math.max(0, this.#askedAt + WAKE_MS_MIN - this.#options.clock.monotonic()))
  }

  #schedule(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(ms, () => void this.#ask())
    this.#timer.keepAlive(false)
  }

  async #ask(): Promise<void> {
    const { clock, cost, read, periodMs } = this.#options
    this.#asking = true
    this.#askedAt = clock.monotonic()
    try {
      const polled = await cost.measure(read)
      if (!this.#stopped) cost.measure(() => this.#accept(polled))
    } catch (error) {
      if (!this.#stopped) this.#fail(error)
    } finally {
      this.#asking = false
      if (!this.#stopped) this.#schedule(this.#again ? WAKE_MS_MIN : periodMs)
      this.#again = false
    }
  }

  #accept({ rows, counts = { total: rows.length } }: Polled): void {
    const next = new Map<string, Row>()
    let moved = rows.length !== this.#rows.size || !this.loaded || this.problem !== null || !same(counts, this.#counts)
    const before = this.#rows.keys()
    for (const row of rows) {
      const known = this.#rows.get(row.id)
      const kept = known !== undefined && same(known, row) ? known : row
      if (kept !== known || before.next().value !== row.id) moved = true
      next.set(row.id, kept)
    }
    this.#rows = next
    this.#counts = counts
    this.loaded = true
    this.problem = null
    if (moved) this.changed()
  }

  #fail(error: unknown): void {
    const problem = problemOf(error)
    const news = this.problem?.detail !== problem.detail
    this.problem = problem
    if (news && !(error instanceof RuntimeError)) this.#options.report(error)
    if (news) this.changed()
  }
}
