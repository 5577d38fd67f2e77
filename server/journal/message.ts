/**
 * Messages as rows and as envelopes, and the addresses of their answers.
 *
 * - M3: one outcome per call. In memory it is `envelope.reply`; for a stored call it is a reply row, a request result
 *   or a row for the asking node, written by the commit that ends the turn.
 */
import { type ErrorData, errorData, errorFromData, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { copy, decode, encode, encodeCopied, type Value } from '../../shared/value.ts'
import type { Envelope, Lineage } from '../kernel/envelope.ts'
import type { Mailbox } from '../kernel/mailbox.ts'
import type { MessageRow, NewMessage, ReplyAddress, RequestResult } from '../store/store.ts'
import type { Accepted, Outcome } from './entry.ts'
import type { OpenTurn } from './record.ts'

/** Pseudo targets: rows taken by a node for a caller outside any process. */
export function nodeTarget(node: number, epoch: number): ProcessId {
  return `node/${node}-${epoch}`
}

export function envelopeOf(row: MessageRow): Envelope {
  return {
    kind: row.kind === 'reply' || row.kind === 'withdraw' || row.kind === 'cancel' ? 'send' : row.kind,
    op: row.op,
    args: row.kind === 'exit' || row.kind === 'down' ? signalArgs(decode(row.args)) : decode(row.args),
    from: row.sender,
    reply: null,
    lineage: lineageOf(row),
    at: row.at,
    deadline: row.deadline,
    attempts: row.attempts,
    messageId: row.id,
    row,
  }
}

/** The body of a stored signal as handlers get it: which life it is for is the row's business (tie-signal.ts). */
function signalArgs(args: Value): Value {
  const { to: _to, ...body } = args as { readonly [key: string]: Value } // a stored signal is a plain object
  return Object.freeze(body)
}

function lineageOf(row: MessageRow): Lineage {
  return { cause: row.cause, root: row.root, traceparent: row.traceparent, actor: row.actor, chain: row.chain }
}

/** The store row of an envelope, when it has one. The kernel carries it without looking. */
export function rowOf(envelope: Envelope): MessageRow | null {
  return (envelope.row as MessageRow | null) ?? null // only this layer writes `row`
}

export type Draft = {
  id: string
  target: ProcessId
  kind: NewMessage['kind']
  op: string
  args: Value
  sender: ProcessId | null
  n: number
  lineage: Lineage
  replyTo?: ReplyAddress | null
  deadline?: number | null
  timer?: NewMessage['timer']
}

export function newMessage(draft: Draft): NewMessage {
  const { lineage } = draft
  return {
    id: draft.id,
    target: draft.target,
    kind: draft.kind,
    op: draft.op,
    sender: draft.sender,
    n: draft.n,
    args: encodeCopied(draft.args),
    replyTo: draft.replyTo ?? null,
    cause: lineage.cause,
    root: lineage.root,
    chain: lineage.chain,
    traceparent: lineage.traceparent,
    actor: lineage.actor,
    deadline: draft.deadline ?? null,
    timer: draft.timer ?? null,
  }
}

/** What a commit must hold so that the caller hears the outcome. */
export type Answer = { messages: NewMessage[]; requests: RequestResult[] }

/** The stored form of an outcome for the address of a call. */
export function answerTo(
  address: ReplyAddress,
  out: Outcome,
  from: { id: ProcessId; messageId: string; lineage: Lineage },
): Answer {
  const body = encodeOutcome(out)
  if (address.kind === 'request') {
    const status = 'ok' in out ? 'done' : 'failed'
    return { messages: [], requests: [{ scope: address.scope, key: address.key, status, result: body }] }
  }
  const target = address.kind === 'process' ? address.id : nodeTarget(address.node, address.epoch)
  const reply: NewMessage = {
    ...newMessage({
      id: `${from.messageId}.reply`,
      target,
      kind: 'reply',
      op: address.call,
      args: null,
      sender: from.id,
      n: 0,
      lineage: { ...from.lineage, chain: [] },
    }),
    args: body,
  }
  return { messages: [reply], requests: [] }
}

export function encodeOutcome(out: Outcome): string {
  return 'ok' in out ? encodeCopied({ ok: out.ok }) : encode({ err: plain(out.err) })
}

export function decodeOutcome(text: string): Outcome {
  return decode(text) as Outcome // written by encodeOutcome
}

/** An error as a value: optional fields that are absent stay absent. */
export function plain(error: ErrorData): Value {
  const out: Record<string, Value> = { code: storable(error.code), message: storable(error.message) }
  if (error.name !== undefined) out['name'] = storable(error.name)
  if (error.stack !== undefined) out['stack'] = storable(error.stack)
  if (error.cause !== undefined) out['cause'] = plain(error.cause)
  if (error.outcome !== undefined) out['outcome'] = error.outcome
  if (error.detail !== undefined) out['detail'] = copy(error.detail)
  return Object.freeze(out)
}

/** An error as a journal outcome: every text in it can be stored. */
export function outcomeOfError(error: unknown): Outcome {
  return { err: dataOfError(error) }
}

export function dataOfError(error: unknown): ErrorData {
  return plain(errorData(error)) as unknown as ErrorData // plain() keeps the shape
}

/** Records are kept where Postgres reads them as text, which has no place for NUL and lone surrogates. */
export function storable(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '\ufffd')
}

export function toError(out: { readonly err: ErrorData }): RuntimeError {
  return errorFromData(out.err)
}

/** A message as an accepted turn remembers it. */
export function acceptedOf(envelope: Envelope): Accepted {
  const { lineage } = envelope
  return {
    kind: envelope.kind,
    op: envelope.op,
    args: envelope.args,
    from: envelope.from,
    at: envelope.at,
    cause: lineage.cause,
    root: lineage.root,
    traceparent: lineage.traceparent,
    actor: lineage.actor,
    chain: lineage.chain,
    ord: rowOf(envelope)?.ord ?? null,
  }
}

/** The message of an accepted turn, or one that it received, from the journal, and the row where it still waits. The
 *  caller of one without a row is gone with the node that held it: nobody waits for the answer (T3). */
export function envelopeAgain(message: Accepted, id: string, row: MessageRow | null): Envelope {
  const { kind, op, args, from, at, cause, root, traceparent, actor, chain } = message
  return {
    ...{ kind, op, args, from, reply: null, lineage: { cause, root, traceparent, actor, chain }, at },
    ...{ deadline: row?.deadline ?? null, attempts: row?.attempts ?? 0, messageId: id, row },
  }
}

export function fenced(id: ProcessId): RuntimeError {
  return new RuntimeError('FENCED', `Another node owns ${id} now; what was not stored here is void.`)
}

/** The row of this message was loaded again: whoever waits for its answer in this runtime still does. */
export function answerHere(open: OpenTurn | null, box: Mailbox, { messageId, reply }: Envelope): void {
  const loaded = open?.turn === messageId ? open.envelope : box.find((envelope) => envelope.messageId === messageId)
  if (loaded != null) loaded.reply ??= reply
}
