/**
 * What `viv dev` does: runs a generation of the code, and at each save puts the next one in its place.
 *
 * - The next one is up, beside the one that serves, before that one is asked to end: code that does not load or start
 *   changes nothing.
 * - Turns that end in time end on the code they began with; those that wait go on, by their journal, on the next.
 * - One turnover at a time. A save meanwhile is another one after it; while a generation still comes up, its code is
 *   old and it is given up.
 */
import { relative } from 'node:path'
import type { Clock } from '../../clock.ts'
import { FileWatch } from './file-watch.ts'
import { type DevOptions, Generation, type Serving } from './generation.ts'

export type TurnoverPorts = {
  readonly clock: Clock
  readonly options: DevOptions
  /** Of the first generation; those after it take the one it got. */
  readonly port: number | undefined
  readonly folder: string
  served(told: { serving: Serving; ms: number; generation: number; because: readonly string[] }): void
  /** @param running  whether the generation before goes on */
  failed(told: { generation: number; running: boolean }): void
  /** One that served ended, and nobody asked for it: it crashed, or was stopped from elsewhere. */
  ended(told: { generation: number }): void
  unwatched(folder: string, error: unknown): void
}

export class Turnover {
  readonly #ports: TurnoverPorts
  readonly #watch: FileWatch
  #current: Generation | null = null
  #next: Generation | null = null
  #port: number | undefined
  #generation = 0
  #because: readonly string[] | null = null
  #working: Promise<void> | null = null
  #closed = false

  constructor(ports: TurnoverPorts) {
    this.#ports = ports
    this.#port = ports.port
    this.#watch = new FileWatch(ports.clock, {
      changed: (paths) => this.#changed(paths),
      failed: (folder, error) => ports.unwatched(folder, error),
    })
    for (const path of ports.options.modules) this.#watch.add(path)
  }

  /** Resolves when the first generation serves or failed. */
  start(): Promise<void> {
    return this.#turn([])
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watch.close()
    await Promise.all([this.#next?.stop(), this.#current?.stop()])
    await this.#working
  }

  #changed(paths: string[]): void {
    if (this.#closed) return
    const because = paths.map((path) => relative(this.#ports.folder, path))
    if (this.#working === null) void this.#turn(because)
    else {
      this.#because = [...new Set([...(this.#because ?? []), ...because])]
      void this.#next?.stop()
    }
  }

  #turn(because: readonly string[]): Promise<void> {
    const working = this.#replace(because).then(() => {
      this.#working = null
      const again = this.#because
      this.#because = null
      if (again !== null && !this.#closed) void this.#turn(again)
    })
    this.#working = working
    return working
  }

  async #replace(because: readonly string[]): Promise<void> {
    const { clock, options, served, failed, ended } = this.#ports
    const generation = ++this.#generation
    const began = clock.monotonic()
    const next = new Generation(options, clock, (path) => this.#closed || this.#watch.add(path))
    this.#next = next
    const isReady = await next.ready
    this.#next = null
    // A save or the end came while it was on its way: nobody is interested in how it went.
    if (this.#closed || this.#because !== null) {
      this.#because = [...new Set([...because, ...(this.#because ?? [])])]
      return next.stop()
    }
    const before = this.#current
    if (!isReady) return failed({ generation, running: before?.over === false })
    this.#current = next
    await before?.stop()
    next.serve(this.#port)
    const serving = await next.serving
    if (serving === null) {
      if (!this.#closed) failed({ generation, running: false })
      return
    }
    this.#port = serving.port
    served({ serving, ms: Math.round(clock.monotonic() - began), generation, because })
    void next.ended.then(() => {
      if (!this.#closed && !next.asked) ended({ generation })
    })
  }
}
