/**
 * Waiting for the result of a started operation: told by the commit that stores it when that happens here, found by
 * looking when it happens on another node.
 */
import { errorFromData } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import { decodeOutcome } from '../journal/message.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { RequestResult, Store } from '../store/store.ts'

/** Ms between looks. */
const LOOK_MS = 500

export class RequestWaits {
  readonly #store: Store
  readonly #clock: Clock
  readonly #namespace: string
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(store: Store, clock: Clock, namespace: string) {
    this.#store = store
    this.#clock = clock
    this.#namespace = namespace
  }

  /** A commit of this node stored results. */
  stored(results: readonly RequestResult[]): void {
    for (const { scope, key } of results) {
      const waiting = this.#waiting.get(keyOf(scope, key))
      if (waiting !== undefined) for (const wake of waiting) wake()
    }
  }

  /** Resolves with the result, for ever if there is none; ends early when `signal` does. */
  async result(scope: string, key: string, signal?: AbortSignal): Promise<Value> {
    for (;;) {
      signal?.throwIfAborted()
      const row = await this.#store.requestRow(this.#namespace, scope, key)
      if (row !== null && row.status !== 'pending' && row.result !== null) {
        const out = decodeOutcome(row.result)
        if ('ok' in out) return out.ok
        throw errorFromData(out.err)
      }
      await this.#wake(keyOf(scope, key))
    }
  }

  #wake(id: string): Promise<void> {
    return new Promise((resolve) => {
      const set = this.#waiting.get(id) ?? new Set()
      this.#waiting.set(id, set)
      const done = (): void => {
        timer.cancel()
        set.delete(done)
        if (set.size === 0) this.#waiting.delete(id)
        resolve()
      }
      const timer = this.#clock.after(LOOK_MS, done)
      set.add(done)
    })
  }
}

function keyOf(scope: string, key: string): string {
  return `${scope}\n${key}`
}
