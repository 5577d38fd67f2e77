/**
 * Operator verbs that come by the feed.
 *
 * - F11: a key acts once, also when it comes again on another connection because the answer was lost; the repeated
 *   request gets the first one's outcome. A key with another request is refused.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ClientFrame } from '../../shared/frame.ts'
import { fromPlain, toPlain } from '../../shared/plain.ts'
import { type Caller, requireRole } from '../../shared/role.ts'
import type { Clock } from '../clock.ts'
import type { Act, Control, SandboxAnswer } from '../control.ts'

type ActFrame = Extract<ClientFrame, { t: 'act' }>

/** Milliseconds a key is remembered: longer than anybody waits before pressing again. */
const KEY_MS = 600_000
const KEYS_MAX = 10_000

type Done = { request: string; outcome: Promise<unknown>; at: number }

export class ActionDesk {
  readonly #control: Control
  readonly #clock: Clock
  readonly #done = new Map<string, Done>()

  constructor(control: Control, clock: Clock) {
    this.#control = control
    this.#clock = clock
  }

  /** The result of the verb. @throws FORBIDDEN KEY_CONFLICT and what Control throws */
  async act(frame: ActFrame, caller: Caller): Promise<unknown> {
    requireRole(caller, 'operator', `The verb ${frame.verb}`)
    const { t: _t, rid: _rid, key, ...rest } = frame
    const name = `${caller.actor} ${key}`
    const request = JSON.stringify(rest)
    const known = this.#done.get(name)
    if (known !== undefined && this.#clock.monotonic() - known.at < KEY_MS) {
      if (known.request === request) return known.outcome
      throw new RuntimeError('KEY_CONFLICT', `The key ${key} was used for another action. Use a new key.`)
    }
    const outcome = perform(this.#control, frame, actOf(frame, caller))
    this.#remember(name, { request, outcome, at: this.#clock.monotonic() })
    return outcome
  }

  #remember(name: string, done: Done): void {
    this.#done.delete(name)
    this.#done.set(name, done)
    const oldest = this.#done.keys().next().value
    if (this.#done.size > KEYS_MAX && oldest !== undefined) this.#done.delete(oldest)
  }
}

async function perform(control: Control, frame: ActFrame, act: Act): Promise<unknown> {
  const { verb, target } = frame
  switch (verb) {
    case 'kill':
      return control.kill(target, { ...act, ...messageFate(frame.message) })
    case 'stop':
    case 'restart':
    case 'suspend':
    case 'resume':
      return control[verb](target, act)
    case 'send':
      return control.send(target, need(frame.op, 'op'), fromPlain(frame.args), act)
    case 'call': {
      const { reply } = await control.call(target, need(frame.op, 'op'), fromPlain(frame.args), act)
      return { reply: toPlain(reply) }
    }
    case 'drop-message':
      return control.dropMessage(target, need(frame.message, 'message'), act)
    case 'redeliver-message':
      return control.redeliverMessage(target, need(frame.message, 'message'), act)
    case 'redeliver-dead-letter':
      return control.redeliverDeadLetter(need(frame.message, 'message'), act)
    case 'edit-state':
    case 'rewind':
    case 'skip-message':
    case 'retry-turn':
      return mend(control, { ...frame, verb }, act)
    case 'cancel':
      return control.cancel(target, frame.message ?? null, act)
    case 'fork':
      return control.fork(target, { ...act, ...forkOf(frame) })
    case 'answer': {
      const { request } = frame
      return control.answer(target, answerOf(frame), { ...act, ...(request === undefined ? {} : { step: request }) })
    }
    case 'discard':
      return control.discard(target, act)
    default:
      return verb satisfies never
  }
}

function forkOf({ version, as, args }: ActFrame): { version?: number; as?: string; state?: unknown } {
  return {
    ...(version === undefined ? {} : { version }),
    ...(as === undefined ? {} : { as }),
    ...(args === undefined ? {} : { state: fromPlain(args) }),
  }
}

function answerOf({ args, error }: ActFrame): SandboxAnswer {
  if ((args === undefined) === (error === undefined)) {
    throw new RuntimeError('REQUEST_INVALID', 'An answer is either a value (`args`) or `error`. Give one of the two.')
  }
  return error === undefined ? { value: fromPlain(args) } : { error: fromPlain(error) }
}

type MendFrame = ActFrame & { verb: 'edit-state' | 'rewind' | 'skip-message' | 'retry-turn' }

async function mend(control: Control, frame: MendFrame, act: Act): Promise<unknown> {
  const { verb, target, message, step, version, expectedVersion: expected } = frame
  switch (verb) {
    case 'edit-state': {
      const expectedVersion = needNumber(expected, 'expectedVersion')
      return control.editState(target, fromPlain(frame.args), { ...act, expectedVersion })
    }
    case 'rewind': {
      const more = expected === undefined ? {} : { expectedVersion: expected }
      return control.rewind(target, needNumber(version, 'version'), { ...act, ...more })
    }
    case 'skip-message':
      return control.skipMessage(target, { ...act, ...(message === undefined ? {} : { message }) })
    case 'retry-turn': {
      const turn = message === undefined ? {} : { turn: message }
      return control.retryTurn(target, { ...act, ...turn, ...(step === undefined ? {} : { step }) })
    }
    default:
      return verb satisfies never
  }
}

function actOf(frame: ActFrame, { actor }: Caller): Act {
  const act: Act = { actor, idempotencyKey: frame.key }
  if (frame.reason !== undefined) act.reason = frame.reason
  if (frame.incarnation !== undefined) act.incarnation = frame.incarnation
  return act
}

function messageFate(message: string | undefined): { message?: 'redeliver' | 'drop' } {
  if (message === undefined) return {}
  if (message === 'redeliver' || message === 'drop') return { message }
  throw new RuntimeError('REQUEST_INVALID', `message of kill is ${JSON.stringify(message)}. Use redeliver or drop.`)
}

function needNumber(value: number | undefined, name: string): number {
  if (value !== undefined) return value
  throw new RuntimeError('REQUEST_INVALID', `The action needs ${name}.`)
}

function need(value: string | undefined, name: string): string {
  if (value !== undefined && value !== '') return value
  throw new RuntimeError('REQUEST_INVALID', `The action needs ${name}.`)
}
