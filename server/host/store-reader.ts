/**
 * Reads a store without being a node of it: for checkers, exports and questions after the fact. Works whether or not a
 * runtime runs on the same data, sees one instant, and writes nothing.
 *
 * - States are folded exactly as an activation folds them: latest snapshot and the patches after it.
 */
import { resolve } from 'node:path'
import { RuntimeError } from '../../shared/error.ts'
import { decode, type Value } from '../../shared/value.ts'
import { fold } from '../journal/fold.ts'
import { startEmbedded } from '../store/embedded/embedded.ts'
import { findFolder } from '../store/embedded/folder.ts'
import type { PostgresConnection } from '../store/postgres/client.ts'
import { type InstantView, type StoredRows, viewInstant } from '../store/postgres/instant-view.ts'
import { SCHEMA_DEFAULT } from '../store/schema.ts'
import { DATA_DEFAULT, NAMESPACE_DEFAULT } from './options.ts'

export type StoreReaderOptions = {
  /** Folder of the embedded database, default `.vivarium`. Its server is started if it is down, and stopped again. */
  data?: string
  /** Any other Postgres instead. */
  databaseUrl?: string
  /** Default `vivarium`. */
  schema?: string
  /** Default `default`. */
  namespace?: string
}

export type StoredProcess = {
  id: string
  key: string
  incarnation: number
  ended: boolean
  diverged: boolean
  /** The last committed value; null for a process that has stored nothing. */
  state: Value | null
  /** Number of the last journal row. */
  seq: number
  /** The turn that was accepted and has not ended. */
  open: { turn: string; op: string; args: Value } | null
}

export type StoredMessage = {
  id: string
  target: string
  op: string
  args: Value
  from: string | null
  attempts: number
}
export type StoredDeadLetter = {
  id: string
  process: string
  messageId: string
  op: string
  args: Value
  reason: string
  redelivered: boolean
}

export interface StoreReader {
  /** Every process of an agent, by id, alive, passive or ended. */
  processes(agent: string): AsyncGenerator<StoredProcess>
  /** Every message that waits in a mailbox. */
  mailbox(): Promise<StoredMessage[]>
  /** Oldest first. */
  deadLetters(): Promise<StoredDeadLetter[]>
}

/** Calls `read` with a view of one instant and returns what it returns.
 *  @throws NOT_FOUND  no database was ever made in the folder  @throws EMBEDDED_* STORE_UNAVAILABLE */
export async function readStore<T>(options: StoreReaderOptions, read: (reader: StoreReader) => Promise<T>): Promise<T> {
  const { schema = SCHEMA_DEFAULT, namespace = NAMESPACE_DEFAULT } = options
  return withStore(options, (connection) =>
    viewInstant({ connection, schema, namespace }, (view) => read(readerOf(view))),
  )
}

/** The database of `options`; an embedded server that is down runs while `look` does.
 *  @throws NOT_FOUND EMBEDDED_* */
export async function withStore<T>(
  options: StoreReaderOptions,
  look: (connection: PostgresConnection) => Promise<T>,
): Promise<T> {
  const { databaseUrl } = options
  if (databaseUrl !== undefined) return look({ url: databaseUrl })
  const dataDir = resolve(options.data ?? DATA_DEFAULT)
  if ((await findFolder(dataDir)) === undefined) {
    throw new RuntimeError(
      'NOT_FOUND',
      `There is no database in ${dataDir}. Name the folder a runtime was started with.`,
    )
  }
  const server = await startEmbedded({ dataDir })
  try {
    return await look(server.connection)
  } finally {
    await server.release()
  }
}

function readerOf(view: InstantView): StoreReader {
  return {
    async *processes(agent) {
      for await (const rows of view.processes(agent)) yield storedProcess(rows)
    },
    async mailbox() {
      const rows = await view.mailbox()
      return rows.map(({ id, target, op, args, sender, attempts }) => ({
        ...{ id, target, op, attempts },
        args: decode(args),
        from: sender,
      }))
    },
    async deadLetters() {
      const rows = await view.deadLetters()
      return rows.map((row) => ({ ...row, args: decode(row.args) }))
    },
  }
}

function storedProcess({ record, snapshot, journal }: StoredRows): StoredProcess {
  const { state, seq, open } = fold({ snapshot, journal })
  const { id, key, incarnation, ended, diverged } = record
  return {
    ...{ id, key, incarnation, ended, diverged, seq },
    state: state ?? null,
    open: open === null ? null : { turn: open.turn, op: open.op, args: open.envelope.args },
  }
}
