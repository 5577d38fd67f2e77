/** The recorded turns of a process as a value: from its first row where the journal goes back that far, else from the
 *  last snapshot. */
import type { ProcessId } from '../../shared/id.ts'
import { RECORDED_FORMAT, RECORDED_VERSION, type RecordedProcess } from '../../shared/recorded.ts'
import type { Archive, ProcessRecord, ShownRow } from '../store/store.ts'

/** Rows read to find the first one. Older turns of longer journals are known by what the snapshot left. */
const ROWS_MAX = 1_000

export async function recordedProcess(
  archive: Archive,
  id: ProcessId,
  record: ProcessRecord,
): Promise<RecordedProcess> {
  const head = { format: RECORDED_FORMAT, version: RECORDED_VERSION, id, agent: record.agent ?? '' } as const
  const rows = await archive.journal(record.pid, { limit: ROWS_MAX })
  const { snapshot, journal } = isWhole(rows)
    ? { snapshot: null, journal: rows.reverse() }
    : await archive.stateRows(record.pid)
  return {
    ...head,
    snapshot,
    journal: journal.map(({ seq, at, stateVersion, codeVersion, payload }) => ({
      ...{ seq, at, stateVersion, codeVersion, payload },
    })),
  }
}

/** From the first row on, with nothing left out for its size. */
function isWhole(rows: readonly ShownRow[]): boolean {
  return rows.at(-1)?.seq === 1 && rows.every(({ omitted }) => omitted === 0)
}
