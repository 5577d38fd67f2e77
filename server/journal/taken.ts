/**
 * Messages in the hand of a turn besides its own: how they are remembered, when they count, where they go back to.
 *
 * - M8: `final` from the commit that consumes it; everything else goes back to its place when the turn ends without
 *   using it. A row has its order; a message without a row remembers its position.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import type { MessageRef, MessageRow, NewMessage, RequestResult } from '../store/store.ts'
import type { EndKind, Entry, Outcome, TakenMessage } from './entry.ts'
import { acceptedOf, answerTo, envelopeAgain, outcomeOfError, rowOf, toError } from './message.ts'
import type { Dropped, DurableRecord, OpenTurn } from './record.ts'

export type Taken = {
  readonly envelope: Envelope
  readonly message: TakenMessage
  /** Messages before it when it was taken. */
  readonly index: number
  /** A commit that is stored or on its way consumes it. */
  final: boolean
}

/** As the journal keeps it: enough to give it again, and to answer it, without its row. */
export function takenMessage(envelope: Envelope, id: string): TakenMessage {
  return { id, ...acceptedOf(envelope), replyTo: rowOf(envelope)?.replyTo ?? null }
}

/** After a load: from the journal, and the row where it still waits. */
export function takenAgain(message: TakenMessage, row: MessageRow | null): Taken {
  return { envelope: envelopeAgain(message, message.id, row), message, index: 0, final: false }
}

/** What the commit that makes received messages count has to hold. */
export type Settlement = {
  readonly consumed: MessageRef[]
  readonly messages: NewMessage[]
  readonly requests: RequestResult[]
  /** Callers in memory hear, once it is stored. */
  readonly release: (() => void)[]
}

export type Answers = {
  readonly answers: ReadonlyMap<string, Outcome> | null
  /** Calls that were answered in this attempt, by whatever commit. */
  readonly answered: ReadonlySet<string> | null
}

export function settleTaken(record: DurableRecord, open: OpenTurn, given: Answers & { how: How }): Settlement {
  const settlement: Settlement = { consumed: [], messages: [], requests: [], release: [] }
  for (const [id, taken] of open.taken ?? []) {
    const row = rowOf(taken.envelope)
    if (isDropped(given.how) && !taken.final) continue // it goes back
    if (row !== null && !taken.final) settlement.consumed.push({ target: row.target, ord: row.ord })
    taken.final = true
    if (taken.envelope.kind !== 'call') continue
    const silent = given.how !== 'checkpoint' && given.answered?.has(id) !== true
    const out = given.answers?.get(id) ?? (silent ? unanswered(record, taken.envelope) : undefined)
    if (out !== undefined) answer(record, settlement, taken, out)
  }
  return settlement
}

type How = 'checkpoint' | EndKind

function isDropped(how: How): boolean {
  return how === 'rejected' || how === 'cancelled'
}

function answer(record: DurableRecord, settlement: Settlement, { envelope, message }: Taken, out: Outcome): void {
  const { reply, lineage } = envelope
  if (reply !== null) settlement.release.push(() => ('ok' in out ? reply.resolve(out.ok) : reply.reject(toError(out))))
  if (message.replyTo === null) return
  const { messages, requests } = answerTo(message.replyTo, out, { id: record.id, messageId: message.id, lineage })
  settlement.messages.push(...messages)
  settlement.requests.push(...requests)
}

function unanswered(record: DurableRecord, { op }: Envelope): Outcome {
  return outcomeOfError(
    new RuntimeError(
      'CALL_UNANSWERED',
      `A turn of ${record.id} received the call "${op}" and ended without a reply to it.`,
      { detail: { process: record.id, op } },
    ),
  )
}

/** The turn is over and used none of what is not final: it goes back to its place. */
export function putBack(process: Process, open: OpenTurn): void {
  const taken = [...(open.taken ?? [])].reverse()
  open.taken = null
  for (const [, one] of taken) if (!one.final) putBackOne(process, open, one)
}

/** Never before the turn's own message: what had begun goes on first. */
function putBackOne(process: Process, open: OpenTurn, { envelope, index }: Taken): void {
  const box = process.box()
  const first = box.peek(0, 1)[0] === open.envelope ? 1 : 0
  const ord = rowOf(envelope)?.ord
  const later = ord === undefined ? -1 : box.indexOf((other) => (rowOf(other)?.ord ?? 0) > ord)
  box.insert(envelope, later < 0 ? first + index : Math.max(first, later))
}

/** What of it was received with results that are kept; null without any. */
export function keptTaken({ taken }: OpenTurn, entries: readonly Entry[]): Map<string, Taken> | null {
  if (taken === null) return null
  const kept = [...taken].filter(([id, one]) => one.final || entries.some((entry) => isTaking(entry, id)))
  return kept.length === 0 ? null : new Map(kept)
}

/** The turn runs again: what it received and does not keep goes back to its place. */
export function putBackRest(process: Process, before: OpenTurn, after: OpenTurn): void {
  for (const [id, one] of [...(before.taken ?? [])].reverse()) {
    if (after.taken?.has(id) !== true) putBackOne(process, after, one)
  }
}

/** A row was refused: what is not recorded any more goes back, what a dropped commit would have consumed is in hand. */
export function restoreTaken(record: DurableRecord, { opens }: Dropped, missing: ReadonlySet<number>): void {
  for (const open of opens) {
    if (open !== record.open) {
      for (const one of open.taken?.values() ?? []) one.final = false
      putBack(record.process, open)
      continue
    }
    for (const [id, one] of [...(open.taken ?? [])].reverse()) {
      const at = open.entries.findIndex((entry) => isTaking(entry, id))
      one.final = at >= 0 && open.entries.slice(at).some((entry) => entry.k === 'checkpoint')
      // Handled before, or dropped by an operator: there is nothing to consume any more.
      if (one.message.ord !== null && missing.has(one.message.ord)) one.final = true
      if (at >= 0) continue
      open.taken?.delete(id)
      putBackOne(record.process, open, one)
    }
  }
}

function isTaking(entry: Entry, id: string): boolean {
  return entry.k === 'received' && entry.message?.id === id
}
