/**
 * What `ctx.step` takes and what a step's function is told. Types only; limits are checked by journal/step-option.ts.
 */
import type { StreamOut } from './stream.ts'

export type RetryPolicy = {
  /** Attempts in all, default 3. Attempts that failed before a crash count; one that a crash cut short does not. */
  max?: number
  /** Milliseconds before the second attempt, default 200. */
  initialMs?: number
  /** Each wait is the one before times this, default 2. */
  factor?: number
  /** Milliseconds, upper bound of a wait, default 30_000 or a longer initialMs. A failure that asks for patience by
   *  `retryAfterMs` may exceed it, up to 15 minutes. */
  maxMs?: number
  /** Part of a wait that is left to chance, 0 to 1, default 0.5: agents that failed together do not retry together. */
  jitter?: number
  /** Asked with the error; false ends the step at once. Default: everything is retried but caller errors of the
   *  runtime and errors that carry `retryable: false`. */
  retryIf?: (error: unknown) => boolean
}

export type StepOptions = {
  retry?: RetryPolicy
  /** Milliseconds per attempt; the attempt's signal is aborted and STEP_TIMEOUT counts as a failure. No default. */
  timeoutMs?: number
  /** Milliseconds from the begin of the first attempt to the outcome: attempts, waits, crashes. STEP_TIMEOUT ends the
   *  step. No default. */
  totalMs?: number
  /** Milliseconds an attempt may go without `info.heartbeat()`; then it fails with STEP_HEARTBEAT_TIMEOUT. */
  heartbeatMs?: number
  /** Identity instead of the per-name counter; needed for parallel steps of one name (T5). */
  key?: string
}

export type StepInfo = {
  /** Stable over attempts, crashes and moves; hand it to the service you call. */
  readonly idempotencyKey: string
  /** Another one for each attempt; an attempt that a crash cut short keeps it when it runs again. */
  readonly attemptKey: string
  /** 1 for the first. */
  readonly attempt: number
  /** Aborted when this attempt must end, its `reason` says why: a time limit, the kill of the process, the end of the
   *  turn (STEP_ABANDONED), an outcome from outside (ALREADY_COMPLETED). */
  readonly signal: AbortSignal
  /** What the latest heartbeat of an earlier attempt reported; undefined when none did. */
  readonly progress: unknown
  /** Says that the attempt is alive; a progress is kept for the next attempt and shown to observers.
   *  @throws the reason of `signal` when the attempt is over  @throws VALUE_UNSUPPORTED VALUE_TOO_LARGE */
  heartbeat(progress?: unknown): void
  /** A stream that this attempt writes, e.g. the text of a model while it comes. A later attempt begins with a reset
   *  that readers see; the step's result comes after all chunks are stored. Durable agents only. */
  stream(name: string): StreamOut
}

/** Options of a step that stays open after its function returned, until somebody outside gives its outcome. */
export type ExternalStepOptions = StepOptions & { external: true }

export type ExternalStepInfo = StepInfo & {
  /** Who has it may complete or fail the step: `runtime.completeStep(token, value)`, `POST /api/v1/steps/{token}/...`.
   *  The same for every attempt, crash and move. A secret. */
  readonly token: string
}
