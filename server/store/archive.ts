/**
 * The read side for people: keyset pages, capped, on its own small pool. Never touches a running process.
 */
import type { Symptoms } from '../../shared/doctor.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { ProcessBody } from '../../shared/process-file.ts'
import type { AuditItem, DeadLetter, FailureRecord } from '../../shared/snapshot.ts'
import type { JournalRow, Loaded, MessageRow, NewFailure, Pid, ProcessRecord } from './store.ts'

/** Characters of large values on one page of a journal. */
export const JOURNAL_CHARS_MAX = 4 * 1024 * 1024

/** A large value that is not shown, or is gone, stands as `{ $blob, chars }`; `omitted` is the sum of those. */
export type ShownRow = JournalRow & { readonly omitted: number }

export type Page<T> = { items: T[]; cursor: string | null }

/** `seq`: number of the last journal row. */
export type ShownProcess = ProcessRecord & { seq: number }
/** `lastAt`: when the last journal row was stored; null without one. */
export type ShownTies = Pick<Loaded, 'links' | 'names'> & { readonly lastAt: number | null }

/** Where a page of failures ended. It holds when that failure is gone. */
export type FailurePlace = { readonly at: number; readonly id: string }

export interface Archive {
  process(namespace: string, id: ProcessId): Promise<ShownProcess | null>
  /** By id. Passive ones are not ended, and no live node owns them. */
  passive(namespace: string, query: { agent?: string; limit: number; cursor?: string }): Promise<Page<ShownProcess>>
  /** How many there are over all pages. */
  passiveCount(namespace: string, query?: { agent?: string }): Promise<number>
  /** Ties and names, as rows hold them. */
  ties(namespace: string, pid: Pid): Promise<ShownTies>
  /** Committed state as of the newest row: snapshot and later patches, in one read. @throws BLOB_MISSING */
  stateRows(pid: Pid): Promise<Pick<Loaded, 'snapshot' | 'journal'>>
  /** Committed state as of row `seq`. Null when it is not there any more, or not yet. @throws BLOB_MISSING */
  stateRowsAt(pid: Pid, seq: number): Promise<Pick<Loaded, 'snapshot' | 'journal'> | null>
  /** The oldest row whose state can be read; 0 where there is no row. */
  oldestState(pid: Pid): Promise<number>
  /** The first row is shown whole, later ones while the large values of the page fit (JOURNAL_CHARS_MAX). */
  journal(pid: Pid, query: { beforeSeq?: number; limit: number }): Promise<ShownRow[]>
  mailbox(namespace: string, target: ProcessId, query: { afterOrd?: number; limit: number }): Promise<MessageRow[]>
  mailboxCounts(namespace: string, targets: readonly ProcessId[]): Promise<Map<ProcessId, number>>
  /** Newest first, and those of one time by id, the greatest first. */
  failures(
    namespace: string,
    query: { process?: ProcessId; before?: FailurePlace; limit: number },
  ): Promise<FailureRecord[]>
  deadLetters(namespace: string, query: { process?: ProcessId; limit: number }): Promise<DeadLetter[]>
  deadLetter(namespace: string, id: string): Promise<DeadLetter | null>
  /** True for exactly one caller per dead letter. */
  markRedelivered(namespace: string, id: string): Promise<boolean>
  audit(namespace: string, query: { target?: string; limit: number }): Promise<AuditItem[]>
  writeAudit(namespace: string, item: Omit<AuditItem, 'id' | 'at'>): Promise<AuditItem>
  writeFailure(namespace: string, process: ProcessId, failure: NewFailure): Promise<void>
  /** What may not go on by itself. */
  symptoms(namespace: string): Promise<Symptoms>
  /** Everything stored of an agent's process but ties and names, as of one instant; null when there is none. */
  exportProcess(namespace: string, id: ProcessId): Promise<ProcessBody | null>
}
