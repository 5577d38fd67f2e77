/**
 * The tables of stream-verb.ts on Postgres: each verb is one transaction that holds the node row (F2) and the rows of
 * the streams it looked at.
 */
import type postgres from 'postgres'
import type { NodeIdentity } from '../store.ts'
import type { NewRecord, StreamRow } from '../stream.ts'
import type { StreamChange, StreamTables } from '../stream-verb.ts'
import { begin } from './begin.ts'
import { type Context, fence, instant, ms } from './context.ts'
import { nodeFenced, nodeValues } from './fenced.ts'
import { RECORDS, recordItem, streamColumns } from './stream-row.ts'

type Tx = postgres.TransactionSql<{ bigint: number }>

/** Column of each field that a verb may change. */
const COLUMNS: Readonly<Record<keyof StreamChange, string>> = {
  tail: 'tail',
  bytes: 'bytes',
  closed: 'closed',
  closedBy: 'closed_by',
  writerSeq: 'writer_seq',
  gone: 'gone',
}

/** @throws FENCED */
export async function inTransaction<T>(
  { read, q }: Context,
  node: NodeIdentity,
  work: (tables: StreamTables, tx: Tx) => Promise<T>,
): Promise<T> {
  return begin(read, async (tx) => {
    const held = await tx.unsafe(`with ${fence(q)} select 1 from fence`, nodeValues(node), { prepare: true })
    if (held.length === 0) throw nodeFenced(node)
    return work(tablesOf(tx, q, node.namespace), tx)
  })
}

function tablesOf(tx: Tx, q: string, namespace: string): StreamTables {
  const one = async <R extends object>(sql: string, values: readonly (string | number | boolean | null)[]) => {
    const rows = await tx.unsafe<R[]>(sql, [...values], { prepare: true })
    return (rows[0] as R | undefined) ?? null // a list of rows of the query's own type
  }
  return {
    now: async () => (await one<{ now: number }>(`select ${ms('clock_timestamp()')} as now`, []))?.now ?? 0,
    find: (path) =>
      one<StreamRow>(
        `select ${streamColumns('s')} from ${q}streams s where s.namespace = $1::text and s.path = $2::text for update`,
        [namespace, path],
      ),
    byId: (id) =>
      one<StreamRow>(`select ${streamColumns('s')} from ${q}streams s where s.id = $1::bigint for update`, [id]),
    insert: ({ path, contentType, config, floor, ttlS, expiresAt, forkOf, closed }) =>
      one<StreamRow>(
        `insert into ${q}streams as s
           (namespace, path, content_type, config, floor, tail, ttl_s, expires_at, fork_of, closed)
         values ($1::text, $2::text, $3::text, $4::text, $5::bigint, $5::bigint, $6::bigint, ${instant('$7::float8')},
           $8::bigint, $9::boolean)
         on conflict (namespace, path) do nothing returning ${streamColumns('s')}`,
        [namespace, path, contentType, config, floor, ttlS, expiresAt, forkOf, closed],
      ),
    update: async (id, change) => {
      const fields = Object.entries(change) as [keyof StreamChange, string | number | boolean | null][] // by its type
      const sets = fields.map(([field], i) => `${COLUMNS[field]} = $${i + 2}`)
      const set = ['touched_at = clock_timestamp()', ...sets].join(', ')
      await one(`update ${q}streams set ${set} where id = $1::bigint`, [id, ...fields.map(([, value]) => value)])
    },
    remove: async (id) => {
      for (const table of ['stream_records', 'stream_producers']) {
        await one(`delete from ${q}${table} where stream = $1::bigint`, [id])
      }
      await one(`delete from ${q}streams where id = $1::bigint`, [id])
    },
    clear: async (id) => void (await one(`delete from ${q}stream_records where stream = $1::bigint`, [id])),
    append: (id, from, records) => append(tx, q, { id, from, records }),
    copy: async (from, to, below) => {
      const sum = await one<{ bytes: number }>(
        `with copied as (
           insert into ${q}stream_records (stream, pos, data, reset, turn, step, attempt, at)
           select $2::bigint, pos, data, reset, turn, step, attempt, at from ${q}stream_records
           where stream = $1::bigint and pos < $3::bigint returning length(data) as bytes)
         select coalesce(sum(bytes), 0)::float8 as bytes from copied`,
        [from, to, below],
      )
      return sum?.bytes ?? 0
    },
    data: async (id, pos) => {
      const sql = `select data from ${q}stream_records where stream = $1::bigint and pos = $2::bigint`
      return (await one<{ data: Uint8Array }>(sql, [id, pos]))?.data ?? null
    },
    forks: async (id) => {
      const sql = `select count(*)::int as n from ${q}streams where fork_of = $1::bigint`
      return (await one<{ n: number }>(sql, [id]))?.n ?? 0
    },
    producer: (id, name) =>
      one(`select epoch, seq from ${q}stream_producers where stream = $1::bigint and producer = $2::text`, [id, name]),
    setProducer: async (id, { id: name, epoch, seq }) => {
      await one(
        `insert into ${q}stream_producers (stream, producer, epoch, seq) values ($1::bigint, $2::text, $3, $4)
         on conflict (stream, producer) do update set epoch = excluded.epoch, seq = excluded.seq`,
        [id, name, epoch, seq],
      )
    },
  }
}

async function append(
  tx: Tx,
  q: string,
  { id, from, records }: { id: number; from: number; records: readonly NewRecord[] },
): Promise<void> {
  if (records.length === 0) return
  const items = records.map((record, i) => recordItem(id, from + i, record))
  await tx.unsafe(
    `insert into ${q}stream_records (stream, pos, data, reset, turn, step, attempt)
     select r.stream, r.pos, decode(r.data, 'base64'), r.reset, r.turn, r.step, r.attempt from ${RECORDS('$1')}`,
    [JSON.stringify(items)],
    { prepare: true },
  )
}
