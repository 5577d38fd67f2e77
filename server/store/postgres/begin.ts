/**
 * A transaction of several statements that outlives the loss of its session.
 *
 * - After a rejection the driver sends a rollback. Where the server has just ended the session, that is written to a
 *   socket which is closed a moment later: the driver throws in a task of its own, which ends the program, and the
 *   connection never comes back to its pool. So work that fails because of the loss is left open: the driver hears of
 *   the loss by itself, and rejects.
 */
import type postgres from 'postgres'
import { StoreFailure } from '../store.ts'
import { asFailure } from './failure.ts'

/** `idle_in_transaction_session_timeout` and `transaction_timeout` end the session, not the statement. */
const SESSION_OVER = new Set(['25P03', '25P04'])

export const NEVER = new Promise<never>(() => {})

/** @param options  of BEGIN, e.g. `isolation level repeatable read read only`
 *  @throws what `work` throws, and CONNECTION_CLOSED of the driver where the session was lost meanwhile */
export async function begin<Types extends Record<string, unknown>, T>(
  sql: postgres.Sql<Types>,
  work: (tx: postgres.TransactionSql<Types>) => Promise<T>,
  options = '',
): Promise<T> {
  const run = async (tx: postgres.TransactionSql<Types>): Promise<{ value: T }> => {
    try {
      return { value: await work(tx) }
    } catch (error) {
      return isLost(error) ? NEVER : Promise.reject(error)
    }
  }
  // Boxed: the driver's type of a transaction's result unwraps lists of promises, which T is none of.
  const { value } = (await sql.begin(options, run)) as { value: T }
  return value
}

/** The server ends the session with this error; the end itself may take a moment to come. */
export function isFatal(error: unknown): boolean {
  const failure = asFailure(error)
  if (!(failure instanceof StoreFailure) || failure.sqlState === null) return false
  return failure.sqlState.startsWith('57P') || SESSION_OVER.has(failure.sqlState)
}

/** Of a statement of ours: the session is over, by the server's word or the driver's. */
function isLost(error: unknown): boolean {
  const failure = asFailure(error)
  return (
    isFatal(error) || (failure instanceof StoreFailure && failure.sqlState === null && failure.kind === 'unavailable')
  )
}
