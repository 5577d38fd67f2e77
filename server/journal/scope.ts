/**
 * `ctx.scope`: a section of a turn that can be cancelled alone, by a time limit or by the code.
 *
 * - Y8: a request belongs to the section in whose asynchronous context it was made, and to those around that one. The
 *   end of a section is heard by all its requests that are open, each as a recorded result; what is asked for in it
 *   later is refused in the same way. So a replay needs to know of no end: it hands the results over.
 * - A time limit is itself a request, whose recorded result is that the limit has passed (`due` is its time, W1). It
 *   stands before the results that it ends, and has its place among all others (T5).
 * - A section that is left takes what it has open along: nothing of it waits for anything any more.
 * - A shielded section (Y3) belongs to no section around it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFromData, isRuntimeError, RuntimeError } from '../../shared/error.ts'
import type { Wait } from '../../shared/snapshot.ts'
import type { Scope, ScopeOptions } from '../definition/context.ts'
import { assertAsked, assertReason, giveUp, type OfScope } from './cancellation.ts'
import type { Shape } from './entry.ts'
import { keepPart } from './kept-part.ts'
import { dataOfError } from './message.ts'
import { assertDuration } from './sleep.ts'
import type { Turn } from './turn.ts'
import { childrenOfScope } from './turn-child.ts'
import type { OpenRequest } from './turn-request.ts'
import { type DurableWait, recordDue, startWait } from './wait.ts'

const NEVER = new Promise<never>(() => {})

/** Where code runs: in a section of a turn, or outside of all its sections. */
const HERE = new AsyncLocalStorage<{ readonly turn: Turn; readonly scope: TurnScope | null }>()

type Ended = { readonly error: RuntimeError; readonly of: OfScope }

export class TurnScope {
  readonly key: string
  readonly parent: TurnScope | null
  /** What its requests hear from now on. */
  ended: Ended | null = null
  readonly #turn: Turn
  #wait: DurableWait | null = null
  #left = false

  constructor(turn: Turn) {
    this.#turn = turn
    this.key = turn.nextKey('scope')
    this.parent = scopeHere(turn)
  }

  /** Begins its time. */
  limit(ms: number): void {
    const guard = this.#turn.request(this.key, () => this.#guard(ms), 'scope')
    guard.catch((error: unknown) => {
      // On a replay; or a section around it ended.
      if (isRuntimeError(error, 'CANCELLED')) this.ended ??= { error, of: { scope: this.key } }
    })
  }

  #guard(ms: number): Promise<unknown> {
    const turn = this.#turn
    if (this.#left) return NEVER
    const at = turn.wallclock()
    const { due, since } = turn.dueOf(this.key) ?? { due: at + Math.ceil(ms), since: at }
    const end = (): void => this.end(`its time limit of ${ms} ms passed`)
    // What was asked for after the limit finds the section over.
    if (due <= at) {
      end()
      return NEVER
    }
    recordDue(turn, this.key, { due, since })
    const view: Wait = { kind: 'sleep', target: 'time limit', since, deadline: due, attempt: 1 }
    this.#wait = startWait(turn, view, () => {
      const place = turn.place()
      if (place === null) return end()
      void place.then(() => {
        if (!turn.closed && turn.process.epoch === turn.epoch && turn.requests.has(this.key)) end()
      })
    })
    turn.requests.onStop(this.key, () => {
      this.#wait?.end()
      return {}
    })
    return NEVER
  }

  /** Everything asked for in it ends, now and later. */
  end(why: string): void {
    if (this.#left || this.ended !== null) return
    const of = { scope: this.key }
    const error = this.#error(why)
    this.ended = { error, of }
    const turn = this.#turn
    if (turn.closed) return
    const children = childrenOfScope(turn.record, turn.accept(), { key: this.key, why })
    // What is recorded is handed over by the replay; what is not is refused when it would begin.
    const list = turn.replaying ? [] : this.#open()
    if (list.length > 0) giveUp(turn, list, { error, children, of })
    else if (children.length > 0) keepPart(turn.ports, turn.record, { messages: children })
  }

  /** The code has left it. */
  leave(): void {
    const turn = this.#turn
    this.#left = true
    this.#wait?.end()
    turn.requests.drop(turn.requests.list.filter(({ key }) => key === this.key))
    if (this.ended !== null || turn.closed) return
    const of = { scope: this.key, left: true } as const
    const error = this.#error('it was left')
    this.ended = { error, of }
    const list = turn.replaying ? [] : this.#open()
    if (list.length > 0) giveUp(turn, list, { error, children: [], of })
  }

  /** Its time limit first; what is short and must be known comes to its outcome (Y3). */
  #open(): OpenRequest[] {
    const { list } = this.#turn.requests
    const inside = list.filter(({ scope, firm }) => !firm && isWithin(scope, this))
    return [...list.filter(({ key }) => key === this.key), ...inside]
  }

  #error(reason: string): RuntimeError {
    const { process, envelope, id } = this.#turn
    const text = `A scope of the operation "${envelope.op}" of ${process.id} was cancelled: ${reason}.`
    const detail = { process: process.id, op: envelope.op, turn: id, by: null, reason, scope: this.key }
    return new RuntimeError('CANCELLED', text, { detail })
  }
}

