/**
 * A transaction of the user's, with the commit of a row as its last statement (PROTOCOL T2, C3).
 *
 * - Claim, epoch and head are checked by that statement: where it is refused the user's rows are rolled back with it.
 * - Nothing else of the runtime runs inside. The user's handle is closed before the last statement, also for what a
 *   callback that was given up still tries: on this connection it would be somebody else's transaction.
 * - An error before COMMIT was sent means that nothing is stored. Lost after that, it is `unknown` and never guessed.
 */
import { PgDialect } from 'drizzle-orm/pg-core'
import { PostgresJsSession, PostgresJsTransaction } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { RuntimeError } from '../../../shared/error.ts'
import type { Clock } from '../../clock.ts'
import type { Commit, NodeIdentity } from '../store.ts'
import type { IsolationLevel, Transacted } from '../transact.ts'
import { isFatal, NEVER } from './begin.ts'
import type { CommitStatement, Result } from './commit.ts'
import type { Context } from './context.ts'
import { asFailure } from './failure.ts'

type Wanted = {
  readonly statement: CommitStatement
  readonly work: (tx: unknown) => Promise<Commit>
  readonly isolationLevel?: IsolationLevel
  readonly clock: Clock
}

/** Statements with which the callback would end the transaction under the runtime's feet. */
const ENDS = /^\s*(begin|start\s+transaction|commit|end|rollback|abort|prepare\s+transaction)\b/i
/** A statement that was cancelled by `statement_timeout`. */
const CANCELED = '57014'
/** Tables and schemas that do not exist: most likely they are in another database. */
const ABSENT = new Set(['42P01', '3F000'])

class Refused extends Error {}

export async function transact(context: Context, node: NodeIdentity, wanted: Wanted): Promise<Transacted> {
  const { work, statement, clock, isolationLevel = 'read committed' } = wanted
  const gate = { open: true }
  let over = false
  let thrown: { error: unknown } | null = null
  let committing = false
  // A rejected callback makes the driver send a rollback, which on a connection that is gone takes a place of its pool
  // away for ever. So such a callback never ends: the driver has heard of the loss by itself.
  const unlessLost = async (error: unknown): Promise<never> => {
    await new Promise<void>((resolve) => clock.macrotask(resolve))
    if (over || isFatal(error)) return NEVER
    throw error
  }
  try {
    return await context.transaction.begin(`isolation level ${isolationLevel}`, async (sql) => {
      const commit = await work(handle(gated(sql, gate))).catch((error: unknown) => {
        thrown = { error }
        return unlessLost(error)
      })
      gate.open = false
      // In a savepoint: a guard that fails the statement is tried again with another text.
      const send = (text: string, values: string[]): Promise<Result[]> =>
        sql.savepoint((inner) => inner.unsafe<Result[]>(text, values).catch(unlessLost)) as Promise<Result[]> // rows
      const outcome = await statement.runAlone(node, commit, send)
      if (outcome.kind === 'refused') throw new Refused()
      committing = true
      return outcome
    })
  } catch (error) {
    if (error instanceof Refused) return { kind: 'refused' }
    return verdict(error, { thrown, committing })
  } finally {
    over = true
    gate.open = false
  }
}

function verdict(error: unknown, at: { thrown: { error: unknown } | null; committing: boolean }): Transacted {
  const failure = asFailure(error)
  const refusal = refusalIn(error)
  if (failure instanceof RuntimeError || refusal !== null) {
    return { kind: 'rolled-back', error: refusal ?? error, again: false }
  }
  const { kind, sqlState } = failure
  if (kind === 'contended') return { kind: 'rolled-back', error, again: true }
  if (sqlState === CANCELED) {
    const text = `A statement of the transaction took too long: ${failure.message}.`
    return { kind: 'rolled-back', error: new RuntimeError('TRANSACTION_TIMEOUT', text, { cause: error }), again: false }
  }
  if (sqlState !== null && ABSENT.has(sqlState)) {
    const text =
      `The database of the runtime lacks what the transaction uses: ${causeOf(failure)}. ctx.transaction runs on it ` +
      'alone: create the table there, or start the runtime with databaseUrl of the database that has it; ' +
      'write to any other database in a step.'
    return {
      kind: 'rolled-back',
      error: new RuntimeError('TRANSACTION_UNSUPPORTED', text, { cause: error }),
      again: false,
    }
  }
  // What the callback threw comes out unchanged only when the rollback after it was acknowledged.
  if (at.thrown?.error === error) return { kind: 'rolled-back', error, again: false }
  if (kind !== 'unavailable' && kind !== 'full') return { kind: 'rolled-back', error, again: false }
  return at.committing ? { kind: 'unknown', error } : { kind: 'away', error }
}

/** What the gate said, as Drizzle passes it on. */
function refusalIn(error: unknown): RuntimeError | null {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof RuntimeError && at.code === 'TRANSACTION_OPEN') return at
  }
  return null
}

/** Drizzle says which query failed; why is in the innermost cause. */
function causeOf(error: Error): string {
  let at = error
  while (at.cause instanceof Error) at = at.cause
  return at.message
}

function handle(sql: postgres.TransactionSql): unknown {
  const dialect = new PgDialect()
  // Drizzle's session type asks for more of a client than a transaction has, and its own code passes one all the same.
  const session = new PostgresJsSession(sql as never, dialect, undefined, {})
  return new PostgresJsTransaction(dialect, session, undefined)
}

/** What Drizzle uses of a client, for as long as the gate is open. */
function gated(sql: postgres.TransactionSql, gate: { readonly open: boolean }): postgres.TransactionSql {
  const unsafe: postgres.TransactionSql['unsafe'] = (text, ...rest) => {
    assertOpen(gate)
    if (ENDS.test(text)) throw endsIt(text)
    return sql.unsafe(text, ...rest)
  }
  const savepoint = <T>(work: (inner: postgres.TransactionSql) => T): Promise<unknown> => {
    assertOpen(gate)
    return sql.savepoint((inner) => work(gated(inner, gate)))
  }
  return { unsafe, savepoint } as unknown as postgres.TransactionSql // all of it that is used
}

function assertOpen(gate: { readonly open: boolean }): void {
  if (gate.open) return
  throw new RuntimeError(
    'TRANSACTION_OPEN',
    'The transaction of this tx is over. Await every query inside the callback.',
  )
}

function endsIt(text: string): RuntimeError {
  return new RuntimeError(
    'TRANSACTION_OPEN',
    `"${text.trim().slice(0, 40)}" would end the transaction that also carries the state. ` +
      'Return to commit, throw to roll back, and use tx.transaction for a part of it.',
  )
}
