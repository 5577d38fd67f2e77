/** The turns that rows of a journal tell of, each with the state it began with and the end it came to. */
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import type { JournalRow, Loaded } from '../store/store.ts'
import { decodeEntries, type EndKind, type Entry } from './entry.ts'
import { foldEntry, foldedSnapshot } from './fold.ts'
import { applyPatches } from './patch.ts'
import type { OpenTurn } from './record.ts'

export type RecordedEnd =
  | { kind: 'open' }
  | { kind: 'dead' }
  | { kind: 'ended'; how: EndKind; sent: number; state: Value }

export type RecordedTurn = {
  open: OpenTurn
  /** State before its end: that of its last checkpoint. */
  live: Value
  stateVersion: number
  /** The original of a sandbox copy. */
  sandbox: ProcessId | null
  end: RecordedEnd
}

/** What is read of a row. */
type Row = Pick<JournalRow, 'seq' | 'at' | 'stateVersion' | 'codeVersion' | 'payload'>

export function recordedTurns(rows: {
  snapshot: Loaded['snapshot']
  journal: readonly Row[]
  sandbox?: ProcessId | undefined
}): {
  turns: RecordedTurn[]
  /** Turns that ended without having been accepted. */
  unrecorded: number
} {
  const folded = foldedSnapshot(rows.snapshot)
  const turns: RecordedTurn[] = []
  let unrecorded = 0
  let stateVersion = rows.snapshot?.stateVersion ?? rows.journal[0]?.stateVersion ?? 0
  const add = (open: OpenTurn, end: RecordedEnd): void => {
    const { sandbox = null } = rows
    turns.push({
      open: { ...open, entries: [...open.entries] },
      live: folded.state ?? null,
      stateVersion,
      sandbox,
      end,
    })
  }
  for (const { stateVersion: version, codeVersion, payload } of rows.journal) {
    stateVersion = version
    for (const entry of decodeEntries(payload)) {
      const { open } = folded
      const end = endOf(entry, open, folded.state ?? null)
      if (end !== null && open !== null) add(open, end)
      else if (entry.k === 'end') unrecorded += 1
      foldEntry(folded, entry, { mailbox: [], codeVersion })
    }
  }
  if (folded.open !== null) add(folded.open, { kind: 'open' })
  return { turns, unrecorded }
}

function endOf(entry: Entry, open: OpenTurn | null, state: Value): RecordedEnd | null {
  if (entry.k !== 'end' && entry.k !== 'failed') return null
  if (open === null || open.turn !== entry.turn) return null
  if (entry.k === 'failed') return entry.decision === 'dead' ? { kind: 'dead' } : null
  return { kind: 'ended', how: entry.how, sent: entry.sent, state: applyPatches(state, entry.patches) }
}
