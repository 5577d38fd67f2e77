/** The recorded turns of a process as a value: from its first row where the journal goes back that far, else from the
 *  last snapshot. */
import { attachBlobs } from '../../shared/blob-text.ts'
import type { ProcessId } from '../../shared/id.ts'
import { RECORDED_FORMAT, RECORDED_VERSION, type RecordedProcess, recordedSchema } from '../../shared/recorded.ts'
import type { Archive, ShownRow } from '../store/archive.ts'
import { blobMissing, type ProcessRecord } from '../store/store.ts'
import { readFile } from './process-file.ts'

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
    journal: journal.map(rowOf),
  }
}

/** What was kept as JSON: recorded turns, or a whole process as `viv export` writes it.
 *  @throws FILE_INVALID */
export function recordedFile(given: unknown): RecordedProcess {
  const parsed = recordedSchema.safeParse(given)
  if (parsed.success) return parsed.data
  const { id, body } = readFile(given, undefined)
  const { snapshot, journal } = body
  const texts = new Map(body.blobs.map(({ hash, value }) => [hash, value]))
  const refs = body.refs.map((ref) => ({ ...ref, process: 0, value: texts.get(ref.hash) ?? null }))
  const find = (hash: string): string => texts.get(hash) ?? ''
  const lost = refs.find(({ value }) => value === null)
  if (lost !== undefined) throw blobMissing(id, lost)
  const large = new Set(refs.flatMap(({ snapshot: ofSnapshot, seq }) => (ofSnapshot ? [] : [seq])))
  const rows = journal.map((row) => (large.has(row.seq) ? { ...row, payload: attachBlobs(row.payload, find) } : row))
  const { agent } = body.process
  const head = { format: RECORDED_FORMAT, version: RECORDED_VERSION, id, agent } as const
  if (snapshot === null || isUnbroken(rows)) return { ...head, snapshot: null, journal: rows.map(rowOf) }
  const inSnapshot = refs.some((ref) => ref.snapshot && ref.seq === snapshot.seq)
  const { seq, stateVersion } = snapshot
  const value = inSnapshot ? attachBlobs(snapshot.value, find) : snapshot.value
  return { ...head, snapshot: { seq, stateVersion, value }, journal: rows.filter((row) => row.seq > seq).map(rowOf) }
}

type Row = RecordedProcess['journal'][number]

function rowOf({ seq, at, stateVersion, codeVersion, payload }: Row): Row {
  return { seq, at, stateVersion, codeVersion, payload }
}

/** Oldest first, from the first row on. */
function isUnbroken(rows: readonly Row[]): boolean {
  return rows[0]?.seq === 1 && rows.at(-1)?.seq === rows.length
}

/** From the first row on, with nothing left out for its size. */
function isWhole(rows: readonly ShownRow[]): boolean {
  return rows.at(-1)?.seq === 1 && rows[0]?.seq === rows.length && rows.every(({ omitted }) => omitted === 0)
}
