/**
 * `ctx.step` of a durable turn: waits until everything before it is stored, runs, records, hands over.
 *
 * - The state is read-only while a step's function runs (T5): a change there would be repeated by no replay.
 * - The result is handed over at once; its row leaves with the next commit (T7).
 * - A failed attempt is an entry when another one follows, so that a crash resets neither count nor time.
 * - A step that still runs when its turn ends is given up: its signal is aborted, its promise is rejected with
 *   STEP_ABANDONED (or CONTEXT_CLOSED after a crash or kill), nothing of it is recorded, and its effect may have
 *   happened.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFromData, RuntimeError } from '../../shared/error.ts'
import type { Wait } from '../../shared/snapshot.ts'
import type { Value } from '../../shared/value.ts'
import type { ExternalStepOptions, StepInfo, StepOptions } from '../definition/step.ts'
import type { StreamOut } from '../definition/stream.ts'
import type { Clock, Random } from '../kernel/clock-port.ts'
import { handOver } from './bytes.ts'
import { cancelledIn } from './cancellation.ts'
import type { Outcome } from './entry.ts'
import { runExternal } from './external-step.ts'
import { outcomeOfError } from './message.ts'
import { Progress, shownProgress } from './progress.ts'
import type { Part } from './record.ts'
import { idempotencyKey, type Retry, type StepHost, type StepPast, StepRun } from './step.ts'
import { planOf, type StepPlan } from './step-option.ts'
import type { Turn } from './turn.ts'
import { endStreams, streamsOf } from './turn-stream.ts'
import { firstWait } from './wait.ts'

export type StepFn = (info: never) => unknown

export function stepInTurn(
  turn: Turn,
  name: string,
  fn: StepFn,
  options?: StepOptions | ExternalStepOptions,
): Promise<unknown> {
  turn.assertOpen()
  const plan = planOf(name, options)
  return requestStep(turn, { name, key: turn.key(name, options?.key), plan, fn })
}

/** A step under a name of the runtime's: whoever asks has checked what is in it. */
export function requestStep(turn: Turn, step: Omit<Asked, 'promise'> & { firm?: boolean }): Promise<unknown> {
  turn.assertOpen()
  const asked: Asked = { ...step, promise: null }
  const promise = turn.request(
    asked.key,
    () => {
      const live = new LiveStep(turn, asked)
      turn.requests.onStop(asked.key, (reason) => live.cancel(reason))
      return asked.plan.external ? runExternal(live) : runHere(live)
    },
    'result',
    step.firm,
  )
  asked.promise = promise
  return promise
}

/** Entered while a step's function runs, with everything it awaits; its own turn only, not what runs beside it. */
const SCOPE = new AsyncLocalStorage<Turn>()

export function isInStep(turn: Turn): boolean {
  return SCOPE.getStore() === turn
}

type Asked = { name: string; key: string; fn: StepFn; plan: StepPlan; promise: Promise<unknown> | null }

async function runHere(step: LiveStep): Promise<unknown> {
  const { turn, plan, past } = step
  await step.ready()
  turn.assertOpen()
  // Its time counts from here also after a crash; no effect is lost with the entry, so nothing waits for it.
  if (plan.totalMs !== null && past?.began == null) step.open(null)
  const run = step.begin(step.given as (info: StepInfo) => unknown) // not external: the caller's overload
  const result = await turn.ports.tracing.step(turn.process, step.name, () => run.run())
  if (result.kind === 'ended') throw step.ended(result.reason)
  return step.record(result.out, result.attempts)
}

/** A step of a turn while it is live. */
export class LiveStep implements StepHost {
  readonly turn: Turn
  readonly name: string
  readonly key: string
  /** The function as it was given. */
  readonly given: StepFn
  readonly plan: StepPlan
  past: (StepPast & { readonly token?: string | null; readonly handed?: number | null; readonly round?: number }) | null
  /** Shown while nothing else of the turn is newer. */
  wait: Wait | null = null
  onEnd: (() => void) | null = null
  readonly #asked: Asked
  #fn: ((info: StepInfo) => unknown) | null = null
  #run: StepRun | null = null
  #progress: Progress | null = null
  #startedAt = 0
  #ended: { reason: unknown } | null = null

  constructor(turn: Turn, asked: Asked) {
    this.turn = turn
    this.name = asked.name
    this.key = asked.key
    this.given = asked.fn
    this.plan = asked.plan
    this.#asked = asked
    this.past = turn.steps?.get(asked.key) ?? null
    turn.running ??= new Set()
    turn.running.add(this)
  }

  // What a run asks for

  get clock(): Clock {
    return this.turn.ports.clock
  }

  get random(): Random {
    return this.turn.ports.random
  }

