/**
 * Takes away large values that nothing refers to any more (V4): of snapshots that were replaced, and of rows that a
 * crash kept from being written.
 *
 * - Several nodes may do it at once, and it never holds up a commit.
 * - What was touched within a day stays, whoever refers to it: the store decides by its own clock.
 */
import { BLOB_UNTOUCHED_MS, type NodeIdentity, type Store } from '../store/store.ts'
import type { Chore } from './walk.ts'

/** Blobs looked at in one step. */
const STEP_MAX = 100

export class BlobCollector implements Chore {
  /** A million blobs take three hours, the load of it is not felt. */
  readonly stepMs = 1_000
  /** What is collected is a day old anyway. */
  readonly walkMs = 30 * 60 * 1_000
  readonly #store: Pick<Store, 'collectBlobs'>
  readonly #node: () => NodeIdentity
  #after: string | null = null
  collected = 0

  constructor(ports: { store: Pick<Store, 'collectBlobs'>; node(): NodeIdentity }) {
    this.#store = ports.store
    this.#node = ports.node
  }

  async step(): Promise<boolean> {
    const step = { untouchedMs: BLOB_UNTOUCHED_MS, after: this.#after, limit: STEP_MAX }
    const { collected, cursor } = await this.#store.collectBlobs(this.#node(), step)
    this.collected += collected
    this.#after = cursor
    return cursor !== null
  }
}
