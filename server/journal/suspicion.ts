/**
 * Messages that are suspected of killing their nodes (PROTOCOL P2).
 *
 * - A message with a row is counted in that row, by the claim. An accepted call has none; its node's deaths are counted
 *   in the journal, and the count is stored before the turn goes on: one that kills at once is counted all the same.
 */
import type { Envelope } from '../kernel/envelope.ts'
import { SUSPECTED_POISON_RECOVERIES } from './dead-letter.ts'
import { rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'

export const SUSPECTED_POISON = 'SuspectedPoison: its node died each time it was in hand'

export function isSuspect({ open }: DurableRecord, envelope: Envelope): boolean {
  const row = rowOf(envelope)
  if (row !== null) return row.recoveries >= SUSPECTED_POISON_RECOVERIES
  return open !== null && open.turn === envelope.messageId && open.recoveries >= SUSPECTED_POISON_RECOVERIES
}

/** The owner before died. Resolves once that is stored where an open turn has no row that says so. */
export function countRecovery(ports: DurablePorts, record: DurableRecord): Promise<void> | undefined {
  const { open } = record
  if (open === null || rowOf(open.envelope) !== null) return undefined
  open.recoveries += 1
  return new Promise((resolve) => {
    record.append({
      entries: [{ k: 'recovered', turn: open.turn, recoveries: open.recoveries }],
      turn: open.turn,
      lineage: open.envelope.lineage,
      keep: true,
      settle: () => resolve(),
    })
    ports.committer.wake(record)
  })
}
