/**
 * Cancellation of a turn: somebody asks for its end, and its code hears of it at a wait.
 *
 * - Y1: the request is a stored message of its own kind. Whoever owns the process takes it off without a turn: a
 *   message that has not begun is taken back, the open turn gets an entry, everything else is over and hears nothing.
 * - Y2: delivered once per turn, to all requests that are open, or to the next one: each is a recorded result, so a
 *   replay hears it at the same place. What was begun for them is ended.
 * - Y3: it waits for firm requests, for shielded sections, and for the end of a replay.
 */
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { decode, type Value } from '../../shared/value.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { MessageRow, NewMessage } from '../store/store.ts'
import { abandoned } from './abandoned.ts'
import type { EndKind, Entry } from './entry.ts'
import { keepPart } from './kept-part.ts'
import { consume } from './late-reply.ts'
import { answerTo, dataOfError, outcomeOfError, rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord, OpenTurn } from './record.ts'
import type { Turn } from './turn.ts'
import { CHILD, childrenToStop } from './turn-child.ts'
import type { OpenRequest } from './turn-request.ts'

type CancelEntry = Extract<Entry, { k: 'cancel' }>

/** What a turn knows of the request for its end. */
export type Cancel = { readonly entry: CancelEntry; delivered: boolean }

/** Body of the stored message. */
export type CancelArgs = { readonly reason: string | null; readonly key?: string }

/** Callers may have no types. @throws REQUEST_INVALID */
export function assertReason(reason: unknown): asserts reason is string | undefined {
  if (reason === undefined || typeof reason === 'string') return
  throw new RuntimeError('REQUEST_INVALID', `The reason of a cancellation is ${typeof reason}; give a text.`)
}

/** From the journal of an open turn. */
export function recordedCancel(entries: readonly Entry[]): Cancel | null {
  const entry = entries.find((one) => one.k === 'cancel')
  return entry === undefined ? null : { entry, delivered: entries.some(isDelivered) }
}

function isDelivered(entry: Entry): boolean {
  return entry.k === 'cancelled' && entry.scope === undefined
}

/** What a request that was given up says to whoever still looks at it. */
export function cancelledIn({ process, envelope, id, cancel }: Turn, cause?: unknown): RuntimeError {
  if (cancel === null) return abandoned(envelope.op, process.id)
  return cancelledError({ process: process.id, op: envelope.op, turn: id }, cancel.entry, cause)
}

/** Nobody waits for the request any more: what it brings is dropped. @throws CANCELLED */
export function assertAsked(turn: Turn, key: string): void {
  if (!turn.requests.has(key)) throw cancelledIn(turn)
}

/** How a turn ends that threw this, where that is an ordinary end; null for a crash. */
export function endedWith(turn: Turn, error: unknown): { how: Exclude<EndKind, 'done'>; error: unknown } | null {
  const { cancel } = turn
  if (isRuntimeError(error, 'CALL_REJECTED')) return { how: 'rejected', error }
  if (cancel === null) return null
  // Nobody wants another attempt, unless this one did not even come to where the turn was.
  if (!cancel.delivered) return turn.unreplayed !== null ? null : { how: 'cancelled', error: cancelledIn(turn, error) }
  return isRuntimeError(error, 'CANCELLED') ? { how: 'cancelled', error } : null
}

function cancelledError(
  of: { process: string; op: string; turn: string },
  { by, reason }: Pick<CancelEntry, 'by' | 'reason'>,
  cause?: unknown,
): RuntimeError {
  const who = by === null ? '' : ` by ${by}`
  const why = reason === null ? '' : `: ${reason}`
  const text = `The operation "${of.op}" of ${of.process} was cancelled${who}${why}.`
  return new RuntimeError('CANCELLED', text, { detail: { ...of, by, reason }, cause })
}

// Delivery

/** Y2: hands the cancellation to the open requests; where none is open, or it has to wait, nothing happens yet. */
export function deliverCancel(turn: Turn): void {
  const { cancel, shields } = turn
  if (cancel === null || cancel.delivered || shields > 0 || turn.closed || turn.replaying) return
  // Time limits of sections go on: after this all verbs work (Y8).
  const list = turn.requests.list.filter(({ shape }) => shape !== 'scope')
  if (list.length === 0 || list.some(({ firm }) => firm)) return
  cancel.delivered = true
  const children = childrenToStop(turn.record, turn.accept(), 'was cancelled')
  giveUp(turn, list, { error: cancelledIn(turn), children })
}

/** The section of the turn that ended, where it is not the turn itself; `left` where the code left it. */
export type OfScope = { readonly scope: string; readonly left?: true }

type GivenUp = { readonly error: RuntimeError; readonly children: readonly NewMessage[]; readonly of?: OfScope }

