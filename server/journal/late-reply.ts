/**
 * Answers nobody waits for any more: a call that timed out, lost a race, or belonged to a turn that is over. Their rows
 * are consumed like any message, so that nothing stays behind in a mailbox (PROTOCOL M2).
 */
import type { MessageRow } from '../store/store.ts'
import { nameOf } from './branch.ts'
import { keepPart } from './kept-part.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'
import { lateOutcomes } from './step-token.ts'
import { endAllWaits } from './wait.ts'

/** Consumes a row without a turn. */
export function consume(ports: Pick<DurablePorts, 'committer'>, record: DurableRecord, row: MessageRow): void {
  const late = lateOutcomes(row)
  const requests = late.length === 0 ? {} : { requests: late }
  keepPart(ports, record, { consumed: [{ target: row.target, ord: row.ord }], ...requests })
}

/** The timer of a parked turn did its work by being delivered. */
export function woken(ports: Pick<DurablePorts, 'committer'>, record: DurableRecord, row: MessageRow): void {
  if (row.timer !== null && record.armed.get(row.timer.name) === row.timer.arm) record.armed.delete(row.timer.name)
  consume(ports, record, row)
}

/** Whether the open turn has called, or opened a step for the outside, and has no outcome yet. */
export function isAwaited({ open }: DurableRecord, row: MessageRow): boolean {
  if (open === null) return false
  const place = `${nameOf(open)}/`
  if (!row.op.startsWith(place)) return false
  const key = row.op.slice(place.length)
  let over = false
  for (const entry of open.entries) {
    const { k } = entry
    if (k === 'reply' || k === 'step' || k === 'cancelled') over ||= entry.key === key || isResultOf(entry.key, key)
    // A step that failed with an attempt of its message was opened again, with another token.
    else if (entry.k === 'opened' && entry.key === key) over = false
  }
  return !over
}

/** Each asking for the result of one operation has a key of its own; one row answers them all (turn-result.ts). */
function isResultOf(key: string, subject: string): boolean {
  return subject.startsWith('result:') && key.slice(0, key.lastIndexOf('#')) === subject
}

/** The turn is over: nothing waits any more, and what came without being asked for is consumed. */
export function endWaits(ports: Pick<DurablePorts, 'committer'>, record: DurableRecord): void {
  cancelWaits(record)
  for (const row of record.replies.values()) consume(ports, record, row)
  record.replies.clear()
}

/** The incarnation is over; the turn may ask again. */
export function cancelWaits(record: DurableRecord): void {
  for (const wait of record.waiting.values()) wait.cancel()
  record.waiting.clear()
  endAllWaits(record)
  if (record.receivers.size === 0) return
  record.receivers.clear()
  record.process.tie().arrived = null
}
