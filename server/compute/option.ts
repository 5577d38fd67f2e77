/** Options of the pool with their defaults, checked when the runtime is created. */
import { availableParallelism } from 'node:os'
import { RuntimeError } from '../../shared/error.ts'

export type ComputePoolOptions = {
  /** Threads at once, started when they are needed. Default: one less than the cores, at least 1. */
  threads?: number
  /** MiB of old-generation heap of each thread, default 512; a task that needs more fails with OUT_OF_MEMORY. What lies
   *  outside of the heap (typed arrays, buffers) is not counted. */
  memoryMb?: number
  /** Tasks that may wait for a thread, default 10_000; one more is refused with OVERLOADED. */
  queueMax?: number
}

export type ComputePlan = { readonly threads: number; readonly memoryMb: number; readonly queueMax: number }

/** Threads beyond the cores only take time from each other; this is more than any machine has. */
const THREADS_MAX = 1_024
const MEMORY_MB = 512
/** A thread and its module loader do not start with less. */
const MEMORY_MB_MIN = 16
/** MiB; V8 keeps no larger heap. */
const MEMORY_MB_MAX = 1_048_576
/** Each holds a turn, a process and its arguments in memory. */
const QUEUE_MAX = 10_000
const QUEUE_MAX_MAX = 1_000_000

const NAMES: ReadonlySet<string> = new Set(['threads', 'memoryMb', 'queueMax'])

/** @throws CONFIG_INVALID with the option, its value and its bounds */
export function computePlan(options: ComputePoolOptions = {}): ComputePlan {
  for (const name in options) if (!NAMES.has(name)) throw refused(name, 'is unknown', `use ${[...NAMES].join(', ')}`)
  return {
    threads: within('threads', options.threads ?? Math.max(1, availableParallelism() - 1), [1, THREADS_MAX]),
    memoryMb: within('memoryMb', options.memoryMb ?? MEMORY_MB, [MEMORY_MB_MIN, MEMORY_MB_MAX]),
    queueMax: within('queueMax', options.queueMax ?? QUEUE_MAX, [0, QUEUE_MAX_MAX]),
  }
}

function within(name: string, value: unknown, [min, max]: [number, number]): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw refused(name, `is ${String(value)}`, `it must be a whole number from ${min} to ${max}`)
}

function refused(name: string, what: string, wanted: string): RuntimeError {
  return new RuntimeError('CONFIG_INVALID', `Option compute.${name} ${what}; ${wanted}.`, { detail: { option: name } })
}
