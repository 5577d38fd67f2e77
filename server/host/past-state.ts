/** The state of a process as of an earlier row of its journal, as long as retention keeps it (V4, E3). */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound } from '../../shared/id.ts'
import type { StateSnapshot } from '../../shared/snapshot.ts'
import { type Folded, fold } from '../journal/fold.ts'
import type { RuntimeCore } from '../runtime.ts'

/** @throws PROCESS_NOT_FOUND VERSION_NOT_KEPT */
export async function pastState(core: RuntimeCore, id: ProcessId, version: number): Promise<StateSnapshot> {
  const { state, seq, at } = await pastFold(core, id, version)
  return { version: seq, value: state ?? null, seq, at: at === 0 ? null : at }
}

/** With the state version it was stored under. @throws PROCESS_NOT_FOUND VERSION_NOT_KEPT */
export async function pastFold(core: RuntimeCore, id: ProcessId, version: number): Promise<Folded> {
  const { archive } = core.backend.handle
  const record = await archive.process(core.namespace, id)
  if (record === null) throw processNotFound(id)
  const rows = version === 0 ? null : await archive.stateRowsAt(record.pid, version)
  if (rows === null) {
    const oldest = await archive.oldestState(record.pid)
    const what = version > record.seq ? `does not exist yet; ${record.seq} is the newest` : 'is not kept any more'
    const text = `Version ${version} of ${id} ${what}. The oldest that is kept is ${oldest}.`
    throw new RuntimeError('VERSION_NOT_KEPT', text, { detail: { id, version, oldest } })
  }
  return fold(rows)
}
