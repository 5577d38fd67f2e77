/**
 * Waiting outside of any process for the result of a started operation (PROTOCOL M4).
 *
 * - Told by the commit that stores it: in memory where that happens here, else by a reply to this node (D45).
 * - An operation that runs here is mostly over in moments: a row says who waits only when it takes longer.
 * - What was told may get lost with the node that owed the hint: a slow look finds it.
 */
import { errorFromData, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import { decodeOutcome, nodeTarget } from '../journal/message.ts'
import { isPassing } from '../journal/store-failure.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { NodeIdentity, RequestResult, RequestRow, Store } from '../store/store.ts'

/** Ms within which most operations that run here end. */
const SOON_MS = 500
/** Ms between looks for what was told and not heard. */
const LOOK_MS = 30_000

/** `row` is undefined where nobody knows. */
type Look = { row: RequestRow | null | undefined; ms: number }

export type RequestWaitPorts = {
  store: Pick<Store, 'requestRow' | 'awaitResult'>
  clock: Clock
  /** What is in memory here has its commits here. */
  kernel: Pick<Kernel, 'find'>
  node(): NodeIdentity
}

export class RequestWaits {
  readonly #ports: RequestWaitPorts
  readonly #waiting = new Map<string, Set<() => void>>()
  #closed = false

  constructor(ports: RequestWaitPorts) {
    this.#ports = ports
  }

  /** Whoever waits is told that nothing is told here any more. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake()
  }

  /** A commit of this node stored results. */
  stored(results: readonly RequestResult[]): void {
    for (const { scope, key } of results) this.answered(callOf(scope, key))
  }

  /** A reply to this node. */
  answered(call: string): void {
    for (const wake of this.#waiting.get(call) ?? []) wake()
  }

  /** Resolves with the result, however long it takes; ends with the reason of `signal` when that is aborted.
   *  @throws REQUEST_UNKNOWN  the request is not kept any more  @throws RUNTIME_STOPPED */
  async result(scope: ProcessId, key: string, signal?: AbortSignal): Promise<Value> {
    for (let soon = this.#ports.kernel.find(scope) !== undefined; ; ) {
      signal?.throwIfAborted()
      if (this.#closed) throw stopped(scope, key)
      // Heard from before the look: what is stored between look and wait is not missed.
      const heard = this.#listen(callOf(scope, key), signal)
      try {
        const { row, ms } = await this.#look(scope, key, soon)
        if (row === null) throw notKept(scope, key)
        if (row !== undefined && row.status !== 'pending' && row.result !== null) {
          const out = decodeOutcome(row.result)
          if ('ok' in out) return out.ok
          throw errorFromData(out.err)
        }
        soon = await heard.within(ms)
      } finally {
        heard.end()
      }
    }
  }

  /** An outage costs time: what cannot be read now is read later. */
  #look(scope: ProcessId, key: string, soon: boolean): Promise<Look> {
    return this.#read(scope, key, soon).catch((error: unknown) => {
      if (!isPassing(error)) throw error
      return { row: undefined, ms: SOON_MS }
    })
  }

  async #read(scope: ProcessId, key: string, soon: boolean): Promise<Look> {
    const { store, node } = this.#ports
    const { id, epoch, namespace } = node()
    if (soon) return { row: await store.requestRow(namespace, scope, key), ms: SOON_MS }
    const wait = { scope, key, target: nodeTarget(id, epoch), call: callOf(scope, key) }
    const { row, kept } = await store.awaitResult(node(), wait)
    return { row, ms: kept ? LOOK_MS : SOON_MS }
  }

  #listen(call: string, signal: AbortSignal | undefined): { within(ms: number): Promise<boolean>; end(): void } {
    const { promise, resolve: over } = Promise.withResolvers<boolean>()
    const told = (): void => over(true)
    const waiting = this.#waiting.get(call) ?? new Set()
    this.#waiting.set(call, waiting)
    waiting.add(told)
    signal?.addEventListener('abort', told)
    return {
      within: async (ms) => {
        const timer = this.#ports.clock.after(ms, () => over(false))
        const heard = await promise
        timer.cancel()
        return heard
      },
      end: () => {
        signal?.removeEventListener('abort', told)
        waiting.delete(told)
        if (waiting.size === 0 && this.#waiting.get(call) === waiting) this.#waiting.delete(call)
      },
    }
  }
}

/** One per request and node: all who wait here hear of it. */
function callOf(scope: string, key: string): string {
  return `result ${scope}\n${key}`
}

function notKept(scope: ProcessId, key: string): RuntimeError {
  return new RuntimeError(
    'REQUEST_UNKNOWN',
    `Nothing is kept of what was started of ${scope} under ${JSON.stringify(key)}; ask for a result while it is kept.`,
  )
}

function stopped(scope: ProcessId, key: string): RuntimeError {
  return new RuntimeError(
    'RUNTIME_STOPPED',
    `The runtime stopped; what was started of ${scope} under ${JSON.stringify(key)} goes on with another one.`,
  )
}
