/**
 * `ctx.receive`: a turn takes a message out of the mailbox, wherever in it, and leaves the others in their order.
 *
 * - W4: what was taken is a recorded result with the whole message: every replay is given the same.
 * - M8: its row stays until the commit that makes it count: the end of the turn, or a checkpoint. A turn that ends
 *   without one (dead letter, refused row, rejection) puts it back in its place, and its own handler gets it.
 * - W5: a call that was taken is answered by `reply`, with that same commit; one that was not, by CALL_UNANSWERED.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { RuntimeError } from '../../shared/error.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { MessagePattern, Received, ReceiveOptions } from '../definition/context.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { WAKE } from '../store/store.ts'
import { disarm, isArmed } from './arm.ts'
import { handOver } from './bytes.ts'
import type { TakenMessage } from './entry.ts'
import { rowOf } from './message.ts'
import { assertDuration } from './sleep.ts'
import { takenMessage } from './taken.ts'
import type { Turn } from './turn.ts'
import { refusalOf, refuseMessage } from './validation.ts'
import { recordDue, startWait } from './wait.ts'
import { mayBegin } from './withdrawal.ts'

/** Operations of one pattern. A longer list is a predicate. */
const OPS_MAX = 100

/** What asks for a message; those of a turn are served in the order in which they asked. */
export type Receiver = {
  wants(envelope: Envelope): boolean
  give(envelope: Envelope, index: number): void
  fail(error: unknown): void
}

export async function receiveInTurn(
  turn: Turn,
  pattern: MessagePattern | undefined,
  options: ReceiveOptions,
): Promise<Received | null> {
  turn.assertOpen()
  const { timeoutMs } = options
  if (timeoutMs !== undefined) assertDuration('A timeout', timeoutMs)
  const ask = checkPattern(turn, pattern)
  const key = turn.nextKey('receive')
  const message = await turn.request(key, () => live(turn, { key, ask, timeoutMs: timeoutMs ?? null }), 'message')
  return message === null ? null : receivedOf(turn, message as TakenMessage) // recorded by `take` below
}

type Ask = { text: string; takes: readonly string[]; test(envelope: Envelope): boolean }

function checkPattern(turn: Turn, pattern: MessagePattern | undefined): Ask {
  if (pattern === undefined) return { text: 'any message', takes: ['*'], test: () => true }
  if (typeof pattern === 'function') {
    // It runs later, on behalf of the turn: in the context in which it was given.
    const within = AsyncLocalStorage.snapshot()
    const test = ({ op, args }: Envelope): boolean => within(() => pattern(op, handOver(args))) === true
    return { text: 'a message that fits', takes: ['*'], test }
  }
  const ops = typeof pattern === 'string' ? [pattern] : [...pattern]
  if (ops.length === 0 || ops.length > OPS_MAX) {
    throw new RuntimeError('REQUEST_INVALID', `receive needs 1 to ${OPS_MAX} operations, got ${ops.length}.`)
  }
  const { handlers, name } = turn.agent.code
  const unknown = ops.find((op) => !handlers.has(op))
  if (unknown !== undefined) {
    throw new RuntimeError(
      'OPERATION_UNKNOWN',
      `Agent "${name}" has no operation "${unknown}" to receive. Define it under \`on\`: nobody could send it else.`,
    )
  }
  return { text: ops.join(' or '), takes: ops, test: (envelope) => ops.includes(envelope.op) }
}

type Live = { key: string; ask: Ask; timeoutMs: number | null }

function live(turn: Turn, { key, ask, timeoutMs }: Live): Promise<unknown> {
  const { record } = turn
  const at = turn.wallclock()
  const known = turn.dueOf(key) ?? (timeoutMs === null ? undefined : { due: at + Math.ceil(timeoutMs), since: at })
  return new Promise((resolve, reject) => {
    const seen = new WeakSet<Envelope>()
    const receiver: Receiver = {
      wants: (envelope) => {
        if (seen.has(envelope) || !isOffered(turn, envelope)) return false
        seen.add(envelope)
        return ask.test(envelope)
      },
      give: (envelope, index) => {
        end()
        resolve(handOver(take(turn, key, envelope, index) as unknown as Value)) // made of a message's values
      },
      fail: (error) => {
        end()
        reject(error)
      },
    }
    const end = (): void => {
      wait?.end()
      if (record.receivers.delete(receiver) && record.receivers.size === 0) turn.process.tie().arrived = null
    }
    let wait: { end(): void } | null = null
    record.receivers.add(receiver)
    turn.requests.onStop(key, () => {
      end()
      return {}
    })
    listen(turn)
    const late = (): void =>
      inPlace(turn, () => {
        if (!record.receivers.has(receiver)) return
        end()
        turn.advance(known?.due ?? 0)
        turn.append({ k: 'received', turn: turn.id, key, message: null, at: turn.stamp() })
        resolve(null)
      })
    const isOver = known !== undefined && known.due <= at
    // T5: what is there already comes no sooner than a replay would bring it, which is a macrotask after the asking.
    soon(turn, () => {
      offer(turn)
      if (isOver) late()
    })
    if (isOver) return
    if (known !== undefined) recordDue(turn, key, known)
    const view: Wait = {
      ...{ kind: 'receive', target: ask.text, since: known?.since ?? at, deadline: known?.due ?? null, attempt: 1 },
    } as const
    wait = startWait(turn, view, known === undefined ? null : late, ask.takes)
  })
}