/** Ends open requests, each with the error as its recorded result. */
export function giveUp(turn: Turn, list: readonly OpenRequest[], { error, children, of }: GivenUp): void {
  const err = dataOfError(error)
  let more = children
  let onStored: (() => void) | undefined = () => turn.ports.crash.hit('cancel:heard')
  // All at once, so that they leave in one row: a crash finds all of them cancelled, or none.
  for (const { key, shape, stop } of list) {
    const { messages = [], ...lists } = stop?.(error) ?? {}
    turn.append(
      { k: 'cancelled', turn: turn.id, key, shape, err, ...of, at: turn.stamp() },
      { ...lists, messages: [...messages, ...more] },
      onStored,
    )
    more = []
    onStored = undefined
  }
  turn.requests.drop([...list])
  // What a killed turn still runs finds every verb closed; it hears nothing.
  turn.requests.tell(list, err, () => turn.closed || turn.process.epoch !== turn.epoch)
}

// The owner's side

/** A request for the end of a turn arrived. */
export function takeCancel(ports: DurablePorts, record: DurableRecord, row: MessageRow): void {
  if (record.cancels?.has(row.ord) === true) return
  const { turn, open, process } = record
  if (turn !== null && !turn.closed && isMeant(row, turn.envelope, turn.id))
    return ask(ports, record, row, turn.accept())
  if (open !== null && isMeant(row, open.envelope, open.turn)) return ask(ports, record, row, open)
  const found = process.mailbox?.take((envelope) => isMeant(row, envelope, envelope.messageId))
  if (found !== undefined) return takeBack(ports, record, row, found)
  // Its turn may have ended and not be stored yet: should that be refused, it runs again.
  if (!record.pending) return consume(ports, record, row)
  lookAgain(ports, record, row)
}

function isMeant({ op, args }: MessageRow, envelope: Envelope, id: string | null): boolean {
  if (id === op) return true
  const replyTo = rowOf(envelope)?.replyTo
  return replyTo?.kind === 'request' && op === CHILD && (decode(args) as CancelArgs).key === replyTo.key
}

function entryOf(row: MessageRow, turn: string): CancelEntry {
  const { reason } = decode(row.args) as CancelArgs // written by whoever asks, see newCancel
  return { k: 'cancel', turn, by: row.actor ?? row.sender, reason, at: row.at }
}

/** The request is an entry of the turn from now on, heard at a wait of this attempt or the next one. */
function ask(ports: DurablePorts, record: DurableRecord, row: MessageRow, open: OpenTurn): void {
  if (open.entries.some((entry) => entry.k === 'cancel')) return consume(ports, record, row)
  const entry = entryOf(row, open.turn)
  open.entries.push(entry)
  hold(record, row)
  record.append({
    entries: [entry],
    turn: open.turn,
    lineage: open.envelope.lineage,
    consumed: [{ target: row.target, ord: row.ord }],
    settle: (outcome) => {
      record.cancels?.delete(row.ord)
      if (outcome.kind === 'stored') {
        open.stored += 1
        ports.crash.hit('cancel:taken')
      }
      // The row was refused for something else in it: the request is still there, its turn perhaps not begun.
      else if (outcome.kind === 'refused') ports.clock.macrotask(() => again(ports, record, row))
    },
  })
  ports.committer.wake(record)
  if (record.turn?.id === open.turn) record.turn.cancelWith(entry)
}

/** It has not begun: it leaves the mailbox, and its caller hears why. */
function takeBack(ports: DurablePorts, record: DurableRecord, row: MessageRow, found: Envelope): void {
  const turn = found.messageId ?? row.op
  const entry = entryOf(row, turn)
  const error = cancelledError({ process: record.id, op: found.op, turn }, entry)
  const its = rowOf(found)
  const from = { id: record.id, messageId: turn, lineage: found.lineage }
  const answer = its?.replyTo == null ? {} : answerTo(its.replyTo, outcomeOfError(error), from)
  record.process.stats.dropped += 1
  keepPart(ports, record, {
    entries: [entry],
    turn,
    lineage: found.lineage,
    consumed: [row, its].flatMap((one) => (one === null ? [] : [{ target: one.target, ord: one.ord }])),
    ...answer,
    settle: (outcome) => {
      if (outcome.kind === 'stored') found.reply?.reject(error)
    },
  })
}

/** What is on its way decides what there is to cancel. */
function lookAgain(ports: DurablePorts, record: DurableRecord, row: MessageRow): void {
  hold(record, row)
  const settle = (): void => ports.clock.macrotask(() => again(ports, record, row))
  record.attach({ entries: [], turn: null, lineage: null, settle })
}

/** Whoever owns the process by then finds the row. */
function again(ports: DurablePorts, record: DurableRecord, row: MessageRow): void {
  record.cancels?.delete(row.ord)
  if (!record.fenced && record.process.slot === record) takeCancel(ports, record, row)
}

/** Seen, and still in the store. */
function hold(record: DurableRecord, { ord }: MessageRow): void {
  record.cancels ??= new Set()
  record.cancels.add(ord)
}

/** The stored form. `op` is the message whose turn is meant. */
export function cancelArgs(reason: string | undefined): Value {
  return { reason: reason ?? null }
}
