/**
 * What `ctx.transaction` hands to its callback. Types only.
 *
 * - Core queries of Drizzle, savepoints by `tx.transaction`, and `tx.rollback()`. It is closed when the callback ends.
 */
import type { PostgresJsTransaction } from 'drizzle-orm/postgres-js'

export type Transaction = PostgresJsTransaction<Record<string, never>, Record<string, never>>

export type TransactionOptions = {
  /** Default `read committed`. Above it, expect the callback to run more than once. */
  isolationLevel?: 'read committed' | 'repeatable read' | 'serializable'
}
