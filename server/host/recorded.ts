/** The recorded turns of a process as a value: from its first row where the journal goes back that far, else from the
 *  last snapshot. */
import type { ProcessId } from '../../shared/id.ts'
import { RECORDED_FORMAT, RECORDED_VERSION, type RecordedProcess, recordedSchema } from '../../shared/recorded.ts'
import type { Archive, ShownProcess, ShownRow } from '../store/archive.ts'
import { Attachments, assertWhole } from '../store/attach.ts'
import { readFile } from './process-file.ts'

/** Rows of a journal that is read from its first row. Of longer ones the snapshot holds what older turns left. */
const ROWS_MAX = 1_000

export async function recordedProcess(archive: Archive, id: ProcessId, record: ShownProcess): Promise<RecordedProcess> {
  const head = { format: RECORDED_FORMAT, version: RECORDED_VERSION, id, agent: record.agent ?? '' } as const
  const whole = record.seq <= ROWS_MAX ? await archive.journal(record.pid, { limit: ROWS_MAX }) : []
  const { snapshot, journal } = isWhole(whole)
    ? { snapshot: null, journal: whole.reverse() }
    : await archive.stateRows(record.pid)
  return { ...head, ...copyOf(record.sandbox), snapshot, journal: journal.map(rowOf) }
}

/** What was kept as JSON: recorded turns, or a whole process as `viv export` writes it.
 *  @throws FILE_INVALID */
export function recordedFile(given: unknown): RecordedProcess {
  const parsed = recordedSchema.safeParse(given)
  if (parsed.success) return parsed.data
  const { id, body } = readFile(given, undefined)
  const texts = new Map(body.blobs.map(({ hash, value }) => [hash, value]))
  const refs = body.refs.map((ref) => ({ ...ref, process: THIS, value: texts.get(ref.hash) ?? null }))
  const { snapshot, journal } = assertWhole(new Attachments(refs).attach(THIS, body), id)
  const { agent, sandbox } = body.process
  const head = { format: RECORDED_FORMAT, version: RECORDED_VERSION, id, agent, ...copyOf(sandbox) } as const
  if (snapshot === null || isUnbroken(journal)) return { ...head, snapshot: null, journal: journal.map(rowOf) }
  const { seq, stateVersion, value } = snapshot
  return { ...head, snapshot: { seq, stateVersion, value }, journal: journal.filter((row) => row.seq > seq).map(rowOf) }
}

function copyOf(sandbox: ProcessId | null | undefined): Pick<RecordedProcess, 'sandbox'> {
  return sandbox == null ? {} : { sandbox }
}

/** A file holds one process and says no surrogate. */
const THIS = 0

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
