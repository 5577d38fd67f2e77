/**
 * Shared collectors: whatever many viewers look at is read once.
 *
 * - F2: a collector starts with its first lease and stops LINGER_MS after its last one ended. Without a viewer nothing
 *   runs: no timer, no listener, no read.
 * - A reader that comes back within the linger finds the same collector, with everything it had.
 */
import type { Clock, Timer } from '../clock.ts'

/** Milliseconds. Longer than a page change or a lost connection takes, shorter than anybody would call it a leak. */
export const LINGER_MS = 10_000

export abstract class Collector {
  readonly #listeners = new Set<() => void>()

  /** Begins to collect; called once. */
  abstract start(): void
  /** Ends everything that `start` began; called once. */
  abstract stop(): void

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  protected changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

export type Lease<T> = { readonly source: T; release(): void }

type Held = { source: Collector; leases: number; linger: Timer | null }

export class CollectorHub {
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Collectors that run now, lingering ones included. */
  get size(): number {
    return this.#held.size
  }

  /** One collector per key. `make` decides the type: a key belongs to one kind of collector for ever. */
  acquire<T extends Collector>(key: string, make: () => T): Lease<T> {
    const known = this.#held.get(key)
    const held = known ?? { source: make(), leases: 0, linger: null }
    if (known === undefined) {
      this.#held.set(key, held)
      held.source.start()
    }
    held.leases++
    held.linger?.cancel()
    held.linger = null
    let released = false
    const release = () => {
      if (released) return
      released = true
      held.leases--
      if (held.leases === 0) this.#linger(key, held)
    }
    return { source: held.source as T, release } // by the contract of the key, see above
  }

  /** Stops all, lingering or not. */
  close(): void {
    for (const { source, linger } of this.#held.values()) {
      linger?.cancel()
      source.stop()
    }
    this.#held.clear()
  }

  #linger(key: string, held: Held): void {
    held.linger = this.#clock.after(LINGER_MS, () => {
      if (this.#held.get(key) !== held) return
      this.#held.delete(key)
      held.source.stop()
    })
    held.linger.keepAlive(false)
  }
}
