/**
 * Calls and queries from inside a durable turn.
 *
 * - M2: the request row is written with the caller's `called` entry; the answer arrives as a row and is deleted by the
 *   commit that holds the `reply` entry. Exactly once between durable agents, whatever dies in between.
 * - M5: a call first releases what the turn sent to the same receiver before.
 * - M3: at the deadline the call is withdrawn; the error says whether that came before it began (withdrawal.ts).
 * - M7: a call to oneself or up the chain fails at once; every call has a deadline, which survives a crash.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel, type ProcessId, processId } from '../../shared/id.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { Call, CallOptions } from '../definition/call.ts'
import type { Timer } from '../kernel/clock-port.ts'
import type { MessageRow, NewMessage } from '../store/store.ts'
import { checkMessage } from './border.ts'
import { handOver } from './bytes.ts'
import { assertAsked } from './cancellation.ts'
import type { Outcome } from './entry.ts'
import { keepPart } from './kept-part.ts'
import { decodeOutcome, outcomeOfError, toError } from './message.ts'
import type { AwaitedReply, Part } from './record.ts'
import { assertDuration } from './sleep.ts'
import type { Turn } from './turn.ts'
import { recordDue, startWait } from './wait.ts'
import { callTimeout, WITHDRAW_WAIT_MS, withdrawalOf } from './withdrawal.ts'

/** Ms a call inside a turn waits by default. Long, because the callee may be restarting; never for ever. */
export const TURN_CALL_TIMEOUT_MS = 60_000

export function callFromTurn(turn: Turn, call: Call<unknown>, options: CallOptions = {}): Promise<unknown> {
  turn.assertOpen()
  const { timeoutMs = TURN_CALL_TIMEOUT_MS, key: explicit } = options
  if (explicit !== undefined) assertLabel('Call key', explicit)
  assertDuration('A timeout', timeoutMs)
  const target = turn.ports.agent(call.agent)
  if (target === null) throw unknownAgent(call)
  const { args, isQuery } = checkMessage(target, call.op, call.message)
  if (isQuery) {
    const key = turn.key(`query:${call.target} ${call.op}`, explicit)
    return turn.request(key, () => recordedOutcome(turn, key, () => turn.ports.query(call.target, call.op, args)))
  }
  const chain = [...turn.envelope.lineage.chain, turn.process.id]
  if (chain.includes(call.target)) {
    throw new RuntimeError(
      'CALL_CYCLE',
      `${turn.process.id} calls ${call.target}, which waits for it: ${chain.join(' -> ')}.`,
    )
  }
  const key = turn.key(`call:${call.target} ${call.op}`, explicit)
  if (!target.definition.durable) {
    return turn.request(key, () => inMemory(turn, { call, key, timeoutMs, chain }))
  }
  // Built on every replay as well: ids of later messages count on it.
  const released = turn.release(call.target)
  const deadline = turn.now + timeoutMs
  const callId = `${turn.name}/${key}`
  const message = turn.post({
    target: processId(call.agent, call.key),
    kind: 'call',
    op: call.op,
    args,
    chain,
    replyTo: { kind: 'process', id: turn.process.id, call: callId },
    deadline,
  })
  return turn.request(key, async () => {
    // M6: recorded like a result, for a replay may find room where there was none. Its sends leave all
    // the same.
    const full = turn.called(key) === undefined ? noRoom(turn, call) : null
    if (full === null) return liveCall(turn, { key, callId, released, message, deadline })
    return recordedOutcome(turn, key, () => Promise.reject(full), released.length === 0 ? {} : { messages: released })
  })
}

type InMemory = { call: Call<unknown>; key: string; timeoutMs: number; chain: readonly ProcessId[] }

/** W8: asked again after a crash, as a step is run again, but for what is left of the time only. */
async function inMemory(turn: Turn, { call, key, timeoutMs, chain }: InMemory): Promise<unknown> {
  const since = turn.wallclock()
  const { due } = turn.dueOf(key) ?? { due: since + timeoutMs }
  recordDue(turn, key, { due, since })
  await turn.flushed()
  const left = due - turn.wallclock()
  const late = async (): Promise<Value> => {
    throw callTimeout({ target: call.target, op: call.op, deadline: due }, 'unknown')
  }
  const ask = (): Promise<Value> => turn.ports.callInMemory(turn.process, call, left, chain)
  return recordedOutcome(turn, key, left > 0 ? ask : late)
}

type Pending = { key: string; callId: string; released: NewMessage[]; message: NewMessage; deadline: number }

