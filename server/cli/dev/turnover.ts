/**
 * What `viv dev` does: runs a generation of the code, and at each save puts the next one in its place.
 *
 * - The next one is up, beside the one that serves, before that one is asked to end: code that does not load or start
 *   changes nothing. The address is taken last.
 * - Turns that end in time end on the code they began with; those that wait go on, by their journal, on the next.
 * - One turnover at a time. A save meanwhile is another one after it; while a generation still comes up, its code is
 *   old and it is given up.
 */
import { relative } from 'node:path'
import type { Clock } from '../../clock.ts'
import type { ServeOptions } from '../commands/start.ts'
import { FileWatch } from './file-watch.ts'
import { type DevOptions, END_MS, type Failed, Generation, GIVE_UP_MS, type Serving } from './generation.ts'

export type TurnoverPorts = {
  readonly clock: Clock
  readonly modules: readonly string[]
  readonly options: ServeOptions
  readonly folder: string
  served(told: { serving: Serving; ms: number; generation: number; because: readonly string[] }): void
  /** @param running  whether the generation before goes on
   *  @param failure  null where its process ended without a word */
  failed(told: { generation: number; running: boolean; failure: Failed | null }): void
  /** One that served ended, and nobody asked for it: it crashed, or was stopped from elsewhere. */
  ended(told: { generation: number }): void
  unwatched(folder: string, error: unknown): void
}

export class Turnover {
  readonly #ports: TurnoverPorts
  readonly #watch: FileWatch
  #options: ServeOptions
  #current: Generation | null = null
  /** Those whose process runs. */
  readonly #running = new Set<Generation>()
  #next: Generation | null = null
  #generation = 0
  #because: readonly string[] | null = null
  #working: Promise<void> | null = null
  #closed = false

  constructor(ports: TurnoverPorts) {
    this.#ports = ports
    this.#options = ports.options
    this.#watch = new FileWatch(ports.clock, {
      changed: (paths) => this.#changed(paths),
      failed: (folder, error) => ports.unwatched(folder, error),
    })
    for (const path of ports.modules) this.#watch.add(path)
  }

  /** Resolves when the first generation serves or failed. */
  start(): Promise<void> {
    return this.#turn([])
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watch.close()
    await Promise.all([this.#next?.stop(GIVE_UP_MS), this.#current?.stop(END_MS)])
    await this.#working
  }

  /** At once, whatever it is at. */
  kill(): void {
    for (const generation of this.#running) generation.kill()
  }

  #changed(paths: string[]): void {
    if (this.#closed) return
    const because = paths.map((path) => relative(this.#ports.folder, path))
    if (this.#working === null) void this.#turn(because)
    else {
      this.#because = [...new Set([...(this.#because ?? []), ...because])]
      void this.#next?.stop(GIVE_UP_MS)
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
    const { clock, modules, served, failed } = this.#ports
    const { data } = this.#options
    const generation = ++this.#generation
    const began = clock.monotonic()
    const options: DevOptions = { modules, ...(data === undefined ? {} : { data }) }
    const next = new Generation(options, clock, (path) => this.#closed || this.#watch.add(path))
    this.#running.add(next)
    void next.ended.then(() => this.#running.delete(next))
    this.#next = next
    const isReady = await next.ready
    this.#next = null
    // A save or the end came while it was on its way: nobody is interested in how it went.
    if (this.#closed || this.#because !== null) {
      this.#because = [...new Set([...because, ...(this.#because ?? [])])]
      return next.stop(END_MS)
    }
    const before = this.#current
    if (!isReady) return failed({ generation, running: before?.over === false, failure: next.failure })
    this.#current = next
    await before?.stop(END_MS)
    next.serve(this.#options)
    const serving = await next.serving
    if (serving === null) {
      if (!this.#closed) failed({ generation, running: false, failure: next.failure })
      return
    }
    this.#options = { ...this.#options, port: serving.port }
    served({ serving, ms: Math.round(clock.monotonic() - began), generation, because })
    void next.ended.then(() => this.#ended(next, generation))
  }

  /** While a turnover is under way, what comes of that one is told. */
  #ended(serving: Generation, generation: number): void {
    if (!this.#closed && !serving.asked && this.#working === null) this.#ports.ended({ generation })
  }
}
