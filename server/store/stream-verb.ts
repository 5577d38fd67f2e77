/**
 * Verbs of streams that are written over HTTP (docs/durable-streams.md), once for both stores: what is decided here
 * runs inside one transaction of the store that hands in the tables.
 *
 * - D43: rows found are locked until the verb ends, so validation and append are one step for all rivals.
 * - Order of refusals of a write: absent, gone, closed, content type, producer, sequence. A closed stream still knows
 *   the request that closed it and a producer of an older epoch.
 * - A fork is a copy: the data of its source may be deleted or pruned, the fork keeps what it inherited. The source's
 *   name stays taken while forks live, as the protocol asks.
 */
import {
  isJson,
  isOver,
  mediaType,
  type NewRecord,
  type NewStream,
  type Producer,
  STREAM_RECORDS_MAX,
  type StreamCreated,
  type StreamRow,
  type StreamVerdict,
  type StreamWrite,
} from './stream.ts'

/** The type of a stream that names none. */
const BYTES_TYPE = 'application/octet-stream'

export type StreamChange = Partial<Pick<StreamRow, 'tail' | 'bytes' | 'closed' | 'closedBy' | 'writerSeq' | 'gone'>>
export type StreamInsert = Pick<
  StreamRow,
  'path' | 'contentType' | 'config' | 'floor' | 'ttlS' | 'expiresAt' | 'forkOf' | 'closed'
>

/** The tables inside a transaction. Reads lock. */
export interface StreamTables {
  /** Epoch ms of the store. */
  now(): Promise<number>
  find(path: string): Promise<StreamRow | null>
  byId(id: number): Promise<StreamRow | null>
  /** Null when the path is taken. */
  insert(row: StreamInsert): Promise<StreamRow | null>
  /** Touches the stream too. */
  update(id: number, change: StreamChange): Promise<void>
  remove(id: number): Promise<void>
  /** Records only. */
  clear(id: number): Promise<void>
  append(id: number, from: number, records: readonly NewRecord[]): Promise<void>
  /** Copies records below a position; returns their bytes. */
  copy(from: number, to: number, below: number): Promise<number>
  data(id: number, pos: number): Promise<Uint8Array | null>
  forks(id: number): Promise<number>
  producer(id: number, name: string): Promise<{ epoch: number; seq: number } | null>
  setProducer(id: number, producer: Producer): Promise<void>
}

export async function createStream(tables: StreamTables, wanted: NewStream): Promise<StreamCreated> {
  const existing = await living(tables, wanted.path)
  if (existing !== null) return judgeExisting(tables, existing, wanted)
  if (wanted.fork !== null) return createFork(tables, wanted, wanted.fork)
  const contentType = wanted.contentType ?? BYTES_TYPE
  return insertStream(tables, wanted, { contentType, forkOf: null, floor: 0, tail: 0, bytes: 0, records: [] })
}

async function judgeExisting(tables: StreamTables, row: StreamRow, wanted: NewStream): Promise<StreamCreated> {
  if (row.gone || isOver(row, await tables.now())) {
    return { kind: 'conflict', why: 'was deleted, and its name is kept while forks of it live' }
  }
  const config = configOf(wanted, wanted.contentType ?? (wanted.fork === null ? BYTES_TYPE : row.contentType))
  if (config !== row.config) return { kind: 'conflict', why: 'exists with another configuration' }
  if (wanted.closed !== row.closed) {
    return { kind: 'conflict', why: row.closed ? 'exists and is closed' : 'exists and is open' }
  }
  return { kind: 'exists', row }
}

type Beginning = {
  readonly contentType: string
  readonly forkOf: StreamRow | null
  readonly floor: number
  readonly tail: number
  readonly bytes: number
  /** Beside the copied ones. */
  readonly records: readonly Uint8Array[]
}

async function insertStream(tables: StreamTables, wanted: NewStream, begin: Beginning): Promise<StreamCreated> {
  const { path, closed } = wanted
  const { contentType, forkOf, floor } = begin
  const config = configOf(wanted, contentType)
  const lifetime = lifetimeOf(wanted, forkOf)
  const row = await tables.insert({ path, contentType, config, floor, forkOf: forkOf?.id ?? null, closed, ...lifetime })
  if (row === null) {
    // Somebody else made it since it was looked for: judged like one that was there before.
    const rival = await living(tables, path)
    return rival === null
      ? { kind: 'conflict', why: 'was made and deleted at the same moment' }
      : judgeExisting(tables, rival, wanted)
  }
  const copied = forkOf === null ? 0 : await tables.copy(forkOf.id, row.id, begin.tail)
  const records = [...begin.records, ...wanted.cut(contentType)].map(plainRecord)
  await tables.append(row.id, begin.tail, records)
  const change = { tail: begin.tail + records.length, bytes: copied + bytesOf(records) }
  await tables.update(row.id, change)
  return { kind: 'created', row: { ...row, ...change } }
}

/** A fork has the lifetime it asks for, else that of its source. */
function lifetimeOf({ ttlS, expiresAt }: NewStream, source: StreamRow | null): Pick<StreamRow, 'ttlS' | 'expiresAt'> {
  if (ttlS !== null || expiresAt !== null || source === null) return { ttlS, expiresAt }
  return { ttlS: source.ttlS, expiresAt: source.expiresAt }
}

