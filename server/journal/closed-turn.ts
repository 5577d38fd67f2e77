/** The turn in hand is over for its process; its code may still run and finds every verb closed (T9). */
import { cancelWaits } from './late-reply.ts'
import type { DurableRecord } from './record.ts'

export function closeTurn(record: DurableRecord, reason: unknown): void {
  record.turn?.close(reason)
  record.turn?.abort.abort(reason)
  record.turn = null
  cancelWaits(record)
  record.roomFor = null
}
