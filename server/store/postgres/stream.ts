/**
 * Streams of processes, and reading of all streams.
 *
 * - D42 (F5): an append compares three things at once: the claim of the head, that no later claim wrote the stream, and
 *   the tail. The row of the stream is locked by its update and compared again by the server when it had to wait, so of
 *   an old owner and a new one that opened the stream only the new one writes. The head is only read: an append never
 *   holds up a commit.
 * - Data crosses as base64: the driver has no cheap way for lists of bytes.
 */
import type { NodeIdentity } from '../store.ts'
import {
  STREAM_READ_BYTES_MAX,
  STREAM_READ_RECORDS_MAX,
  STREAMS_PER_PROCESS_MAX,
  type StreamAppend,
  type StreamAppended,
  type StreamOpened,
  type StreamOpening,
  type StreamRecord,
  type StreamRow,
  type StreamStore,
  type WrittenRecord,
} from '../stream.ts'
import { createStream, deleteStream, writeStream } from '../stream-verb.ts'
import { type Context, fence, ms } from './context.ts'
import { guarded } from './failure.ts'
import { nodeValues } from './fenced.ts'
import { pruneStreams } from './stream-prune.ts'
import { overSql, RECORDS, recordItem, streamColumns } from './stream-row.ts'
import { inTransaction } from './stream-table.ts'

export function postgresStreams(at: Context): StreamStore {
  return {
    openStream: (node, opening) => guarded(() => openStream(at, node, opening)),
    appendStreams: (node, batch) => guarded(() => appendStreams(at, node, batch)),
    streamRow: (namespace, path) => guarded(() => streamRow(at, namespace, path)),
    streamRecords: (stream, from) => guarded(() => streamRecords(at, stream, from)),
    createStream: (node, wanted) => guarded(() => inTransaction(at, node, (tables) => createStream(tables, wanted))),
    writeStream: (node, write) => guarded(() => inTransaction(at, node, (tables) => writeStream(tables, write))),
    deleteStream: (node, path) => guarded(() => inTransaction(at, node, (tables) => deleteStream(tables, path))),
    touchStream: (node, stream) => guarded(() => touchStream(at, node, stream)),
    pruneStreams: (node, step) => guarded(() => pruneStreams(at, node, step)),
  }
}

async function openStream(at: Context, node: NodeIdentity, opening: StreamOpening): Promise<StreamOpened> {
  const { read, q } = at
  const { process, claim, path, contentType, turn } = opening
  const values = [...nodeValues(node), process, claim, path, contentType]
  const [row] = await read.unsafe<StreamRow[]>(openSql(q), values, { prepare: true })
  if (row === undefined) {
    const [held] = await read.unsafe(holdsSql(q), [...nodeValues(node), process, claim, path], { prepare: true })
    return held === undefined ? { kind: 'refused' } : { kind: 'full' }
  }
  if (turn === null) return { kind: 'open', row, written: [] }
  const written = await read.unsafe<WrittenRecord[]>(writtenSql(q), [row.id, turn], { prepare: true })
  // After them: a floor that is older than they are would hide that some were pruned meanwhile.
  const [now] = await read.unsafe<{ floor: number }[]>(floorSql(q), [row.id], { prepare: true })
  return { kind: 'open', row: { ...row, floor: now?.floor ?? row.floor }, written }
}

const HEAD = (q: string): string =>
  `select h.process from ${q}heads h where h.process = $4::bigint and h.claim = $5::bigint
    and exists (select 1 from fence)`

function openSql(q: string): string {
  return `with ${fence(q)}, head as materialized (${HEAD(q)})
  insert into ${q}streams as s (namespace, path, process, content_type, config, claim)
  select $3::text, $6::text, process, $7::text, '', $5::bigint from head
  where exists (select 1 from ${q}streams o where o.namespace = $3::text and o.path = $6::text)
    or (select count(*) from ${q}streams o where o.process = $4::bigint) < ${STREAMS_PER_PROCESS_MAX}
  on conflict (namespace, path) do update set claim = excluded.claim where s.claim <= excluded.claim
  returning ${streamColumns('s')}`
}

/** One row: the claim holds, and no later one opened the stream. */
function holdsSql(q: string): string {
  return `with ${fence(q)}, head as materialized (${HEAD(q)})
  select 1 from head where not exists (
    select 1 from ${q}streams s where s.namespace = $3::text and s.path = $6::text and s.claim > $5::bigint)`
}

function writtenSql(q: string): string {
  return `select pos, reset, step, attempt, md5(data) as hash,
      case when reset then convert_from(data, 'UTF8')::float8 end as "to"
    from ${q}stream_records where stream = $1::bigint and turn = $2::text order by pos`
}

