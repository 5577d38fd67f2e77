/**
 * The options of a step with their defaults, checked at the verb: what is out of bounds never begins.
 *
 * - Every refusal names option, value and bounds. A misspelt option is refused too: it would silently have no effect.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel } from '../../shared/id.ts'
import type { ExternalStepOptions, RetryPolicy, StepOptions } from '../definition/step.ts'

export const STEP_ATTEMPTS = 3
/** Each failed attempt is a journal entry of the open turn, which every activation reads. */
export const STEP_ATTEMPTS_MAX = 10_000
const INITIAL_MS = 200
const FACTOR = 2
/** Steeper than any service asks for; beyond it the numbers overflow within a few attempts. */
const FACTOR_MAX = 100
const MAX_MS = 30_000
const JITTER = 0.5
/** Milliseconds; a wait in a step keeps the turn open and the process in memory. Longer ones are timers. */
const WAIT_MS_MAX = 24 * 3_600_000
/** Milliseconds; an attempt is one call of one function in one life of a node. */
const ATTEMPT_MS_MAX = 7 * 24 * 3_600_000
/** Milliseconds; a step may wait for people, ten years is nobody's patience. */
const TOTAL_MS_MAX = 10 * 366 * 24 * 3_600_000

export type StepPlan = {
  readonly max: number
  readonly initialMs: number
  readonly factor: number
  readonly maxMs: number
  readonly jitter: number
  readonly retryIf: ((error: unknown) => boolean) | null
  readonly timeoutMs: number | null
  readonly totalMs: number | null
  readonly heartbeatMs: number | null
  readonly external: boolean
}

/** Of a step without options. */
export const PLAIN: StepPlan = Object.freeze({
  max: STEP_ATTEMPTS,
  initialMs: INITIAL_MS,
  factor: FACTOR,
  maxMs: MAX_MS,
  jitter: JITTER,
  retryIf: null,
  timeoutMs: null,
  totalMs: null,
  heartbeatMs: null,
  external: false,
})

const OPTIONS = new Set(['retry', 'timeoutMs', 'totalMs', 'heartbeatMs', 'key', 'external'])
const POLICY = new Set(['max', 'initialMs', 'factor', 'maxMs', 'jitter', 'retryIf'])

/** @throws REQUEST_INVALID with the option, its value and its bounds */
export function planOf(name: string, options: StepOptions | ExternalStepOptions | undefined): StepPlan {
  assertLabel('Step name', name)
  if (options === undefined) return PLAIN
  const refuse = refusal(name)
  assertKnown(options, OPTIONS, refuse, '')
  if (options.key !== undefined) assertLabel('Step key', options.key)
  const retry: RetryPolicy = options.retry ?? {}
  assertKnown(retry, POLICY, refuse, 'retry.')
  const external = 'external' in options ? (options.external as unknown) : false
  if (typeof external !== 'boolean') refuse('external', external, 'true or false')
  if (retry.retryIf !== undefined && typeof retry.retryIf !== 'function') {
    refuse('retry.retryIf', retry.retryIf, 'a function')
  }
  const atMost = maybe(retry.maxMs, { option: 'retry.maxMs', min: 0, max: WAIT_MS_MAX })
  const first = maybe(retry.initialMs, { option: 'retry.initialMs', min: 0, max: atMost ?? WAIT_MS_MAX })
  const plan: StepPlan = {
    max: within(retry.max ?? STEP_ATTEMPTS, { option: 'retry.max', min: 1, max: STEP_ATTEMPTS_MAX, whole: true }),
    initialMs: first ?? Math.min(INITIAL_MS, atMost ?? MAX_MS),
    factor: within(retry.factor ?? FACTOR, { option: 'retry.factor', min: 1, max: FACTOR_MAX }),
    maxMs: atMost ?? Math.max(MAX_MS, first ?? 0),
    jitter: within(retry.jitter ?? JITTER, { option: 'retry.jitter', min: 0, max: 1 }),
    retryIf: retry.retryIf ?? null,
    timeoutMs: maybe(options.timeoutMs, { option: 'timeoutMs', min: 1, max: ATTEMPT_MS_MAX }),
    totalMs: maybe(options.totalMs, { option: 'totalMs', min: 1, max: TOTAL_MS_MAX }),
    heartbeatMs: maybe(options.heartbeatMs, { option: 'heartbeatMs', min: 1, max: ATTEMPT_MS_MAX }),
    external: external === true,
  }
  return plan

  function maybe(value: number | undefined, bounds: Bounds): number | null {
    return value === undefined ? null : within(value, bounds)
  }

  function within(value: unknown, { option, min, max, whole = false }: Bounds): number {
    if (typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))) return value
    return refuse(option, value, `${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`)
  }
}

type Bounds = { option: string; min: number; max: number; whole?: boolean }

type Refuse = (option: string, value: unknown, wanted: string) => never

function refusal(name: string): Refuse {
  return (option, value, wanted) => {
    const given = typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value))
    const number = typeof value === 'number' ? String(value) : given // JSON has no NaN
    throw new RuntimeError('REQUEST_INVALID', `Option ${option} of step ${name} is ${number}; it must be ${wanted}.`, {
      detail: { option },
    })
  }
}

function assertKnown(given: unknown, known: ReadonlySet<string>, refuse: Refuse, prefix: string): void {
  if (typeof given !== 'object' || given === null) refuse(prefix === '' ? '(all)' : 'retry', given, 'an object')
  for (const name in given as object) {
    if (!known.has(name)) refuse(prefix + name, Reflect.get(given as object, name), `one of ${[...known].join(', ')}`)
  }
}
