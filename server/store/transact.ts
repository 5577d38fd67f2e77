/** A user's transaction as the journal asks the store for it (PROTOCOL T2). */
import type { Commit, CommitOutcome, Head, NodeIdentity, Pid } from './store.ts'

export type TransactWork = (tx: unknown) => Promise<Commit>
export type IsolationLevel = 'read committed' | 'repeatable read' | 'serializable'

/** What became of a user's transaction: `refused` is its row, to be read back (F3); `again` says that two writers met,
 *  `away` that the server was lost before the commit, `unknown` that it was lost while it committed. */
export type Transacted =
  | Extract<CommitOutcome, { kind: 'committed' }>
  | { kind: 'refused' }
  | { kind: 'rolled-back'; error: unknown; again: boolean }
  | { kind: 'away' | 'unknown'; error: unknown }

export interface TransactStore {
  /** Runs `work` once, in a transaction with a Drizzle handle, and commits the row it returns as the last statement:
   *  both or neither (T2). @throws RuntimeError TRANSACTION_UNSUPPORTED  in memory there is no database to run on */
  transact(node: NodeIdentity, work: TransactWork, options: { isolationLevel?: IsolationLevel }): Promise<Transacted>
  /** The head, once whatever had written it is committed or rolled back. */
  settledHead(process: Pid): Promise<Head | null>
}