function floorSql(q: string): string {
  return `select floor::float8 as floor from ${q}streams where id = $1::bigint`
}

/** What a batch looks like as JSON: one item per stream, one per record. */
type AppendItem = {
  i: number
  stream: number
  claim: number
  expected: number
  n: number
  bytes: number
  close: boolean
}

async function appendStreams(
  { read, q }: Context,
  node: NodeIdentity,
  batch: readonly StreamAppend[],
): Promise<StreamAppended[]> {
  if (batch.length === 0) return []
  const items = batch.map(({ stream, claim, expected, records, close }, i): AppendItem => {
    const bytes = records.reduce((sum, { data }) => sum + data.length, 0)
    return { i, stream, claim, expected, n: records.length, bytes, close }
  })
  const records = batch.flatMap((one) =>
    one.records.map((record, k) => recordItem(one.stream, one.expected + k, record)),
  )
  const values = [...nodeValues(node), JSON.stringify(items), JSON.stringify(records)]
  const accepted = await read.unsafe<{ i: number }[]>(appendSql(q), values, { prepare: true })
  const done = new Set(accepted.map(({ i }) => i))
  const refused = batch.filter((_, i) => !done.has(i)).map(({ stream }) => stream)
  const there = refused.length === 0 ? [] : await standing({ q, read }, refused)
  return batch.map(({ stream }, i) => {
    if (done.has(i)) return { kind: 'appended' }
    const found = there.find(({ id }) => id === stream)
    return {
      kind: 'refused',
      row: found === undefined ? null : { claim: found.claim, tail: found.tail, closed: found.closed },
    }
  })
}

function appendSql(q: string): string {
  return `with ${fence(q)},
  moved as (
    update ${q}streams s set tail = s.tail + x.n, bytes = s.bytes + x.bytes, claim = x.claim, closed = x.close,
      touched_at = now()
    from json_to_recordset($4::text::json)
      as x(i int, stream bigint, claim bigint, expected bigint, n int, bytes bigint, close boolean)
    where s.id = x.stream and s.claim <= x.claim and s.tail = x.expected and not s.closed
      and exists (select 1 from fence)
      and exists (select 1 from ${q}heads h where h.process = s.process and h.claim = x.claim)
    returning x.i, s.id),
  records as (
    insert into ${q}stream_records (stream, pos, data, reset, turn, step, attempt)
    select r.stream, r.pos, decode(r.data, 'base64'), r.reset, r.turn, r.step, r.attempt
    from ${RECORDS('$5')} where r.stream in (select id from moved))
  select i from moved`
}

function standing({ read, q }: Pick<Context, 'read' | 'q'>, ids: readonly number[]) {
  return read.unsafe<{ id: number; claim: number; tail: number; closed: boolean }[]>(
    `select id, claim, tail, closed from ${q}streams where id = any($1::text::bigint[])`,
    [`{${ids.join(',')}}`],
    { prepare: true },
  )
}

async function streamRow({ read, q }: Context, namespace: string, path: string): Promise<StreamRow | null> {
  const [found] = await read.unsafe<(StreamRow & { over: boolean; forked: boolean })[]>(
    `select ${streamColumns('s')}, ${overSql('s')} as over,
       exists (select 1 from ${q}streams f where f.fork_of = s.id) as forked
     from ${q}streams s where s.namespace = $1::text and s.path = $2::text`,
    [namespace, path],
    { prepare: true },
  )
  if (found === undefined) return null
  const { over, forked, ...row } = found
  if (!over) return row
  return forked ? { ...row, gone: true } : null
}

async function streamRecords({ read, q }: Context, stream: number, from: number): Promise<StreamRecord[]> {
  return read.unsafe<StreamRecord[]>(
    `select pos, data, reset, turn, step, attempt, ${ms('at')} as at from (
       select r.*, sum(length(r.data)) over (order by r.pos) - length(r.data) as before
       from (select * from ${q}stream_records where stream = $1::bigint and pos >= $2::bigint
         order by pos limit ${STREAM_READ_RECORDS_MAX}) r) t
     where before < ${STREAM_READ_BYTES_MAX} order by pos`,
    [stream, from],
    { prepare: true },
  )
}

async function touchStream({ read, q }: Context, node: NodeIdentity, stream: number): Promise<void> {
  await read.unsafe(
    `with ${fence(q)} update ${q}streams set touched_at = now() where id = $4::bigint and exists (select 1 from fence)`,
    [...nodeValues(node), stream],
    { prepare: true },
  )
}
