/**
 * One recorded side effect: runs a function until it succeeds or its policy says no, and never throws.
 *
 * - The function runs at least once per step and exactly once is recorded; its idempotency key is the same for every
 *   attempt, crash and move (T4).
 * - A run goes on where the journal left it: attempts that failed before a crash count, a wait goes on until its time,
 *   the total time began with the first attempt.
 * - Back-off is exponential with jitter below the bound, so that agents which failed together do not retry together; a
 *   failure that names `retryAfterMs` is believed.
 * - `end` is for the turn and the process: the attempt is aborted and no other one begins.
 */
import { createHash } from 'node:crypto'
import { CODES, type ErrorData, RuntimeError } from '../../shared/error.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { StepInfo } from '../definition/step.ts'
import type { Random } from '../kernel/clock-port.ts'
import { Attempt, type AttemptHost, totalOver } from './attempt.ts'
import type { Outcome } from './entry.ts'
import { outcomeOfError } from './message.ts'
import type { StepPlan } from './step-option.ts'

/** A service may ask for patience, but not for days: a step is not a timer. */
export const RETRY_AFTER_MS_MAX = 15 * 60_000

/** What is known of earlier attempts. */
export type StepPast = {
  /** Attempts that failed. */
  readonly failed: number
  /** Epoch ms at which the first attempt began. */
  readonly began: number | null
  /** Epoch ms before which the next attempt must not begin. */
  readonly due: number
  readonly progress: Value | undefined
}

export type Retry = { attempt: number; began: number; due: number; error: unknown; progress: Value | undefined }

/** Whoever runs the step: told what happens, asked for what is known. */
export type StepHost = AttemptHost & {
  readonly fn: (info: StepInfo) => unknown
  readonly past: StepPast | null
  readonly random: Random
  /** Epoch ms by which due times and total times are told. */
  now(): number
  /** Told before each attempt and before each wait. */
  onAttempt(attempt: number, deadline: number | null): void
  onWait(attempt: number, due: number): void
  /** An attempt failed and another one follows. */
  onRetry(retry: Retry): void
  /** Resolves when the next attempt may begin: what was recorded before it is safe. */
  ready(): Promise<void> | void
  /** N9: null while nobody else can own the process; else resolves when to ask again. */
  held(): Promise<void> | null
}

export type StepResult =
  | { kind: 'done'; out: Outcome; attempts: number; error: unknown }
  | { kind: 'ended'; reason: unknown }

export class StepRun {
  readonly #host: StepHost
  #attempt: Attempt | null = null
  #wake: (() => void) | null = null
  #ended: { reason: unknown } | null = null
  #progress: Value | undefined

  constructor(host: StepHost) {
    this.#host = host
    this.#progress = host.past?.progress
  }

