/**
 * One attempt of a step: the function, its signal, its time limits, its heartbeats.
 *
 * - It ends exactly once: by the function, or by `end`, whichever is first. What the function does later is ignored;
 *   its heartbeats then throw the reason, so that work nobody waits for learns of it.
 * - Signal and keys are made when they are asked for: most steps never look at them.
 */
import { RuntimeError } from '../../shared/error.ts'
import { copy, encodeCopied, type Value } from '../../shared/value.ts'
import type { StepInfo } from '../definition/step.ts'
import type { StreamOut } from '../definition/stream.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { isThenable } from '../kernel/thenable.ts'
import type { StepPlan } from './step-option.ts'

/** Characters of an encoded progress: a place in a list or a cursor, not the work itself. */
export const PROGRESS_CHARACTERS_MAX = 65_536

/** Whoever runs the step; asked only for what its function looks at. */
export type AttemptHost = {
  readonly name: string
  readonly plan: StepPlan
  readonly clock: Clock
  idempotencyKey(): string
  attemptKey(attempt: number): string
  /** @throws CONTEXT_CLOSED REQUEST_INVALID */
  stream(name: string, info: StepInfo): StreamOut
  /** A heartbeat came. */
  onProgress(value: Value): void
}

export class Attempt {
  readonly number: number
  /** What the latest heartbeat reported, of this attempt or an earlier one. */
  progress: Value | undefined
  readonly host: AttemptHost
  readonly #leftMs: number | null
  #timers: Timer[] | null = null
  #abort: AbortController | null = null
  #over: { reason: unknown } | null = null
  #aborted = false
  #reject: ((reason: unknown) => void) | null = null
  #silence: Timer | null = null

  /** @param leftMs  milliseconds until the total time is over; null without one */
  constructor(
    host: AttemptHost,
    number: number,
    { leftMs, progress }: { leftMs: number | null; progress: Value | undefined },
  ) {
    this.host = host
    this.number = number
    this.progress = progress
    this.#leftMs = leftMs
  }

  run(fn: (info: StepInfo) => unknown): Promise<unknown> {
    const { plan } = this.host
    return new Promise((resolve, reject) => {
      this.#reject = reject
      if (plan.timeoutMs !== null || this.#leftMs !== null) this.#limit(plan)
      if (plan.heartbeatMs !== null) this.#listen(plan.heartbeatMs)
      try {
        const value = fn(new Info(this))
        if (isThenable(value)) value.then(resolve, reject)
        else resolve(value)
      } catch (error) {
        reject(error)
      }
    })
  }

  #limit({ timeoutMs, totalMs }: StepPlan): void {
    const { clock, name } = this.host
    this.#timers = []
    if (timeoutMs !== null) {
      const text = `Step ${name} took longer than ${timeoutMs} ms (attempt ${this.number}).`
      this.#timers.push(clock.after(timeoutMs, () => this.end(new RuntimeError('STEP_TIMEOUT', text))))
    }
    if (this.#leftMs !== null) {
      this.#timers.push(longTimer(clock, this.#leftMs, () => this.end(totalOver(name, totalMs ?? 0))))
    }
  }

  /** The attempt is over, with this reason if the function has not ended it before. */
  end(reason: unknown): void {
    if (this.#over !== null) return
    this.#aborted = true
    this.close(reason)
    this.#abort?.abort(reason)
    this.#reject?.(reason)
  }

  /** The function has ended: no timer and no heartbeat counts any more. What it left running is not aborted. */
  close(reason?: unknown): void {
    if (this.#over !== null) return
    this.#over = { reason }
    for (const timer of this.#timers ?? []) timer.cancel()
    this.#silence?.cancel()
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController()
      if (this.#aborted) this.#abort.abort(this.#over?.reason)
    }
    return this.#abort.signal
  }

  heartbeat(progress: unknown): void {
    const { name, plan } = this.host
    if (this.#over !== null) {
      const text = `Attempt ${this.number} of step ${name} is over.`
      throw this.#aborted ? this.#over.reason : new RuntimeError('CONTEXT_CLOSED', text)
    }
    if (plan.heartbeatMs !== null) this.#listen(plan.heartbeatMs)
    if (progress === undefined) return
    this.progress = checked(name, progress)
    this.host.onProgress(this.progress)
  }

  #listen(heartbeatMs: number): void {
    this.#silence?.cancel()
    this.#silence = this.host.clock.after(heartbeatMs, () => {
      const text = `Step ${this.host.name} gave no heartbeat for ${heartbeatMs} ms (attempt ${this.number}).`
      this.end(new RuntimeError('STEP_HEARTBEAT_TIMEOUT', text))
    })
  }
}

/** What the function sees: nothing of it costs anything before it is looked at. */
class Info implements StepInfo {
  readonly attempt: number
  readonly progress: unknown
  readonly #of: Attempt

  constructor(of: Attempt) {
    this.attempt = of.number
    this.progress = of.progress
    this.#of = of
  }

  get idempotencyKey(): string {
    return this.#of.host.idempotencyKey()
  }

  get attemptKey(): string {
    return this.#of.host.attemptKey(this.attempt)
  }

  get signal(): AbortSignal {
    return this.#of.signal
  }

  /** Bound: it may be taken out of the info and handed on. */
  get heartbeat(): (progress?: unknown) => void {
    return (progress) => this.#of.heartbeat(progress)
  }

  /** Bound, as above. */
  get stream(): (name: string) => StreamOut {
    return (name) => this.#of.host.stream(name, this)
  }
}

/** @throws VALUE_UNSUPPORTED VALUE_TOO_LARGE */
function checked(name: string, progress: unknown): Value {
  const value = copy(progress)
  const { length } = encodeCopied(value)
  if (length <= PROGRESS_CHARACTERS_MAX) return value
  throw new RuntimeError(
    'VALUE_TOO_LARGE',
    `Progress of step ${name} has ${length} characters; at most ${PROGRESS_CHARACTERS_MAX} are kept.`,
  )
}

export function totalOver(name: string, totalMs: number): RuntimeError {
  return new RuntimeError('STEP_TIMEOUT', `Step ${name} had ${totalMs} ms in all; they are over.`)
}

/** The longest wait a timer of the platform can do, 24 days; longer ones are made of several. */
const TIMER_MS_MAX = 2_147_483_647

function longTimer(clock: Clock, ms: number, fn: () => void): Timer {
  if (ms <= TIMER_MS_MAX) return clock.after(ms, fn)
  let timer = clock.after(TIMER_MS_MAX, next)
  let left = ms - TIMER_MS_MAX
  return { cancel: () => timer.cancel(), keepAlive: (on) => timer.keepAlive(on) }

  function next(): void {
    const part = Math.min(left, TIMER_MS_MAX)
    left -= part
    timer = clock.after(part, left > 0 ? next : fn)
  }
}
