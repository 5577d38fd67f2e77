/**
 * Compensation: what a turn registered with `ctx.onRollback` runs in reverse when the turn fails for good, is rejected
 * or is cancelled (a saga).
 *
 * - Y4: that it rolls back is decided once, by an entry (`rollback`). From then on the code of the turn goes no
 *   further: a replay passes what was recorded before, which registers the functions again, and the rollback goes on.
 * - Y5: each function is a step of its own under a key of its own: retried, recorded, never run again once recorded.
 *   One that fails for good does not stop the others; nothing cancels them.
 * - A registration is an entry, so that a turn whose attempts are used up owes its rollback even when no code of it
 *   runs any more.
 */
import { type ErrorData, errorFromData, RuntimeError } from '../../shared/error.ts'
import type { StepOptions } from '../definition/step.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { EndKind, Entry, Outcome } from './entry.ts'
import { newFailure } from './failure.ts'
import { dataOfError } from './message.ts'
import type { OpenTurn } from './record.ts'
import { planOf, type StepPlan } from './step-option.ts'
import { emitFailure } from './store-exit.ts'
import type { Turn } from './turn.ts'
import { joinInTurn } from './turn-start.ts'
import { isInStep, requestStep, type StepFn } from './turn-step.ts'

/** Compensations of one turn. One that registers more does so in a loop without an end. */
const UNDO_MAX = 1_000
/** Attempts beyond those of the agent in which a rollback may be interrupted by kills before its message is buried. */
const EXTRA_ATTEMPTS = 20

/** Why a turn rolls back: `failed` is a crash in the last attempt. */
export type RollbackCause = Exclude<EndKind, 'done'> | 'failed'

/** What keys of compensations begin with. */
export const ROLLBACK = '$rollback:'

type Undo = { readonly key: string; readonly name: string; readonly fn: StepFn; readonly plan: StepPlan }
type Begun = Extract<Entry, { k: 'rollback' }>
type Over = Extract<Entry, { k: 'rolled-back' }>
type Failed = Over['failed'][number]

export function onRollbackInTurn(turn: Turn, name: string, fn: StepFn, options?: StepOptions): void {
  turn.assertOpen()
  const plan = planOf(name, options)
  const refuse = (why: string): never => {
    throw new RuntimeError('REQUEST_INVALID', `The compensation "${name}" of ${turn.process.id} ${why}.`)
  }
  if (typeof fn !== 'function') refuse(`is ${typeof fn}; give a function`)
  if (plan.external) refuse('cannot be completed from outside')
  if (isInStep(turn)) refuse('is registered inside a step, where no replay comes by; register it beside the step')
  if (turn.isHook) refuse('is registered in `activated`, which handles no message')
  turn.accept()
  turn.rollback ??= new Rollback(turn, [])
  if (!turn.rollback.register({ key: turn.nextKey(`${ROLLBACK}${name}`), name, fn, plan })) {
    refuse(`is one of more than ${UNDO_MAX}`)
  }
}

export class Rollback {
  readonly #turn: Turn
  readonly #registered: Undo[] = []
  /** Keys of the registrations in the journal. */
  readonly #recorded = new Set<string>()
  #begun: Begun | null
  #isOver: boolean
  readonly #results = new Map<string, Outcome>()
  /** `due`: the code may pass what is recorded and go no further. */
  #phase: 'forward' | 'due' | 'running' = 'forward'
  #own = false
  readonly #stuck = Promise.withResolvers<void>()

