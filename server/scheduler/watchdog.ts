/**
 * Who holds the thread of the agents, and where: a watchdog thread that looks from outside.
 *
 * - One thread of agents has one watchdog, whatever number of runtimes is in it; it ends with the last of them.
 * - It keeps no program alive, and costs the watched thread one timer of 50 ms.
 * - A hold is told to the runtime whose process held the thread; one of no process to all of them.
 * - Only the main thread can be looked into from outside; a runtime in another one has no watchdog.
 */
import { url } from 'node:inspector'
import { isMainThread, Worker } from 'node:worker_threads'
import { realClock } from '../clock.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { moduleUrl } from '../paths.ts'
import { BEAT_MS, Beat } from './beat.ts'
import { HOLDER_KEY, type Hold, type Holder } from './hold.ts'
import type { WatchdogData } from './watchdog-thread.ts'

/** Ms for which code may hold the thread before it is asked who it is: every other agent waits as long. */
export const WARN_MS = 250

export interface Watched {
  /** The process whose code runs now. Called in the middle of any code: it changes nothing. */
  holder(): Omit<Holder, 'watched'> | null
  held(hold: Hold): void
  /** The watchdog itself failed; nothing is watched any more. */
  failed(error: unknown): void
}

export type WatchOptions = { warnMs?: number }

type Hub = { watchdog: Watchdog | null }

/** Shared by every copy of the package in the thread. */
const HUB: unique symbol = Symbol.for('vivarium.watchdog') as never // unique symbols need a cast here

/** Watches this thread for a runtime. `warnMs` is that of the first one in the thread.
 *  @returns the watchdog, shared with the other runtimes of the thread; null where the thread cannot be watched */
export function watchThread(watched: Watched, { warnMs = WARN_MS }: WatchOptions = {}): Watch | null {
  if (!isMainThread) return null
  const hub = hubOf(globalThis)
  hub.watchdog ??= new Watchdog(warnMs, () => {
    hub.watchdog = null
  })
  return hub.watchdog.add(watched)
}

function hubOf(global: object): Hub {
  const found: unknown = Reflect.get(global, HUB)
  if (typeof found === 'object' && found !== null) return found as Hub // written below, under a symbol of ours
  const hub: Hub = { watchdog: null }
  Reflect.set(global, HUB, hub)
  return hub
}

export type Watch = { close(): Promise<void> }

class Watchdog {
  readonly beat = new Beat()
  readonly #clock: Clock = realClock()
  readonly #watched = new Map<number, Watched>()
  readonly #worker: Worker
  readonly #closed: () => void
  #ids = 0
  #timer: Timer | null = null
  #dueAt = 0
  #over = false

  constructor(warnMs: number, closed: () => void) {
    this.#closed = closed
    const data: WatchdogData = { memory: this.beat.memory, warnMs }
    this.#worker = new Worker(moduleUrl('scheduler/watchdog-thread'), { name: 'vivarium-watchdog', workerData: data })
    this.#worker.unref()
    this.#worker.on('message', (hold: Hold) => this.#held(hold))
    this.#worker.on('error', (error) => {
      for (const watched of this.#watched.values()) watched.failed(error)
      this.#end()
    })
    Reflect.set(globalThis, Symbol.for(HOLDER_KEY), () => this.#holder())
    this.#strike(this.#clock.monotonic())
  }

  add(watched: Watched): Watch {
    const id = ++this.#ids
    this.#watched.set(id, watched)
    return { close: () => this.#remove(id) }
  }

  async #remove(id: number): Promise<void> {
    if (!this.#watched.delete(id) || this.#watched.size > 0) return
    this.#end()
    await this.#worker.terminate()
  }

  #end(): void {
    if (this.#over) return // the next one of the thread may be there already
    this.#over = true
    this.#timer?.cancel()
    Reflect.deleteProperty(globalThis, Symbol.for(HOLDER_KEY))
    this.#closed()
  }

  #strike(now: number): void {
    const late = this.#dueAt === 0 ? 0 : Math.max(0, now - this.#dueAt)
    this.#dueAt = now + BEAT_MS
    this.beat.strike(late, url() !== undefined)
    this.#timer = this.#clock.after(BEAT_MS, () => this.#strike(this.#clock.monotonic()))
    this.#timer.keepAlive(false)
  }

  #holder(): string | null {
    for (const [watched, one] of this.#watched) {
      const holder = one.holder()
      if (holder !== null) return JSON.stringify({ watched, ...holder })
    }
    return null
  }

  #held(hold: Hold): void {
    for (const [id, watched] of this.#watched) {
      if (hold.holder === null || hold.holder.watched === id) watched.held(hold)
    }
  }
}
