/**
 * Which process the running code belongs to, through every promise, timer and callback that it starts.
 *
 * - O6: code of a turn, also after its end and in its own timers, is found under its process; a turn never inherits
 *   the context of whoever sent the message.
 * - Entering costs about 30 ns for a process that was entered before. `AsyncLocalStorage.run` alone costs ten times
 *   that (Node 26 copies the whole context at the beginning and at the end), so what it makes is kept in an
 *   AsyncResource and entered again.
 * - What is kept is only a cache: it holds no process alive and is bounded, so that a process that is entered once
 *   and then idles costs nothing here.
 *
 * An AsyncResource is on Node's stack of async hooks while it runs: code that is terminated inside leaves it there,
 * and Node ends the program unless it runs with `--no-force-async-hooks-checks` (docs/telemetry.md).
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

/** Contexts that are kept, some 500 bytes each. More processes than this are rarely hot at once. */
const CONTEXTS_MAX = 8_192
/** Every n-th miss is kept: who comes often is soon in, who comes once seldom is. */
const KEEP_EVERY = 4

export class Scope<P extends object> {
  readonly #store = new AsyncLocalStorage<P>()
  /** The context of whoever made the runtime; the empty one of all turns. */
  readonly #outside = new AsyncResource('vivarium')
  #contexts = new WeakMap<P, AsyncResource>()
  #kept = 0
  #misses = 0

  /** The process whose code runs now; null outside of all processes. */
  current(): P | null {
    return this.#store.getStore() ?? null
  }

  enter<E, T>(process: P, argument: E, fn: (process: P, argument: E) => T): T {
    const context = this.#contexts.get(process)
    if (context !== undefined) return context.runInAsyncScope(fn, undefined, process, argument)
    this.#misses += 1
    if (this.#misses % KEEP_EVERY === 0) return this.#keep(process).runInAsyncScope(fn, undefined, process, argument)
    return this.#outside.runInAsyncScope(() => this.#store.run(process, fn, process, argument))
  }

  #keep(process: P): AsyncResource {
    if (this.#kept >= CONTEXTS_MAX) {
      this.#contexts = new WeakMap()
      this.#kept = 0
    }
    const make = (): AsyncResource => new AsyncResource('vivarium.process')
    const context = this.#outside.runInAsyncScope(() => this.#store.run(process, make))
    this.#contexts.set(process, context)
    this.#kept += 1
    return context
  }
}