  readonly fn = (info: StepInfo): unknown => SCOPE.run(this.turn, this.#fn ?? this.given, info as never) // set by begin

  now(): number {
    return this.turn.wallclock()
  }

  ready(): Promise<void> {
    return this.turn.flushed()
  }

  held(): Promise<void> | null {
    return this.turn.ports.leaseHeld()
  }

  idempotencyKey(): string {
    return idempotencyKey(this.turn.id, this.turn.accept().branch, this.key)
  }

  attemptKey(n: number): string {
    return idempotencyKey(this.turn.id, this.turn.accept().branch, `${this.key}\n${this.past?.round ?? 0}\n${n}`)
  }

  /** The turn is over. */
  end(reason: unknown): void {
    // Given up, it is heard by whoever raced it; a loser nobody looks at is no floating rejection.
    this.#asked.promise?.catch(() => {})
    this.onEnd?.()
    this.#ended = { reason }
    this.#progress?.close()
    this.#run?.end(reason)
  }

  /** Y2: the turn goes on without it. */
  cancel(reason: RuntimeError | null): Partial<Part> {
    this.end(reason ?? cancelledIn(this.turn))
    this.turn.running?.delete(this)
    this.#unshow()
    return {}
  }

  /** The attempt in hand is not needed any more, but the step is. */
  endAttempt(reason: unknown): void {
    this.#run?.end(reason)
  }

  /** What a step that was given up says to those who still look at it. */
  ended(reason: unknown = this.#ended?.reason): unknown {
    if (reason instanceof RuntimeError && reason.code === 'STEP_ABANDONED') return reason
    try {
      this.turn.assertOpen()
    } catch (closed) {
      return closed
    }
    return reason
  }

  open(token: string | null): number {
    const at = this.turn.wallclock()
    this.turn.append({ k: 'opened', turn: this.turn.id, key: this.key, token, at })
    return at
  }

  begin(fn: (info: StepInfo) => unknown, began: number | null = null): StepRun {
    this.#fn = fn
    this.#startedAt = this.clock.monotonic()
    if (began !== null && this.past?.began == null) {
      this.past = { failed: 0, due: 0, progress: undefined, ...this.past, began }
    }
    this.#run = new StepRun(this)
    if (this.#ended !== null) this.#run.end(this.#ended.reason)
    return this.#run
  }

  stream(name: string, info: StepInfo): StreamOut {
    return streamsOf(this.turn).ofStep(this.key, info, name)
  }

  onWait(attempt: number, due: number): void {
    this.show({ kind: 'retry', deadline: due, attempt })
  }

  onRetry({ attempt, began, due, error, progress }: Retry): void {
    this.#progress?.close()
    const out = outcomeOfError(error)
    if (!('err' in out)) return
    const { turn, key } = this
    const { crash } = turn.ports
    crash.hit('step:attempt-failed')
    const entry = { k: 'retry' as const, turn: turn.id, key, attempt, began, due: Math.ceil(due), err: out.err }
    const stored = (): void => crash.hit('step:retry-stored')
    turn.append(progress === undefined ? entry : { ...entry, progress }, {}, stored)
  }

  /** Records the one outcome and hands it over. */
  record(out: Outcome, attempts: number, more?: () => Partial<Part>): unknown {
    this.#progress?.close()
    // M8: what a reader may have seen is stored before the result that says so.
    const streamed = this.turn.streams?.ended(this.key) ?? null
    if (streamed !== null) return streamed.then(() => this.#place(out, attempts, more))
    return this.#place(out, attempts, more)
  }

  #place(out: Outcome, attempts: number, more?: () => Partial<Part>): unknown {
    const place = this.turn.place()
    if (place !== null) {
      return place.then(() => {
        this.turn.ports.crash.hit('step:handed-over')
        return this.#record(out, attempts, more)
      })
    }
    return this.#record(out, attempts, more)
  }

  #record(out: Outcome, attempts: number, more?: () => Partial<Part>): unknown {
    const { turn, key } = this
    if (turn.closed || this.#ended !== null) throw this.ended()
    turn.assertOpen()
    turn.running?.delete(this)
    this.#unshow()
    const ends = 'ok' in out ? turn.streams?.closedBy(key) : undefined
    const entry = { k: 'step' as const, turn: turn.id, key, out, attempts, at: turn.stamp() }
    turn.append(ends === undefined ? entry : { ...entry, ends }, more?.())
    if (ends !== undefined) endStreams(turn, ends)
    this.#emitStop(attempts, 'err' in out)
    if ('ok' in out) return handOver(out.ok)
    throw errorFromData(out.err)
  }

  /** What the process waits for, as observers see it. */
  show({ kind, deadline, attempt }: Pick<Wait, 'kind' | 'deadline' | 'attempt'>, target = this.name): void {
    const since = this.turn.ports.clock.now()
    const { max } = this.plan
    const of = attempt > 1 ? { attempts: max } : {}
    this.wait = { kind, target, since, deadline, attempt, ...of }
    this.turn.process.wait = this.wait
  }

  #unshow(): void {
    const { process, record, running } = this.turn
    let wait: Wait | null = null
    for (const step of running ?? []) wait = step.wait ?? wait
    process.wait = wait ?? firstWait(record)
  }

  onAttempt(attempt: number, deadline: number | null): void {
    this.show({ kind: 'step', deadline, attempt })
    const { ports, process, id: turn } = this.turn
    if (!ports.watching('step:start')) return
    const { id, incarnation } = process
    ports.emit({ kind: 'step:start', at: ports.clock.now(), id, incarnation, turn, step: this.name, attempt })
  }

  onProgress(value: Value): void {
    const { turn, key } = this
    if (this.wait !== null) {
      const shown = turn.process.wait === this.wait
      this.wait = { ...this.wait, progress: shownProgress(value) }
      if (shown) turn.process.wait = this.wait
    }
    this.#progress ??= new Progress(turn.ports.clock, (latest) => {
      if (turn.closed) return
      const stored = (): void => turn.ports.crash.hit('step:progress-stored')
      turn.append({ k: 'progress', turn: turn.id, key, value: latest }, {}, stored)
    })
    this.#progress.report(value)
  }

  #emitStop(attempt: number, failed: boolean): void {
    const { ports, process, id: turn } = this.turn
    if (!ports.watching('step:stop')) return
    const { id, incarnation } = process
    const durationMs = ports.clock.monotonic() - this.#startedAt
    const outcome = failed ? 'failed' : 'done'
    const at = ports.clock.now()
    ports.emit({ kind: 'step:stop', at, id, incarnation, turn, step: this.name, attempt, durationMs, outcome })
  }
}
