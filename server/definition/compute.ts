/**
 * Modules whose exported functions run on threads of their own: `ctx.task(module, 'name', [args])`.
 *
 * - A definition is a URL and a type; nothing of the module is loaded by it, here or in the runtime's thread.
 * - The types admit what can be copied and nothing else: plain values in, plain values out (U1).
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Primitive, Value } from '../../shared/value.ts'
import type { StepOptions } from './step.ts'

/** Carries the type of the module; no object has it. */
declare const MODULE: unique symbol

export type ComputeModule<M> = { readonly kind: 'compute'; readonly url: string; readonly [MODULE]?: M }

/** `T` itself where it is made of plain values only; where it is not, a type that `T` does not fit. */
export type Plain<T> = unknown extends T
  ? T // `any` and `unknown`: looked at when the value comes
  : T extends Primitive | Date | Uint8Array
    ? T
    : T extends (...args: never) => unknown
      ? never
      : T extends ReadonlyMap<string, infer V>
        ? Plain<V> extends V
          ? V extends Plain<V>
            ? T
            : never
          : never
        : T extends ReadonlySet<infer V>
          ? V extends Primitive
            ? T
            : never
          : T extends object
            ? { [K in keyof T]: Plain<T[K]> }
            : never

/** A function that returns nothing answers null, as handlers do. */
type PlainResult<R> = [R] extends [undefined | void] ? R : Plain<R>

/** What is left out is no value: only parameters that may be missing are. */
type PlainArgs<A> = { [K in keyof A]: Plain<A[K]> | undefined }

type Computable<F> = F extends (...args: infer A) => infer R
  ? A extends PlainArgs<A>
    ? Awaited<R> extends PlainResult<Awaited<R>>
      ? F
      : never
    : never
  : never

/** Names of the exported functions that take and return plain values. */
export type ComputeName<M> = { [K in keyof M]: [Computable<M[K]>] extends [never] ? never : K }[keyof M] & string

export type ComputeArgs<M, K extends keyof M> = M[K] extends (...args: infer A) => unknown ? A : never

export type ComputeResult<M, K extends keyof M> = M[K] extends (...args: never) => infer R ? Awaited<R> : never

/** As of a step; one attempt unless `retry` says more. Times include the wait for a thread. */
export type ComputeOptions = Pick<StepOptions, 'retry' | 'timeoutMs' | 'totalMs' | 'key'>

/** What `ctx.task` takes for one of them. */
export type ComputeAsked<M, K extends keyof M> = [
  module: ComputeModule<M>,
  name: K,
  args: ComputeArgs<M, K>,
  options?: ComputeOptions,
]

/** A module of CPU work: `computeModule<typeof import('./rank.ts')>(new URL('./rank.ts', import.meta.url))`. Where a
 *  build left `rank.js` in the place of `rank.ts`, that is what is loaded.
 *  @throws DEFINITION_INVALID  anything but the URL of a file */
export function computeModule<M>(url: URL): ComputeModule<M> {
  if (!(url instanceof URL) || url.protocol !== 'file:') {
    const text = `A compute module is the URL of a file, not ${String(url)}`
    throw new RuntimeError('DEFINITION_INVALID', `${text}. Write new URL('./name.ts', import.meta.url).`)
  }
  return Object.freeze({ kind: 'compute', url: url.href })
}

/** One run of a function of a module, as the pool of threads is asked for it. */
export type ComputeJob = {
  /** Owners that wait take turns. */
  readonly owner: string
  readonly url: string
  readonly name: string
  /** Copied already. */
  readonly args: readonly Value[]
  /** Ends it: a task that waits leaves the queue, the thread of one that runs is terminated. */
  readonly signal: AbortSignal
  /** A thread has it now. */
  started(): void
}

export interface Compute {
  /** @throws OVERLOADED MODULE_LOAD_FAILED EXPORT_MISSING VALUE_UNSUPPORTED VALUE_TOO_LARGE OUT_OF_MEMORY THREAD_ENDED
   *  RUNTIME_STOPPED, the reason of the signal, or what the function threw */
  run(job: ComputeJob): Promise<Value>
}