async function createFork(
  tables: StreamTables,
  wanted: NewStream,
  fork: NonNullable<NewStream['fork']>,
): Promise<StreamCreated> {
  const source = await living(tables, fork.from)
  if (source === null) return { kind: 'absent' }
  if (source.gone || isOver(source, await tables.now()))
    return { kind: 'conflict', why: 'cannot be made: its source was deleted' }
  const { contentType, floor } = source
  if (wanted.contentType !== null && mediaType(wanted.contentType) !== mediaType(contentType)) {
    return { kind: 'conflict', why: `cannot be made: its source has the content type ${contentType}` }
  }
  const at = fork.at ?? source.tail
  if (at > source.tail || at < floor) return { kind: 'beyond' }
  const begin = { contentType, forkOf: source, floor, bytes: 0 }
  if (fork.sub === 0) return insertStream(tables, wanted, { ...begin, tail: at, records: [] })
  if (isJson(contentType)) {
    if (at + fork.sub > source.tail) return { kind: 'beyond' }
    return insertStream(tables, wanted, { ...begin, tail: at + fork.sub, records: [] })
  }
  const next = at < source.tail ? await tables.data(source.id, at) : null
  if (next === null || fork.sub > next.length) return { kind: 'beyond' }
  return insertStream(tables, wanted, { ...begin, tail: at, records: [next.subarray(0, fork.sub)] })
}

export async function writeStream(tables: StreamTables, write: StreamWrite): Promise<StreamVerdict> {
  const row = await living(tables, write.path)
  if (row === null) return { kind: 'absent' }
  if (row.gone || isOver(row, await tables.now())) return { kind: 'gone' }
  const { producer } = write
  const known = producer === null ? null : await tables.producer(row.id, producer.id)
  if (row.closed) return judgeClosed(row, write, known)
  if (!write.empty && mediaType(write.contentType ?? '') !== mediaType(row.contentType))
    return { kind: 'type', contentType: row.contentType }
  const refusal = producer === null ? null : judgeProducer(row, producer, known)
  if (refusal !== null) return refusal
  if (write.seq !== null && row.writerSeq !== null && !isBefore(row.writerSeq, write.seq)) {
    return { kind: 'regressed', last: row.writerSeq }
  }
  const records = write.empty ? [] : write.cut(row.contentType).map(plainRecord)
  if (row.tail - row.floor + records.length > STREAM_RECORDS_MAX) return { kind: 'full' }
  await tables.append(row.id, row.tail, records)
  const change: StreamChange = {
    tail: row.tail + records.length,
    bytes: row.bytes + bytesOf(records),
    ...(write.seq === null ? {} : { writerSeq: write.seq }),
    ...(write.close ? { closed: true, closedBy: producer === null ? null : producerText(producer) } : {}),
  }
  await tables.update(row.id, change)
  if (producer !== null) await tables.setProducer(row.id, producer)
  return { kind: 'written', row: { ...row, ...change }, seq: producer?.seq ?? null }
}

function judgeClosed(row: StreamRow, write: StreamWrite, known: { epoch: number } | null): StreamVerdict {
  const { producer } = write
  if (producer === null)
    return write.close && write.empty ? { kind: 'duplicate', row, seq: null } : { kind: 'closed', row }
  if (row.closedBy === producerText(producer)) return { kind: 'duplicate', row, seq: producer.seq }
  if (known !== null && producer.epoch < known.epoch) return { kind: 'stale', epoch: known.epoch }
  return { kind: 'closed', row }
}

/** Null: the write is the next one of its producer. */
function judgeProducer(
  row: StreamRow,
  { epoch, seq }: Producer,
  known: { epoch: number; seq: number } | null,
): StreamVerdict | null {
  if (known === null) return seq === 0 ? null : { kind: 'gap', expected: 0 }
  if (epoch < known.epoch) return { kind: 'stale', epoch: known.epoch }
  if (epoch > known.epoch) return seq === 0 ? null : { kind: 'unborn' }
  if (seq <= known.seq) return { kind: 'duplicate', row, seq: known.seq }
  return seq === known.seq + 1 ? null : { kind: 'gap', expected: known.seq + 1 }
}

export async function deleteStream(tables: StreamTables, path: string): Promise<'deleted' | 'absent' | 'gone'> {
  const row = await living(tables, path)
  if (row === null) return 'absent'
  if (row.gone || isOver(row, await tables.now())) return 'gone'
  await endStream(tables, row)
  return 'deleted'
}

/** Takes a stream away, and sources up the chain that only its name kept. */
export async function endStream(tables: StreamTables, row: StreamRow): Promise<void> {
  if ((await tables.forks(row.id)) > 0) {
    await tables.clear(row.id)
    return tables.update(row.id, { gone: true, bytes: 0 })
  }
  await tables.remove(row.id)
  if (row.forkOf === null) return
  const source = await tables.byId(row.forkOf)
  if (source?.gone === true) await endStream(tables, source)
}

/** Null also for one whose time is over and that nothing forked from; that one is taken away. */
async function living(tables: StreamTables, path: string): Promise<StreamRow | null> {
  const row = await tables.find(path)
  if (row === null || row.gone || !isOver(row, await tables.now())) return row
  if ((await tables.forks(row.id)) > 0) return row
  await endStream(tables, row)
  return null
}

function configOf({ ttlS, expiresAt, fork }: NewStream, contentType: string): string {
  return JSON.stringify([mediaType(contentType), ttlS, expiresAt, fork?.from ?? null, fork?.at ?? null, fork?.sub ?? 0])
}

/** Bytewise, as the protocol asks; texts of JavaScript compare by UTF-16. */
function isBefore(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
}

function producerText({ id, epoch, seq }: Producer): string {
  return JSON.stringify([id, epoch, seq])
}

function plainRecord(data: Uint8Array): NewRecord {
  return { data, reset: false, turn: null, step: null, attempt: 1 }
}

export function bytesOf(records: readonly NewRecord[]): number {
  return records.reduce((sum, { data }) => sum + data.length, 0)
}