export async function scopeInTurn<T>(
  turn: Turn,
  options: ScopeOptions,
  fn: (scope: Scope) => T | Promise<T>,
): Promise<T> {
  turn.assertOpen()
  checkOptions(turn, options)
  const scope = new TurnScope(turn)
  turn.scoped = true
  if (options.timeoutMs !== undefined) scope.limit(options.timeoutMs)
  const given: Scope = {
    cancel: (reason) => {
      turn.assertOpen()
      assertReason(reason)
      scope.end(reason ?? 'the code gave it up')
    },
  }
  try {
    return await HERE.run({ turn, scope }, () => fn(given))
  } finally {
    scope.leave()
  }
}

/** Runs in no section of the turn. */
export function outsideScopes<T>(turn: Turn, fn: () => T): T {
  return turn.scoped ? HERE.run({ turn, scope: null }, fn) : fn()
}

export function scopeHere(turn: Turn): TurnScope | null {
  const here = HERE.getStore()
  return here?.turn === turn ? here.scope : null
}

export function isWithin(scope: TurnScope | null, around: TurnScope): boolean {
  for (let one = scope; one !== null; one = one.parent) if (one === around) return true
  return false
}

type Asked = { readonly key: string; readonly shape: Shape; readonly live: () => Promise<unknown> }

/** A request of the section would begin. */
export function liveInScope(turn: Turn, scope: TurnScope, { key, shape, live }: Asked): Promise<unknown> {
  // Given up while it waited for the end of the replay; or the turn goes back (Y4).
  if (turn.rollback?.mayBegin() === false || !turn.requests.has(key)) return NEVER
  for (let one: TurnScope | null = scope; one !== null; one = one.parent) {
    if (one.ended !== null) return refuse(turn, { key, shape, ...one.ended })
  }
  return live()
}

/** T5: heard a macrotask after the asking, as a replay has it. */
async function refuse(turn: Turn, { key, shape, of, error }: Omit<Asked, 'live'> & Ended): Promise<never> {
  await new Promise<void>((resolve) => turn.ports.clock.macrotask(resolve))
  const place = turn.place()
  if (place !== null) await place
  turn.assertOpen()
  assertAsked(turn, key)
  const err = dataOfError(error)
  turn.append({ k: 'cancelled', turn: turn.id, key, shape, err, ...of, at: turn.stamp() })
  throw errorFromData(err)
}

function checkOptions(turn: Turn, options: ScopeOptions): void {
  const unknown = Object.keys(options).find((name) => name !== 'timeoutMs')
  if (unknown !== undefined) {
    throw new RuntimeError(
      'REQUEST_INVALID',
      `A scope of ${turn.process.id} has no option "${unknown}"; use timeoutMs.`,
    )
  }
  if (options.timeoutMs !== undefined) assertDuration('A time limit', options.timeoutMs)
}
