/**
 * Collector of one agent's stream: its newest items, live, in a ring whose indexes are the offsets of the stream.
 *
 * - F22: a reader that asks for an offset before the ring, or is too slow for it, is told the gap in offsets; HTTP and
 *   `runtime.stream` have what is between.
 * - The last item of a closed stream is `end`.
 */
import { RuntimeError } from '../../shared/error.ts'
import { problemOf } from '../../shared/problem.ts'
import { itemOf, STREAM_POLL_MS, type Streams, type StreamWatch } from '../observe/streams.ts'
import type { StreamRow } from '../store/stream.ts'
import type { CostMeter } from './cost.ts'
import { LogCollector, RING_MAX } from './log-collector.ts'

export type StreamLogOptions = {
  readonly path: string
  readonly streams: Streams
  readonly cost: CostMeter
  readonly report: (error: unknown) => void
}

export class StreamLog extends LogCollector {
  readonly #options: StreamLogOptions
  #watch: StreamWatch | null = null
  readonly #stop = new AbortController()
  /** The stream that is collected; a later one of the same name is another. */
  #stream: number | null = null

  constructor(options: StreamLogOptions) {
    super()
    this.#options = options
  }

  start(): void {
    this.#watch = this.#options.streams.watch(this.#options.path)
    void this.#run(this.#watch)
  }

  stop(): void {
    this.#stop.abort()
    this.#watch?.end()
  }

  async #run(watch: StreamWatch): Promise<void> {
    const { signal } = this.#stop
    for (let isOver = false; !isOver && !signal.aborted; ) {
      watch.arm()
      try {
        const row = await this.#options.streams.row(this.#options.path)
        isOver = await this.#collect(row)
        this.#recovered()
        if (!isOver && (row === null || this.next >= row.tail)) await watch.changed(Number.POSITIVE_INFINITY, signal)
      } catch (error) {
        if (error instanceof RuntimeError && error.code === 'RUNTIME_STOPPED') return
        this.#fail(error)
        isOver = await watch.changed(STREAM_POLL_MS, signal).then(
          () => false,
          () => true, // the only error of a watch: the runtime stopped
        )
      }
    }
  }

  /** True once nothing more can come. */
  async #collect(row: StreamRow | null): Promise<boolean> {
    if (row === null || (this.#stream !== null && row.id !== this.#stream)) return this.#stream !== null
    if (this.#stream === null) {
      this.#stream = row.id
      this.lose(Math.max(row.floor, row.tail - RING_MAX))
    }
    if (this.next < row.tail) {
      const records = await this.#options.streams.records(row, this.next)
      this.#options.cost.measure(() => {
        for (const record of records) {
          if (record.pos > this.next) this.lose(record.pos - this.next)
          this.push(itemOf(record, (text): unknown => JSON.parse(text))) // tagged, as docs/http.md says
        }
      })
      if (records.length === 0) this.lose(row.tail - this.next)
      this.changed()
    }
    if (!row.closed || this.next < row.tail) return false
    this.push({ kind: 'end', offset: row.tail })
    this.changed()
    return true
  }

  #recovered(): void {
    if (this.loaded && this.problem === null) return
    this.loaded = true
    this.problem = null
    this.changed()
  }

  #fail(error: unknown): void {
    const problem = problemOf(error)
    if (this.problem?.detail === problem.detail) return
    this.problem = problem
    if (!(error instanceof RuntimeError)) this.#options.report(error)
    this.changed()
  }
}
