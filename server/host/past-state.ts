/** The state of a process as of an earlier row of its journal, as long as retention keeps it (V4). */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound } from '../../shared/id.ts'
import type { StateSnapshot } from '../../shared/snapshot.ts'
import { fold } from '../journal/fold.ts'
import type { RuntimeCore } from '../runtime.ts'

/** @throws PROCESS_NOT_FOUND VERSION_NOT_KEPT */
export async function pastState(core: RuntimeCore, id: ProcessId, version: number): Promise<StateSnapshot> {
  const { archive } = core.backend.handle
  const record = await archive.process(core.namespace, id)
  if (record === null) throw processNotFound(id)
  const rows = version === 0 ? null : await archive.stateRowsAt(record.pid, version)
  if (rows === null) {
    const what = version > record.seq ? 'does not exist yet' : 'is not kept any more'
    throw new RuntimeError('VERSION_NOT_KEPT', `Version ${version} of ${id} ${what}.`, { detail: { id, version } })
  }
  const { state, seq, at } = fold(rows)
  return { version: seq, value: state ?? null, seq, at: at === 0 ? null : at }
}