function liveCall(turn: Turn, pending: Pending): Promise<unknown> {
  const { key, message } = pending
  const before = turn.called(key)
  const deadline = before?.deadline ?? pending.deadline
  const at = before?.at ?? turn.wallclock()
  if (before === undefined) {
    const { target, op } = message
    turn.append(
      { k: 'called', turn: turn.id, key, target, op, deadline, at },
      { messages: [...pending.released, message] },
    )
  }
  return new Promise((resolve, reject) => {
    const take = (out: Outcome, row: MessageRow | null, messages: NewMessage[]): void => {
      // At the instant at which the answer is taken: a turn that ends in the same breath leaves no row behind.
      const lists = {
        ...(row === null ? {} : { consumed: [{ target: row.target, ord: row.ord }] }),
        ...(messages.length === 0 ? {} : { messages }),
      }
      turn.append({ k: 'reply', turn: turn.id, key, out, at: turn.stamp() }, lists)
      if ('ok' in out) resolve(handOver(out.ok))
      else reject(toError(out))
    }
    turn.requests.onStop(key, () => giveUp(turn, { ...pending, deadline }))
    awaitReply(turn, { ...pending, deadline, at }, (out, row, messages) => {
      const place = turn.place()
      if (place === null) return take(out, row, messages)
      const { replies } = turn.record
      if (row !== null) replies.set(pending.callId, row) // where the end of the turn, or its next attempt, finds it
      void place.then(() => {
        if (turn.closed || turn.process.epoch !== turn.epoch || !turn.requests.has(key)) return
        if (row !== null) replies.delete(pending.callId)
        take(out, row, messages)
      })
    })
  })
}

/** Y2: the call is over for its caller; whether it had begun is not waited for. */
function giveUp({ record, process }: Turn, { callId, message, deadline }: Pending): Partial<Part> {
  const awaited = record.waiting.get(callId)
  if (awaited === undefined) return {} // its answer is here
  awaited.cancel()
  return { messages: [withdrawalOf(process.id, { id: callId, target: message.target, deadline }, false)] }
}

type Asked = Pending & { at: number }

/** `messages` leave with the outcome. */
type Done = (out: Outcome, row: MessageRow | null, messages: NewMessage[]) => void

/** Gives the one outcome. A row that came before the code asked (replay) is taken at once. */
function awaitReply(turn: Turn, asked: Asked, done: Done): void {
  const { record, ports, process } = turn
  const { callId, message, deadline, at } = asked
  const early = record.replies.get(callId)
  if (early !== undefined) {
    record.replies.delete(callId)
    return done(decodeOutcome(early.args), early, [])
  }
  const what = `${message.target} ${message.op}`
  const call = { id: callId, target: message.target, deadline }
  const view: Wait = { kind: 'call', target: what, since: at, deadline, attempt: 1 }
  let verdict: Timer | null = null
  const wait = startWait(turn, view, () => {
    withdraw(turn, withdrawalOf(process.id, call, true))
    verdict = ports.clock.after(WITHDRAW_WAIT_MS, () => awaited.settle(null))
  })
  const awaited: AwaitedReply = {
    target: message.target,
    op: message.op,
    at,
    settle: (answer) => {
      awaited.cancel()
      if (answer === null) done(outcomeOfError(callTimeout({ ...call, op: message.op }, 'unknown')), null, [])
      else if (answer instanceof RuntimeError) {
        done(outcomeOfError(answer), null, [withdrawalOf(process.id, call, false)])
      } else done(decodeOutcome(answer.args), answer, [])
    },
    cancel: () => {
      wait.end()
      verdict?.cancel()
      if (record.waiting.get(callId) === awaited) record.waiting.delete(callId)
    },
  }
  record.waiting.set(callId, awaited)
}

/** Leaves by itself: whether the turn is stored or runs again, its caller does not wait any more. */
function withdraw({ record, ports }: Turn, message: NewMessage): void {
  keepPart(ports, record, { messages: [message] })
}

/** Runs something whose outcome is recorded like a step's. */
export async function recordedOutcome(
  turn: Turn,
  key: string,
  run: () => Promise<Value>,
  lists: Partial<Part> = {},
): Promise<Value> {
  let out: Outcome
  try {
    out = { ok: copy(await run()) }
  } catch (error) {
    out = outcomeOfError(error)
  }
  const place = turn.place()
  if (place !== null) await place
  turn.assertOpen()
  assertAsked(turn, key)
  turn.process.wait = null
  turn.append({ k: 'step', turn: turn.id, key, out, attempts: 1, at: turn.stamp() }, lists)
  if ('ok' in out) return handOver(out.ok)
  throw toError(out)
}

export function unknownAgent(call: Call<unknown>): RuntimeError {
  return new RuntimeError(
    'PROCESS_NOT_FOUND',
    `No agent "${call.agent}" is part of this runtime; ${call.target} cannot be reached.`,
  )
}

/** M6: a full mailbox is refused at the sender's verb, as far as it is known here. */
export function assertRoom(turn: Turn, call: Call<unknown>): void {
  const full = noRoom(turn, call)
  if (full !== null) throw full
}

function noRoom(turn: Turn, call: Call<unknown>): RuntimeError | null {
  const process = turn.ports.kernel.find(call.target)
  if (process === undefined || process.mailboxLength < process.mailboxLimit) return null
  return new RuntimeError(
    'MAILBOX_FULL',
    `Mailbox of ${call.target} is full (${process.mailboxLength} of ${process.mailboxLimit}). ` +
      'Send slower or raise mailbox.limit.',
  )
}
