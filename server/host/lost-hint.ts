/**
 * Hints may be lost: with the node that owed them, with the answer to a commit, with a connection. The rows are not, so
 * mailboxes of processes that run here are compared with the store when something may have been lost (PROTOCOL M5).
 *
 * What nobody owns is found by recovery; this looks only at what this node owns, in a few grouped queries.
 */
import type { DurableLayer } from '../journal/layer.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Archive } from '../store/archive.ts'

/** Processes asked for in one query. */
const CHUNK = 1_000
/** Ms between looks when nothing is known to be lost. */
const LOOK_MS = 30_000

type LostHintPorts = {
  kernel: Kernel
  layer: DurableLayer
  archive: Archive
  clock: Clock
  namespace: string
  failed(what: string, error: unknown): void
}

export class LostHints {
  readonly #ports: LostHintPorts
  #timer: Timer | null = null
  #looking = false
  #again = false
  #closed = false

  constructor(ports: LostHintPorts) {
    this.#ports = ports
  }

  start(): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(LOOK_MS, () => {
      this.look()
      this.start()
    })
    this.#timer.keepAlive(false)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** Something may have been lost. Looks once more when it is looking already. */
  look(): void {
    this.#again = true
    if (!this.#looking) void this.#look()
  }

  async #look(): Promise<void> {
    const { archive, namespace, kernel, layer, failed } = this.#ports
    this.#looking = true
    try {
      while (this.#again && !this.#closed) {
        this.#again = false
        const ids = [...kernel.all()].filter((process) => process.durable && process.alive).map(({ id }) => id)
        for (let at = 0; at < ids.length; at += CHUNK) {
          const counts = await archive.mailboxCounts(namespace, ids.slice(at, at + CHUNK))
          for (const [id, stored] of counts) {
            const process = kernel.find(id)
            if (process !== undefined && stored > layer.held(process)) layer.reread(id)
          }
        }
      }
    } catch (error) {
      failed('looking for messages whose hint was lost', error)
    } finally {
      this.#looking = false
    }
  }
}