  /** @param entries  of the open turn */
  constructor(turn: Turn, entries: readonly Entry[]) {
    this.#turn = turn
    this.#begun = begunIn(entries)
    this.#isOver = entries.some((entry) => entry.k === 'rolled-back')
    for (const entry of entries.slice(this.#begun === null ? entries.length : entries.indexOf(this.#begun))) {
      if (entry.k === 'step') this.#results.set(entry.key, entry.out)
    }
    for (const entry of entries) if (entry.k === 'undo') this.#recorded.add(entry.of)
  }

  /** False when there are too many. */
  register(undo: Undo): boolean {
    if (this.#registered.length >= UNDO_MAX) return false
    this.#registered.push(undo)
    const { turn, key: of, name } = { turn: this.#turn, ...undo }
    if (!this.#recorded.has(of)) turn.append({ k: 'undo', turn: turn.id, of, name })
    this.#recorded.add(of)
    return true
  }

  /** The turn will not go on, whatever its code says now. */
  isDue(attemptsMax: number): boolean {
    return this.#begun !== null || (!this.#isOver && this.#turn.envelope.attempts >= attemptsMax)
  }

  /** Whether a request may be made live. */
  mayBegin(): boolean {
    if (this.#phase === 'due') this.#stuck.resolve()
    return this.#phase === 'forward' || this.#own
  }

  /** Runs the code to the place that it had come to, and rolls back. Resolves with how the turn ends. */
  async resume(code: () => unknown): Promise<{ cause: RollbackCause; error: RuntimeError }> {
    const turn = this.#turn
    this.#phase = 'due'
    const join = (): Promise<unknown> | null => joinInTurn(turn)
    const ended = new Promise((resolve) => resolve(code())).then(join, join)
    await Promise.race([ended, this.#stuck.promise])
    if (turn.unreplayed !== null) {
      turn.diverge({ asked: [], ended: 'the end of the turn' })
      return new Promise(() => {})
    }
    const begun = this.#begun
    const error = begun === null ? usedUp(turn) : errorFromData(begun.err)
    const cause = begun?.cause ?? 'failed'
    await this.run(cause, error)
    return { cause, error }
  }

  /** Resolves when all have an outcome; never, when the turn is killed meanwhile. */
  async run(cause: RollbackCause, error: unknown): Promise<void> {
    const turn = this.#turn
    this.#phase = 'running'
    turn.endReplay()
    for (const { stop } of turn.requests.drop()) stop?.(null)
    this.#begun ??= this.#begin(cause, error)
    if (this.#isOver) return
    const failed: Failed[] = []
    for (const key of [...this.#begun.undo].reverse()) {
      const failure = await this.#undo(key)
      if (turn.closed || turn.process.epoch !== turn.epoch) return new Promise(() => {})
      if (failure !== null) failed.push(failure)
    }
    this.#isOver = true
    this.#finish(failed)
  }

  #begin(cause: RollbackCause, error: unknown): Begun {
    const turn = this.#turn
    const undo = [...this.#recorded]
    const entry = { k: 'rollback' as const, turn: turn.id, cause, err: dataOfError(error), undo, at: turn.stamp() }
    turn.append(entry, {}, () => turn.ports.crash.hit('rollback:begun'))
    return entry
  }

  async #undo(key: string): Promise<Failed | null> {
    const turn = this.#turn
    const known = this.#results.get(key)
    const undo = this.#registered.find((one) => one.key === key)
    const name = undo?.name ?? key.slice(ROLLBACK.length)
    if (known !== undefined) return 'ok' in known ? null : { name, err: known.err }
    if (undo === undefined) return { name, err: notRegistered(turn, name) }
    try {
      await this.#step(undo)
      return null
    } catch (error) {
      return { name, err: dataOfError(error) }
    } finally {
      turn.ports.crash.hit('rollback:undone')
    }
  }

  #step({ key, name, fn, plan }: Undo): Promise<unknown> {
    this.#own = true
    try {
      return requestStep(this.#turn, { name: `rollback ${name}`, key, fn, plan, firm: true })
    } finally {
      this.#own = false
    }
  }

  #finish(failed: readonly Failed[]): void {
    const turn = this.#turn
    const { ports, process, envelope } = turn
    const failures = failed.map(({ err }) =>
      newFailure({
        ...{ id: ports.newId(), process, error: errorFromData(err), class: 'RollbackFailed', envelope },
        ...{ attempt: envelope.attempts + 1, decision: 'end' },
      }),
    )
    turn.append({ k: 'rolled-back', turn: turn.id, failed, at: turn.stamp() }, { failures }, () => {
      ports.crash.hit('rollback:over')
      for (const failure of failures) emitFailure(ports, process, failure)
    })
  }
}

function begunIn(entries: readonly Entry[]): Begun | null {
  return entries.find((entry) => entry.k === 'rollback') ?? null
}

/** What the code of the turn recorded; what follows was recorded by its rollback. */
export function beforeRollback(entries: readonly Entry[]): readonly Entry[] {
  const begun = begunIn(entries)
  return begun === null ? entries : entries.slice(0, entries.indexOf(begun))
}

export function recordedRollback(turn: Turn, entries: readonly Entry[]): Rollback | null {
  return entries.some(({ k }) => k === 'undo' || k === 'rollback') ? new Rollback(turn, entries) : null
}

/** Compensations of the open turn that are registered and have not run. */
function owed({ entries }: OpenTurn): string[] {
  if (entries.some((entry) => entry.k === 'rolled-back')) return []
  const begun = begunIn(entries)
  const after = begun === null ? [] : entries.slice(entries.indexOf(begun))
  return entries.flatMap((entry) => {
    if (entry.k !== 'undo') return []
    return after.some((one) => one.k === 'step' && one.key === entry.of) ? [] : [entry.name]
  })
}

/** Whether the message must not be buried yet: its turn has something to take back. */
export function owesRollback(open: OpenTurn | null, { messageId, attempts }: Envelope, attemptsMax: number): boolean {
  return open?.turn === messageId && attempts < attemptsMax + EXTRA_ATTEMPTS && owed(open).length > 0
}

/** Whether its turn is on its way back, or has to be. */
export function isBackingOut(open: OpenTurn | null, envelope: Envelope, attemptsMax: number): boolean {
  if (open?.turn !== envelope.messageId) return false
  return begunIn(open.entries) !== null || owesRollback(open, envelope, attemptsMax)
}

/** What a dead letter says of the rollback of its turn; empty when there is nothing to say. */
export function rollbackWords(open: OpenTurn): string {
  const over = open.entries.find((entry) => entry.k === 'rolled-back')
  const failed = over?.failed.map(({ name }) => name) ?? []
  if (failed.length > 0) return `; its rollback failed in ${failed.join(', ')}`
  const left = owed(open)
  return left.length === 0 ? '' : `; not rolled back: ${left.join(', ')}`
}

function usedUp({ envelope, process }: Turn): RuntimeError {
  const text = `The operation "${envelope.op}" of ${process.id} used up its ${envelope.attempts} attempts.`
  return new RuntimeError('PROCESS_EXITED', text)
}

function notRegistered({ process }: Turn, name: string): ErrorData {
  const text = `The code of ${process.id} did not register the compensation "${name}" again, so it could not be run.`
  return dataOfError(new RuntimeError('REQUEST_INVALID', text))
}
