/** Rows of a mailbox that are in memory, in whatever state, and what becomes of those who wait when they are lost. */
import { RuntimeError } from '../../shared/error.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import { rowOf } from './message.ts'
import type { DurableRecord } from './record.ts'

export function heldRows(process: Process, record: DurableRecord): Set<number> {
  const known = new Set<number>(record.consuming())
  for (const row of record.replies.values()) known.add(row.ord)
  for (const ord of record.cancels ?? []) known.add(ord)
  const envelopes = process.mailbox?.peek(0, process.mailboxLength) ?? []
  if (process.current !== null) envelopes.push(process.current)
  for (const { taken } of record.opens()) for (const { envelope } of taken?.values() ?? []) envelopes.push(envelope)
  for (const envelope of envelopes) {
    const row = rowOf(envelope)
    if (row !== null) known.add(row.ord)
  }
  return known
}

/**
 * The process is lost to another node, with all that is stored of it: what began here must not begin again, should it
 * come back. Calls that are in this memory alone, and were not begun, stay for whoever answers them.
 *
 * @param inHand  the message of the turn that was cut short
 */
export function forgetBegun(process: Process, record: DurableRecord, inHand: Envelope | null): void {
  for (const envelope of process.mailbox?.drain() ?? []) {
    const begun = envelope === inHand || envelope.attempts > 0 || envelope.messageId === record.open?.turn
    if (begun) rejectUnknown(envelope, record)
    else if (rowOf(envelope) === null) process.box().push(envelope)
  }
}

/** Another node has the process now: what was in hand here has no outcome that could be told. */
export function rejectUnknown({ reply }: Envelope, { id }: DurableRecord): void {
  reply?.reject(new RuntimeError('CALL_OUTCOME_UNKNOWN', `Another node took over ${id} before the outcome was stored.`))
}
