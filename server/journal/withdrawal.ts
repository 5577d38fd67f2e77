/**
 * Calls that were given up (PROTOCOL M3): the caller's commit posts a withdrawal, and the owner of the request row
 * takes it back if it has not begun. M1: only the owner deletes rows of a mailbox.
 *
 * - A withdrawal names the call by caller and call id. It is handled where it arrives, without a turn, also while the
 *   process is busy or suspended.
 * - A caller that waits for the verdict gets it as the answer of the call: `withdrawn`, or `unknown` when it had begun.
 *   Without a verdict within WITHDRAW_WAIT_MS the outcome is unknown. Callers that went on ask for none.
 * - A call whose deadline passed before it began is never run, whoever forgot to withdraw it. One that was tried
 *   before, or was in hand when a node died, has begun.
 */
import { type GivenUp, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { GIVEN_UP_TEXT } from '../kernel/outcome.ts'
import type { MessageRow, NewMessage, ReplyAddress } from '../store/store.ts'
import { nameOf } from './branch.ts'
import { keepPart } from './kept-part.ts'
import { answerTo, newMessage, outcomeOfError, rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord, OpenTurn, Part } from './record.ts'

/** Ms a caller waits for the verdict after its deadline: some commits and a notification between nodes. */
export const WITHDRAW_WAIT_MS = 250

/** @param answered  the caller waits for the verdict */
export function withdrawalOf(
  caller: ProcessId,
  call: { id: string; target: ProcessId; deadline: number },
  answered: boolean,
): NewMessage {
  return newMessage({
    id: `${call.id}.withdraw`,
    target: call.target,
    kind: 'withdraw',
    op: call.id,
    args: null,
    sender: caller,
    n: 0,
    lineage: { cause: null, root: null, traceparent: null, actor: null, chain: [] },
    replyTo: answered ? { kind: 'process', id: caller, call: call.id } : null,
    deadline: call.deadline,
  })
}

/** Withdrawals of all calls of a turn that ends without their answers. */
export function withdrawalsOf({ id, replies }: DurableRecord, open: OpenTurn | null): NewMessage[] {
  if (open === null) return []
  const answered = new Set(
    open.entries.flatMap((entry) => (entry.k === 'reply' || entry.k === 'cancelled' ? [entry.key] : [])),
  )
  return open.entries.flatMap((entry) => {
    if (entry.k !== 'called' || answered.has(entry.key)) return []
    const call = { id: `${nameOf(open)}/${entry.key}`, target: entry.target, deadline: entry.deadline }
    return replies.has(call.id) ? [] : [withdrawalOf(id, call, false)]
  })
}

/** How a caller hears that its call was given up. */
export function callTimeout(call: { target: ProcessId; op: string; deadline: number }, outcome: GivenUp): RuntimeError {
  const { target, op, deadline } = call
  return new RuntimeError(
    'CALL_TIMEOUT',
    `Call ${op} of ${target} was not answered by ${new Date(deadline).toISOString()}. ${GIVEN_UP_TEXT[outcome]}`,
    { detail: { target, op, outcome } },
  )
}

/** The owner's side: a withdrawal arrived. */
export function takeBack(ports: Pick<DurablePorts, 'committer'>, record: DurableRecord, row: MessageRow): void {
  const { process } = record
  const isIt = (envelope: Envelope): boolean => isCall(envelope, row)
  const found = process.mailbox?.take((envelope) => isIt(envelope) && !hasBegun(record, envelope))
  if (found !== undefined) return settle(ports, record, { rows: [row, rowOf(found)], answer: row.replyTo, of: found })
  const inHand = process.current !== null && isIt(process.current) ? process.current : undefined
  const begun = inHand ?? process.mailbox?.peek(0, process.mailboxLength).find(isIt)
  settle(ports, record, { rows: [row], answer: begun === undefined ? null : row.replyTo, of: begun, begun: true })
}

/** True while the call may begin; one that may not is answered and taken off here. */
export function mayBegin(ports: DurablePorts, record: DurableRecord, envelope: Envelope): boolean {
  if (envelope.reply !== null) {
    if (envelope.reply.begin?.() !== false) return true
    uncount(record)
    return false
  }
  const row = rowOf(envelope)
  if (row === null || row.deadline === null || hasBegun(record, envelope)) return true
  // The time of the slice: the deadline of a call is no measure for milliseconds.
  if (ports.kernel.lifecycle.queue.now() + ports.clockOffset() <= row.deadline) return true
  uncount(record)
  settle(ports, record, { rows: [row], answer: row.replyTo, of: envelope })
  return false
}

/** The kernel counts what it hands over; this became no turn. */
function uncount({ process: { stats } }: DurableRecord): void {
  stats.dropped += 1
  stats.turns -= 1
}

function hasBegun({ open }: DurableRecord, envelope: Envelope): boolean {
  const recoveries = rowOf(envelope)?.recoveries ?? 0
  return envelope.attempts > 0 || recoveries > 0 || (open !== null && open.turn === envelope.messageId)
}

function isCall(envelope: Envelope, { sender, op }: MessageRow): boolean {
  const asked = rowOf(envelope)?.replyTo
  return asked?.kind === 'process' && asked.id === sender && asked.call === op
}

type Verdict = {
  rows: readonly (MessageRow | null)[]
  answer: ReplyAddress | null
  of: Envelope | undefined
  begun?: boolean
}

function settle(
  ports: Pick<DurablePorts, 'committer'>,
  record: DurableRecord,
  { rows, answer, of, begun = false }: Verdict,
): void {
  const consumed = rows.flatMap((row) => (row === null ? [] : [{ target: row.target, ord: row.ord }]))
  const part: Partial<Part> = { consumed }
  if (answer !== null && of !== undefined) {
    const { op, deadline, messageId, lineage, at } = of
    const error = callTimeout({ target: record.id, op, deadline: deadline ?? at }, begun ? 'unknown' : 'withdrawn')
    const from = { id: record.id, messageId: messageId ?? op, lineage }
    Object.assign(part, answerTo(answer, outcomeOfError(error), from))
  }
  keepPart(ports, record, part)
}
