/**
 * Collector of records kept by the store (journal, failures, audit): reads the newest page whenever something may have
 * been added, and appends what it did not have.
 *
 * - Records are read newest first until a known one appears; if none does within PAGE_MAX, the number between is told
 *   as lost (exactly where records are numbered, else at least one).
 */

import { RuntimeError } from '../../shared/error.ts'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import { problemOf } from '../../shared/problem.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { CostMeter } from './cost.ts'
import { LogCollector } from './log-collector.ts'

/** Records read at once: what a reader sees at first, and what may be added between two reads without a loss. */
const PAGE_MAX = 200
/** Milliseconds between two reads, whatever the events. */
const READ_MS_MIN = 250

/** A record with what makes it unique. Numbers rise by one per record. */
export type Keyed = { key: string; number: number | null; value: unknown }

export type RecordOptions = {
  clock: Clock
  cost: CostMeter
  inspect: Inspect
  report: (error: unknown) => void
  /** Newest first. */
  read: (limit: number) => Promise<Keyed[]>
  periodMs: number
  /** Asked at each period: equal answers mean that nothing was added, so nothing is read. */
  version?: () => Promise<unknown>
  wake?: { kinds: readonly EventKind[]; when: (event: RuntimeEvent) => boolean }
}

export class RecordLog extends LogCollector {
  readonly #options: RecordOptions
  #known = new Set<string>()
  #lastNumber: number | null = null
  #version: unknown
  #timer: Timer | null = null
  #unlisten: (() => void) | null = null
  #reading = false
  #again = false
  #stopped = false

  constructor(options: RecordOptions) {
    super()
    this.#options = options
  }

  start(): void {
    const { inspect, wake } = this.#options
    if (wake !== undefined) this.#unlisten = inspect.listen(wake.kinds, (event) => wake.when(event) && this.#wake())
    void this.#look(true)
  }

  stop(): void {
    this.#stopped = true
    this.#unlisten?.()
    this.#timer?.cancel()
  }

  #wake(): void {
    if (this.#reading) this.#again = true
    else this.#schedule(READ_MS_MIN, true)
  }

  #schedule(ms: number, surely: boolean): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(ms, () => void this.#look(surely))
    this.#timer.keepAlive(false)
  }

  async #look(surely: boolean): Promise<void> {
    const { cost, read, version, periodMs } = this.#options
    this.#reading = true
    try {
      const now = await version?.()
      if (surely || version === undefined || now !== this.#version || this.problem !== null) {
        const records = await read(PAGE_MAX)
        this.#version = now
        if (!this.#stopped) cost.measure(() => this.#accept(records))
      }
    } catch (error) {
      if (!this.#stopped) this.#fail(error)
    } finally {
      this.#reading = false
      const again = this.#again
      this.#again = false
      if (!this.#stopped) this.#schedule(again ? READ_MS_MIN : periodMs, again)
    }
  }

  #accept(records: readonly Keyed[]): void {
    const recovered = this.problem !== null || !this.loaded
    const at = records.findIndex((record) => this.#known.has(record.key))
    const fresh = (at < 0 ? records : records.slice(0, at)).toReversed()
    if (at < 0 && this.loaded && this.#known.size > 0 && fresh.length > 0) this.lose(this.#missing(fresh[0]))
    for (const { value } of fresh) this.push(value)
    this.#lastNumber = fresh.at(-1)?.number ?? this.#lastNumber
    this.#known = new Set(records.map((record) => record.key))
    this.loaded = true
    this.problem = null
    if (fresh.length > 0 || recovered) this.changed()
  }

  #missing(first: Keyed | undefined): number {
    if (first?.number == null || this.#lastNumber === null) return 1
    return Math.max(0, first.number - this.#lastNumber - 1)
  }

  #fail(error: unknown): void {
    const problem = problemOf(error)
    const news = this.problem?.detail !== problem.detail
    this.problem = problem
    if (news && !(error instanceof RuntimeError)) this.#options.report(error)
    if (news) this.changed()
  }
}
