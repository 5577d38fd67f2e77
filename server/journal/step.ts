/**
 * One recorded side effect: runs a function until it succeeds or its policy says no, and never throws.
 *
 * - The function runs at least once per step and exactly once is recorded; its idempotency key is the same for every
 *   attempt, crash and move (T4).
 * - Back-off is exponential with full jitter below the bound, so that agents which failed together do not retry
 *   together; a failure that names `retryAfterMs` is believed.
 */
import { createHash } from 'node:crypto'
import { CODES, type ErrorData, RuntimeError } from '../../shared/error.ts'
import { copy } from '../../shared/value.ts'
import type { RetryPolicy, StepInfo, StepOptions } from '../definition/context.ts'
import type { Clock, Random } from '../kernel/clock-port.ts'
import type { Outcome } from './entry.ts'
import { outcomeOfError } from './message.ts'

export const STEP_ATTEMPTS = 3
const INITIAL_MS = 200
const FACTOR = 2
const MAX_MS = 30_000
/** A service may ask for patience, but not for days: a step is not a timer. */
const RETRY_AFTER_MS_MAX = 15 * 60_000

export type StepRun = {
  name: string
  idempotencyKey: string
  options: StepOptions
  fn: (info: StepInfo) => unknown
  /** Aborted when the incarnation ends. */
  signal: AbortSignal
  clock: Clock
  random: Random
  /** Told before each attempt and before each wait. */
  onAttempt(attempt: number): void
  onRetry(attempt: number, delayMs: number): void
}

export type StepResult = { out: Outcome; attempts: number; error: unknown }

export async function runStep(run: StepRun): Promise<StepResult> {
  const policy = run.options.retry ?? {}
  const max = policy.max ?? STEP_ATTEMPTS
  for (let attempt = 1; ; attempt++) {
    run.onAttempt(attempt)
    try {
      const value = await attemptOnce(run, attempt)
      return { out: { ok: value === undefined ? null : copy(value) }, attempts: attempt, error: null }
    } catch (error) {
      if (attempt >= max || run.signal.aborted || !retryable(policy, error)) {
        return { out: { err: failed(run.name, attempt, error) }, attempts: attempt, error }
      }
      const delay = delayMs(policy, attempt, error, run.random)
      run.onRetry(attempt + 1, delay)
      await pause(run, delay)
    }
  }
}

export function idempotencyKey(messageId: string, branch: number, key: string): string {
  return createHash('sha256').update(`${messageId}\n${branch}\n${key}`).digest('base64url').slice(0, 32)
}

async function attemptOnce(run: StepRun, attempt: number): Promise<unknown> {
  const { timeoutMs } = run.options
  const abort = new AbortController()
  const forward = (): void => abort.abort(run.signal.reason)
  if (run.signal.aborted) forward()
  else run.signal.addEventListener('abort', forward, { once: true })
  const info: StepInfo = { idempotencyKey: run.idempotencyKey, attempt, signal: abort.signal }
  try {
    if (timeoutMs === undefined) return await run.fn(info)
    const late = Promise.withResolvers<never>()
    const timer = run.clock.after(timeoutMs, () => {
      const error = new RuntimeError(
        'STEP_TIMEOUT',
        `Step ${run.name} took longer than ${timeoutMs} ms (attempt ${attempt}).`,
      )
      abort.abort(error)
      late.reject(error)
    })
    try {
      return await Promise.race([run.fn(info), late.promise])
    } finally {
      timer.cancel()
    }
  } finally {
    run.signal.removeEventListener('abort', forward)
  }
}

function retryable(policy: RetryPolicy, error: unknown): boolean {
  if (policy.retryIf !== undefined) return policy.retryIf(error)
  return !(error instanceof RuntimeError) || CODES[error.code].kind === 'operating'
}

function delayMs(policy: RetryPolicy, attempt: number, error: unknown, random: Random): number {
  const asked: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'retryAfterMs') : undefined
  if (typeof asked === 'number' && asked >= 0) return Math.min(asked, RETRY_AFTER_MS_MAX)
  const bound = (policy.initialMs ?? INITIAL_MS) * (policy.factor ?? FACTOR) ** (attempt - 1)
  const capped = Math.min(bound, policy.maxMs ?? MAX_MS)
  return capped / 2 + (random.next() * capped) / 2
}

function pause(run: StepRun, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = run.clock.after(ms, done)
    function done(): void {
      timer.cancel()
      run.signal.removeEventListener('abort', done)
      resolve()
    }
    run.signal.addEventListener('abort', done, { once: true })
  })
}

function failed(name: string, attempts: number, error: unknown): ErrorData {
  const outcome = outcomeOfError(error)
  const cause = 'err' in outcome ? outcome.err : { code: 'Thrown', message: '' }
  return {
    code: 'STEP_FAILED',
    message: `Step ${name} failed after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}: ${cause.message}`,
    cause,
  }
}