/** What arrives while the turn waits is offered in a task of its own: predicates never run inside a sender. */
function listen(turn: Turn): void {
  const { record, process } = turn
  let scheduled = false
  process.tie().arrived = () => {
    if (scheduled || turn.closed || record.receivers.size === 0) return
    scheduled = true
    soon(turn, () => {
      scheduled = false
      offer(turn)
    })
  }
}

function soon(turn: Turn, then: () => void): void {
  turn.ports.clock.macrotask(() => {
    if (!turn.closed) then()
  })
}

/** Now, or when it is the turn of this result among the others (T5). */
function inPlace(turn: Turn, give: () => void): void {
  const place = turn.place()
  if (place === null) return give()
  void place.then(() => {
    if (!turn.closed && turn.process.epoch === turn.epoch) give()
  })
}

/** Something arrived, or somebody asks. */
function offer(turn: Turn): void {
  if (turn.record.receivers.size > 0) inPlace(turn, () => serve(turn))
}

/** Whoever asked first is served first, one at a time. */
function serve(turn: Turn): void {
  const { record, process } = turn
  for (const receiver of record.receivers) {
    try {
      for (;;) {
        const found = process.mailbox?.takeFirst((envelope) => receiver.wants(envelope))
        if (found === undefined) break
        if (isRefused(turn, found)) continue
        receiver.give(found.envelope, found.index)
        return offer(turn)
      }
    } catch (error) {
      receiver.fail(error) // the predicate threw: it is the turn's error
    }
  }
}

/** W7: answered and gone. @throws what the validator throws besides a rejection; the message is in its place then */
function isRefused(turn: Turn, { envelope, index }: { envelope: Envelope; index: number }): boolean {
  try {
    if (envelope.kind === 'call' && !mayBegin(turn.ports, turn.record, envelope)) return true
    const refusal = refusalOf(turn.agent, turn.base, envelope)
    if (refusal !== null) refuseMessage(turn.ports, turn.record, envelope, refusal)
    return refusal !== null
  } catch (error) {
    turn.process.box().insert(envelope, index)
    throw error
  }
}

/** Signals about others have handlers of their own; a timer that was cancelled is no message any more. */
function isOffered(turn: Turn, envelope: Envelope): boolean {
  if (envelope.kind === 'exit' || envelope.kind === 'down' || envelope.op === WAKE) return false
  if (!turn.agent.code.handlers.has(envelope.op)) return false
  const row = rowOf(envelope)
  return row === null || isArmed(turn.record, row)
}

function take(turn: Turn, key: string, envelope: Envelope, index: number): TakenMessage {
  const row = rowOf(envelope)
  if (row?.timer != null) disarm(turn.record, row)
  const id = envelope.messageId ?? turn.ports.newId()
  envelope.messageId = id
  const message = takenMessage(envelope, id)
  const open = turn.accept()
  open.taken ??= new Map()
  open.taken.set(id, { envelope, message, index, final: false })
  const stored = (): void => turn.ports.crash.hit('receive:taken')
  turn.append({ k: 'received', turn: turn.id, key, message, at: turn.stamp() }, {}, stored)
  return message
}

function receivedOf(turn: Turn, { id, kind, op, args, from, at }: TakenMessage): Received {
  const reply = (value?: unknown): void => {
    turn.assertOpen()
    if (kind !== 'call' || turn.answered?.has(id) === true) return
    turn.answered ??= new Set()
    turn.answered.add(id)
    turn.outbox.answers ??= new Map()
    turn.outbox.answers.set(id, { ok: value === undefined ? null : copy(value) })
  }
  return { id, kind, op, message: args, from, at, reply }
}
