/**
 * Models: modules that are dear to load and cheaper by the batch, served by one thread to all agents of a node:
 * `ctx.infer(model, input)`.
 *
 * - The module exports `run(inputs)`, which answers with as many outputs in their order, and may export `load()`, which
 *   runs once in each life of the thread, before the first batch. What it loads it keeps in variables of its own.
 * - As with compute modules, a definition is a URL, a type and numbers; it loads nothing.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import { type ComputeOptions, computeModule, type Plain } from './compute.ts'

/** Carries the type of the module; no object has it. */
declare const MODULE: unique symbol

export type ModelOptions = {
  /** `new URL('./embed.ts', import.meta.url)` */
  module: URL
  /** Inputs of one `run` at most, default 32. */
  maxBatch?: number
  /** Milliseconds that an input waits for others, default 5. */
  maxWaitMs?: number
  /** MiB of heap of its thread, default that of `compute.memoryMb`. Buffers lie outside of it and are not counted. */
  memoryMb?: number
  /** Milliseconds that one `run` may take before its thread is ended, default 60_000. */
  timeoutMs?: number
}

export type ModelDefinition<M> = {
  readonly kind: 'model'
  readonly name: string
  readonly url: string
  readonly maxBatch: number
  readonly maxWaitMs: number
  readonly memoryMb: number | null
  readonly timeoutMs: number
  readonly [MODULE]?: M
}

/** What `run` takes one of; nothing fits where that is no plain value. */
export type ModelInput<M> = M extends { run: (inputs: infer A) => unknown }
  ? A extends readonly (infer I)[]
    ? Plain<I>
    : never
  : never

/** What `run` answers one of; never where that is no plain value. */
export type ModelOutput<M> = M extends { run: (inputs: never) => infer R }
  ? Awaited<R> extends readonly (infer O)[]
    ? Plain<O>
    : never
  : never

/** As of a step, its three attempts included. Times include the wait for the thread. */
export type InferOptions = ComputeOptions

/** One input, as the thread of its model is asked for it. */
export type InferJob = {
  readonly model: ModelDefinition<unknown>
  /** Copied already. */
  readonly input: Value
  /** It leaves the queue; a batch that nobody waits for any more is ended with its thread. */
  readonly signal: AbortSignal
}

export interface Inference {
  /** @throws OVERLOADED MODULE_LOAD_FAILED EXPORT_MISSING VALUE_UNSUPPORTED VALUE_TOO_LARGE OUT_OF_MEMORY THREAD_ENDED
   *  RUNTIME_STOPPED DEFINITION_INVALID, the reason of the signal, or what `load` or `run` threw */
  infer(job: InferJob): Promise<Value>
}

const MAX_BATCH = 32
const MAX_BATCH_MAX = 10_000
const MAX_WAIT_MS = 5
/** Longer than this an answer is not worth waiting for neighbours. */
const MAX_WAIT_MS_MAX = 60_000
const TIMEOUT_MS = 60_000
const TIMEOUT_MS_MAX = 24 * 3_600_000
const MEMORY_MB_MIN = 16
const MEMORY_MB_MAX = 1_048_576

const OPTIONS: ReadonlySet<string> = new Set(['module', 'maxBatch', 'maxWaitMs', 'memoryMb', 'timeoutMs'])

/** `model<typeof import('./embed.ts')>('embed', { module: new URL('./embed.ts', import.meta.url) })`
 *  @throws DEFINITION_INVALID  with the option and its bounds */
export function model<M>(name: string, options: ModelOptions): ModelDefinition<M> {
  assertLabel('Model name', name)
  for (const option in options) {
    if (!OPTIONS.has(option)) throw refused(name, option, `does not exist; use ${[...OPTIONS].join(', ')}`)
  }
  const { memoryMb } = options
  const within = (option: string, value: number, [min, max]: [number, number]): number => {
    if (Number.isInteger(value) && value >= min && value <= max) return value
    throw refused(name, option, `is ${String(value)}; it must be a whole number from ${min} to ${max}`)
  }
  return Object.freeze({
    kind: 'model',
    name,
    url: computeModule(options.module).url,
    maxBatch: within('maxBatch', options.maxBatch ?? MAX_BATCH, [1, MAX_BATCH_MAX]),
    maxWaitMs: within('maxWaitMs', options.maxWaitMs ?? MAX_WAIT_MS, [0, MAX_WAIT_MS_MAX]),
    memoryMb: memoryMb === undefined ? null : within('memoryMb', memoryMb, [MEMORY_MB_MIN, MEMORY_MB_MAX]),
    timeoutMs: within('timeoutMs', options.timeoutMs ?? TIMEOUT_MS, [1, TIMEOUT_MS_MAX]),
  })
}

function refused(name: string, option: string, why: string): RuntimeError {
  return new RuntimeError('DEFINITION_INVALID', `Option ${option} of model ${name} ${why}.`, { detail: { option } })
}
