/**
 * Looks for ties whose end was missed, after each commit that makes ties or ends an incarnation: a tie and an end that
 * were committed at the same time did not see each other, the look after the later one does (PROTOCOL P3).
 *
 * - Asked until the store answers. A claim is given back only afterwards, so a node that dies or leaves in between
 *   leaves a process with a dead owner, and whoever recovers it looks again.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store } from '../store/store.ts'

/** Processes of one look; as the committer's batches. */
const SWEEP_MAX = 250
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000

export type TieSweeperPorts = {
  store: Pick<Store, 'sweepTies'>
  clock: Clock
  node(): NodeIdentity
  /** These have a new message in the store. */
  told(processes: readonly ProcessId[]): void
  failed(error: unknown): void
}

export class TieSweeper {
  readonly #ports: TieSweeperPorts
  #waiting = new Map<ProcessId, PromiseWithResolvers<void>>()
  readonly #asked = new Map<ProcessId, Promise<void>>()
  #running = false
  #closed = false

  constructor(ports: TieSweeperPorts) {
    this.#ports = ports
  }

  add(id: ProcessId): void {
    if (this.#closed || this.#waiting.has(id)) return
    const look = Promise.withResolvers<void>()
    this.#waiting.set(id, look)
    this.#asked.set(id, look.promise)
    if (this.#running) return
    this.#running = true
    // After the commits that settle now: one look for all of them.
    this.#ports.clock.macrotask(() => void this.#run())
  }

  /** Resolves when nothing that was added for the process is still to be looked for. */
  done(id: ProcessId): Promise<void> {
    return this.#asked.get(id) ?? Promise.resolve()
  }

  /** What is still to be looked for is never done here: its processes keep their claims. */
  close(): void {
    this.#closed = true
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#closed) {
      const batch = [...this.#waiting].slice(0, SWEEP_MAX)
      for (const [id] of batch) this.#waiting.delete(id)
      if (!(await this.#look(batch.map(([id]) => id)))) return
      for (const [id, look] of batch) {
        if (this.#asked.get(id) === look.promise) this.#asked.delete(id)
        look.resolve()
      }
    }
    this.#running = false
  }

  /** False when it was closed before the store answered. */
  async #look(ids: readonly ProcessId[]): Promise<boolean> {
    for (let wait = RETRY_MS_FIRST; !this.#closed; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        const told = await this.#ports.store.sweepTies(this.#ports.node(), ids)
        if (!this.#closed && told.length > 0) this.#ports.told(told)
        return true
      } catch (error) {
        this.#ports.failed(error)
        await new Promise<void>((resolve) => this.#ports.clock.after(wait, resolve).keepAlive(false))
      }
    }
    return false
  }
}
