/**
 * Takes away large values that nothing refers to any more (V4): of snapshots that were replaced, and of rows that a
 * crash kept from being written.
 *
 * - A walk over all blobs in small steps, long pauses between walks: it never holds up a commit, and several nodes
 *   may walk at once.
 * - What was touched within a day stays, whoever refers to it: the store decides by its own clock.
 */
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { BLOB_UNTOUCHED_MS, type NodeIdentity, type Store } from '../store/store.ts'

/** Blobs looked at in one step. */
const STEP_MAX = 100
/** Ms between two steps of a walk: a million blobs take three hours, the load of it is not felt. */
const STEP_MS = 1_000
/** Ms between two walks, and before the first one: what is collected is a day old anyway. */
const WALK_MS = 30 * 60 * 1_000

export type BlobCollectorPorts = {
  store: Store
  clock: Clock
  node(): NodeIdentity
  failed(error: unknown): void
}

export class BlobCollector {
  readonly #ports: BlobCollectorPorts
  #timer: Timer | null = null
  #after: string | null = null
  #closed = false
  collected = 0

  constructor(ports: BlobCollectorPorts) {
    this.#ports = ports
  }

  start(): void {
    this.#arm(WALK_MS)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(ms, () => void this.#step())
    this.#timer.keepAlive(false)
  }

  async #step(): Promise<void> {
    const { store, node, failed } = this.#ports
    try {
      const step = { untouchedMs: BLOB_UNTOUCHED_MS, after: this.#after, limit: STEP_MAX }
      const { collected, cursor } = await store.collectBlobs(node(), step)
      this.collected += collected
      this.#after = cursor
    } catch (error) {
      // The walk goes on where it is after the next pause.
      failed(error)
      return this.#arm(WALK_MS)
    }
    this.#arm(this.#after === null ? WALK_MS : STEP_MS)
  }
}
