/**
 * The one read side of the runtime. HTTP, feed, CLI, MCP and tests read through this and nothing else.
 *
 * - O1: reading never waits for, wakes or calls into a process. State is the last committed value; it works on busy,
 *   suspended, crashed, passive and unowned processes alike.
 * - O2: every list is bounded; what was cut is said.
 */

import type { Diagnosis } from '../../shared/doctor.ts'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import type { Verb } from '../../shared/frame.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { ProcessFile } from '../../shared/process-file.ts'
import type { RecordedProcess } from '../../shared/recorded.ts'
import type {
  AuditItem,
  BlastRadius,
  DeadLetter,
  FailureRecord,
  JournalItem,
  MailboxItem,
  Need,
  ProcessDetail,
  ProcessRow,
  ProcessSort,
  ProcessStatus,
  StateSnapshot,
  Vitals,
} from '../../shared/snapshot.ts'

/** Rows of one page at the most. */
export const PAGE_LIMIT_MAX = 1_000

export type ProcessQuery = {
  q?: string
  under?: ProcessId
  agent?: string
  status?: ProcessStatus
  sort?: ProcessSort
  dir?: 'asc' | 'desc'
  limit?: number
  cursor?: string
  hidden?: boolean
}

export type Page<T> = { items: T[]; cursor: string | null }

export type NodeView = {
  id: string
  epoch: number
  host: string
  startedAt: number
  leaseUntil: number
  state: 'live' | 'dead' | 'stopped'
  self: boolean
  processes: number
}

export interface Inspect {
  /** Keyset page over live processes; passive ones (from the store) only where `status` or a term of `q` names
   *  `passive`. The cursor is a place, not a row: it holds when its row is gone.
   *  @throws REQUEST_INVALID for a cursor that is none, or of another order  @throws PROCESS_NOT_FOUND for `under` */
  processes(query: ProcessQuery): Promise<Page<ProcessRow> & { total: number }>
  /** Every live process once, in no promised order; for samplers. Rows are fresh objects the caller may keep. */
  scan(visit: (row: ProcessRow) => void): void
  /** Raised whenever a process is born, dies or moves in the tree. */
  treeVersion(): number
  /** null when no such process exists, live, passive or ended. */
  process(id: ProcessId): Promise<ProcessDetail | null>
  /** Last committed value, or the one of an earlier version. @throws PROCESS_NOT_FOUND VERSION_NOT_KEPT */
  state(id: ProcessId, query?: { version?: number }): Promise<StateSnapshot>
  /** Everything stored of a process as a file. @throws PROCESS_NOT_FOUND */
  exportProcess(id: ProcessId): Promise<ProcessFile>
  mailbox(id: ProcessId, query: { after?: string; limit?: number }): Promise<Page<MailboxItem> & { total: number }>
  /** Newest first. */
  journal(id: ProcessId, query: { before?: number; limit?: number }): Promise<Page<JournalItem>>
  /** Its recorded turns as stored, for `replayTurns`: from the first row, or from the last snapshot of a long journal.
   *  @throws PROCESS_NOT_FOUND BLOB_MISSING */
  recorded(id: ProcessId): Promise<RecordedProcess>
  /** Newest first; `before` is the cursor of the page before. @throws REQUEST_INVALID PROCESS_NOT_FOUND */
  failures(query: { process?: ProcessId; before?: string; limit?: number }): Promise<Page<FailureRecord>>
  deadLetters(query: { process?: ProcessId; limit?: number }): Promise<Page<DeadLetter>>
  audit(query: { target?: string; limit?: number }): Promise<Page<AuditItem>>
  vitals(): Vitals
  /** Resolves once the numbers of `vitals` that come from the store are at most ten seconds old, or cannot be had. */
  counted(): Promise<void>
  /** Vital signs of the last minutes, oldest first, one a second while somebody reads them. */
  vitalsHistory(): Vitals[]
  needs(): Promise<Need[]>
  /** Work that does not go on by itself, with why and what to do: worst first. Asks the store. */
  doctor(): Promise<Diagnosis>
  nodes(): Promise<NodeView[]>
  /** What `verb` on `id` would do now. @throws PROCESS_NOT_FOUND */
  plan(verb: Verb, id: ProcessId): Promise<BlastRadius>
  /** The last events of the ring, oldest first. */
  recent(limit: number, process?: ProcessId): RuntimeEvent[]
  /** Listens to events; the listener must not throw. Returns the end of it. Cheap kinds only are built when wanted. */
  listen(kinds: readonly EventKind[] | 'all', listener: (event: RuntimeEvent) => void): () => void
  /** True once the root tree is up and the store answers. */
  ready(): { ready: boolean; reasons: string[] }
}