  /** Whoever waited for the step is gone. */
  end(reason: unknown): void {
    if (this.#ended !== null) return
    this.#ended = { reason }
    this.#attempt?.end(reason)
    this.#wake?.()
  }

  async run(): Promise<StepResult> {
    const host = this.#host
    const { past, plan, name, fn } = host
    const began = past?.began ?? host.now()
    const deadline = plan.totalMs === null ? null : began + plan.totalMs
    if (past !== null) await this.#waitUntil(past.due, past.failed + 1)
    for (let number = (past?.failed ?? 0) + 1; ; number++) {
      // Asked last: between this answer and the function nothing may come, or a node that is frozen there runs on.
      for (let held = host.held(); held !== null; held = host.held()) await held
      if (this.#ended !== null) return { kind: 'ended', reason: this.#ended.reason }
      const leftMs = deadline === null ? null : deadline - host.now()
      if (leftMs !== null && leftMs <= 0) return failed(name, number - 1, totalOver(name, plan.totalMs ?? 0))
      host.onAttempt(number, this.#limit(deadline))
      const attempt = new Attempt(host, number, { leftMs, progress: this.#progress })
      this.#attempt = attempt
      let error: unknown
      try {
        const value = await attempt.run(fn)
        attempt.close()
        return { kind: 'done', out: { ok: value === undefined ? null : copy(value) }, attempts: number, error: null }
      } catch (thrown) {
        attempt.close()
        error = thrown
      }
      this.#attempt = null
      this.#progress = attempt.progress
      const verdict = this.#judge(number, error, deadline)
      if (verdict.kind !== 'again') return verdict
      host.onRetry({ attempt: number, began, due: verdict.due, error, progress: this.#progress })
      await this.#waitUntil(verdict.due, number + 1)
      if (this.#ended === null) await host.ready()
    }
  }

  #judge(attempt: number, error: unknown, deadline: number | null): StepResult | { kind: 'again'; due: number } {
    const { plan, name, random } = this.#host
    if (this.#ended !== null) return { kind: 'ended', reason: this.#ended.reason }
    if (attempt >= plan.max) return failed(name, attempt, error)
    const again = retryable(plan, error)
    if (again.kind === 'broken') return failed(name, attempt, again.error)
    if (again.kind === 'no') return failed(name, attempt, error)
    const now = this.#host.now()
    const due = now + delayMs(plan, attempt, error, random)
    if (deadline === null || due < deadline) return { kind: 'again', due }
    if (now >= deadline) return failed(name, attempt, error)
    return failed(name, attempt, error, `; its ${plan.totalMs} ms in all leave no room for another`)
  }

  #limit(deadline: number | null): number | null {
    const { timeoutMs } = this.#host.plan
    if (timeoutMs === null) return deadline
    const own = this.#host.now() + timeoutMs
    return deadline === null ? own : Math.min(own, deadline)
  }

  async #waitUntil(due: number, attempt: number): Promise<void> {
    const ms = due - this.#host.now()
    if (ms <= 0 || this.#ended !== null) return
    this.#host.onWait(attempt, due)
    await new Promise<void>((resolve) => {
      const timer = this.#host.clock.after(ms, done)
      this.#wake = done
      function done(): void {
        timer.cancel()
        resolve()
      }
    })
    this.#wake = null
  }
}

export function idempotencyKey(messageId: string, branch: number, key: string): string {
  return createHash('sha256').update(`${messageId}\n${branch}\n${key}`).digest('base64url').slice(0, 32)
}

type Retryable = { kind: 'yes' } | { kind: 'no' } | { kind: 'broken'; error: unknown }

function retryable(plan: StepPlan, error: unknown): Retryable {
  if (plan.retryIf !== null) {
    try {
      return { kind: plan.retryIf(error) ? 'yes' : 'no' }
    } catch (thrown) {
      return { kind: 'broken', error: thrown } // a policy that cannot decide must be seen, not guessed at
    }
  }
  if (error instanceof RuntimeError) return { kind: CODES[error.code].kind === 'operating' ? 'yes' : 'no' }
  return { kind: fieldOf(error, 'retryable') === false ? 'no' : 'yes' }
}

function delayMs(plan: StepPlan, attempt: number, error: unknown, random: Random): number {
  const asked = fieldOf(error, 'retryAfterMs')
  if (typeof asked === 'number' && asked >= 0) return Math.min(asked, RETRY_AFTER_MS_MAX)
  const capped = Math.min(plan.initialMs * plan.factor ** (attempt - 1), plan.maxMs)
  return capped * (1 - plan.jitter) + random.next() * capped * plan.jitter
}

function fieldOf(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined
}

function failed(name: string, attempts: number, error: unknown, why = ''): StepResult {
  return { kind: 'done', out: { err: stepFailed(name, attempts, error, why) }, attempts, error }
}

export function stepFailed(name: string, attempts: number, error: unknown, why = ''): ErrorData {
  const outcome = outcomeOfError(error)
  const cause = 'err' in outcome ? outcome.err : { code: 'Thrown', message: '' }
  const after = `after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`
  return { code: 'STEP_FAILED', message: `Step ${name} failed ${after}${why}: ${cause.message}`, cause }
}
