/**
 * A process that was claimed and cannot be loaded: its upgrade, its first state or its rows are at fault.
 *
 * - V8: the failure is recorded, state and mailbox stay as they are, and the claim is given back, so that a node with
 *   other code can take the process over.
 */
import type { InitResult } from '../kernel/behaviour.ts'
import type { Process } from '../kernel/process.ts'
import type { Activated } from './activation.ts'
import { newFailure } from './failure.ts'
import { storePart } from './kept-part.ts'
import type { DurablePorts } from './port.ts'
import { DurableRecord } from './record.ts'

export async function loadFailed(
  ports: DurablePorts,
  process: Process,
  { outcome }: Extract<Activated, { kind: 'loaded' }>,
  error: unknown,
): Promise<InitResult> {
  const { record: row, claim, seq } = outcome
  const { id } = process
  const failure = newFailure({ id: ports.newId(), process, error, envelope: null, attempt: 1, decision: 'restart' })
  const record = new DurableRecord({
    ...{ id, pid: row.pid, claim, process, seq, state: null, stateVersion: row.stateVersion, at: 0 },
  })
  await storePart(ports, record, {
    entries: [{ k: 'failed', turn: null, attempt: 1, failure: failure.id, decision: 'halted' }],
    failures: [failure],
  })
  record.fenced = true // nothing of it may be written after the claim is given back
  await ports.giveUp(id, row.pid, claim)
  throw error
}
