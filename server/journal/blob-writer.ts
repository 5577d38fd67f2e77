/**
 * Stores the large values of rows that wait for them (V4), a few at a time and beside the batches of the committer.
 *
 * - Always before the row: a crash in between leaves a value that nobody refers to, and the collector takes it.
 * - A store that is away is waited for, as the committer waits; only what it refuses is an answer.
 */

import type { CrashPoints } from '../crash-point.ts'
import { type Clock, pause } from '../kernel/clock-port.ts'
import type { NewBlob, NodeIdentity, Store, StoreFailure } from '../store/store.ts'
import { asFailure, isPassing } from './store-failure.ts'

/** Rows whose blobs are on their way at once: large writes must leave the store room for small ones. */
const WRITES_MAX = 2
/** Ms before a store that is away is tried again: first and largest wait. */
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000

export type BlobWriterPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  up(): void
  down(failure: StoreFailure): void
}

export class BlobWriter {
  readonly #ports: BlobWriterPorts
  readonly #waiting: (() => void)[] = []
  #writing = 0

  constructor(ports: BlobWriterPorts) {
    this.#ports = ports
  }

  /** Resolves when they are stored: null, or why they cannot be. Never rejects. */
  async write(blobs: readonly NewBlob[]): Promise<StoreFailure | null> {
    if (this.#writing === WRITES_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#writing += 1
    try {
      return await this.#patiently(blobs)
    } finally {
      // The place goes to whoever waits for it, or is free.
      const next = this.#waiting.shift()
      if (next === undefined) this.#writing -= 1
      else next()
    }
  }

  async #patiently(blobs: readonly NewBlob[]): Promise<StoreFailure | null> {
    const { store, clock, crash, node, up, down } = this.#ports
    for (let wait = RETRY_MS_FIRST; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        await store.writeBlobs(node(), blobs)
        crash.hit('blob:write')
        up()
        return null
      } catch (error) {
        const failure = asFailure(error)
        if (!isPassing(failure)) return failure
        if (failure.kind !== 'contended') down(failure)
        await pause(clock, wait)
      }
    }
  }
}
