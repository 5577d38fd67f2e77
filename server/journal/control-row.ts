/** Rows that say something of another message: whoever owns the process takes them off at once, without a turn. */
import type { MessageRow } from '../store/store.ts'
import { takeCancel } from './cancellation.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'
import { takeBack } from './withdrawal.ts'

export function isControl({ kind }: MessageRow): boolean {
  return kind === 'withdraw' || kind === 'cancel'
}

export function takeControl(ports: DurablePorts, record: DurableRecord, row: MessageRow): void {
  if (row.kind === 'cancel') takeCancel(ports, record, row)
  else takeBack(ports, record, row)
}
