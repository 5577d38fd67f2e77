/**
 * A whole namespace as one instant saw it: one repeatable-read, read-only transaction on a connection of its own.
 *
 * For checkers and exports: what is seen in one read fits what is seen in the next, however busy the owners are, and
 * nothing here can write, claim or wake anything. Rows come in pages, so a large namespace does not fill the memory.
 */
import type postgres from 'postgres'
import { Attachments, assertWhole, type Rows } from '../attach.ts'
import type { JournalRow, MessageRow, Pid, ProcessRecord } from '../store.ts'
import { begin } from './begin.ts'
import { type BlobRefRow, refSql } from './blob.ts'
import { openClient, type PostgresConnection } from './client.ts'
import { guarded } from './failure.ts'
import { bigints, numberList } from './list.ts'
import { type JournalSqlRow, journalColumns, journalRow } from './load.ts'
import { type MailboxRow, messageColumns, messageRow } from './message-row.ts'
import { type ProcessRow, processColumns, processRecord } from './process-row.ts'
import { schemaName } from './schema-name.ts'

export type StoredRows = Rows & { readonly record: ProcessRecord }
export type DeadLetterRow = {
  id: string
  process: string
  messageId: string
  op: string
  args: string
  reason: string
  redelivered: boolean
}

/** Processes read at once. */
const PAGE = 500

type Mutable = { snapshot: Rows['snapshot']; journal: JournalRow[] }
type Tx = postgres.TransactionSql<{ bigint: number }>

export class InstantView {
  readonly #tx: Tx
  readonly #q: string
  readonly #namespace: string

  constructor(tx: Tx, q: string, namespace: string) {
    this.#tx = tx
    this.#q = q
    this.#namespace = namespace
  }

  /** Every process of an agent, by id. */
  async *processes(agent: string): AsyncGenerator<StoredRows> {
    let after = ''
    for (;;) {
      const rows = await this.#tx.unsafe<ProcessRow[]>(
        `select ${processColumns('p')} from ${this.#q}processes p
         where p.namespace = $1 and p.agent = $2 and p.id > $3 order by p.id limit ${PAGE}`,
        [this.#namespace, agent, after],
      )
      yield* await this.#withState(rows.map(processRecord))
      const last = rows.at(-1)
      if (last === undefined || rows.length < PAGE) return
      after = last.id
    }
  }

  async mailbox(): Promise<MessageRow[]> {
    const rows = await this.#tx.unsafe<MailboxRow[]>(
      `select ${messageColumns('m')} from ${this.#q}mailbox m where m.namespace = $1 order by m.target, m.ord`,
      [this.#namespace],
    )
    return rows.map(messageRow)
  }

  async deadLetters(): Promise<DeadLetterRow[]> {
    return this.#tx.unsafe<DeadLetterRow[]>(
      `select id, process, message_id as "messageId", op, args, reason, redelivered_at is not null as redelivered
       from ${this.#q}dead_letters where namespace = $1 order by at, id`,
      [this.#namespace],
    )
  }

  async #withState(records: readonly ProcessRecord[]): Promise<StoredRows[]> {
    const pids = [numberList(records, ({ pid }) => pid)]
    const snapshots = await this.#tx.unsafe<{ process: number; seq: number; state_version: number; value: string }[]>(
      `select process, seq, state_version, value from ${this.#q}snapshots where process = any(${bigints('$1')})`,
      pids,
    )
    const journal = await this.#tx.unsafe<JournalSqlRow[]>(
      `select ${journalColumns('j')} from ${this.#q}journal j
       left join ${this.#q}snapshots s on s.process = j.process
       where j.process = any(${bigints('$1')}) and j.seq > coalesce(s.seq, 0) order by j.process, j.seq`,
      pids,
    )
    const refs = await this.#tx.unsafe<BlobRefRow[]>(refSql(this.#q, bigints('$1')), pids)
    const attachments = new Attachments(refs)
    const rows = new Map<Pid, Mutable>(records.map(({ pid }) => [pid, { snapshot: null, journal: [] }]))
    for (const { process, seq, state_version: stateVersion, value } of snapshots) {
      const found = rows.get(process)
      if (found !== undefined) found.snapshot = { seq, stateVersion, value }
    }
    for (const row of journal) rows.get(row.process)?.journal.push(journalRow(row))
    return records.map((record) => {
      const found = rows.get(record.pid) ?? { snapshot: null, journal: [] }
      return { record, ...assertWhole(attachments.attach(record.pid, found), record.id) }
    })
  }
}

/** Opens a connection, reads, closes it. @throws StoreFailure CONFIG_INVALID */
export async function viewInstant<T>(
  options: { connection: PostgresConnection; schema: string; namespace: string },
  read: (view: InstantView) => Promise<T>,
): Promise<T> {
  const q = `"${schemaName(options.schema)}".`
  const sql = openClient(options.connection, 'vivarium view', 1)
  try {
    const work = (tx: Tx): Promise<T> => read(new InstantView(tx, q, options.namespace))
    return await guarded(() => begin(sql, work, 'isolation level repeatable read read only'))
  } finally {
    await sql.end({ timeout: 5 })
  }
}
