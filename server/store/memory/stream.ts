/** Streams on memory: the verdicts of postgres/stream.ts and its neighbours. */
import { createHash } from 'node:crypto'
import { type Claim, type NodeIdentity, type Pid, StoreFailure } from '../store.ts'
import {
  isOver,
  type NewRecord,
  type Pruned,
  type PruneStep,
  STREAM_READ_BYTES_MAX,
  STREAM_READ_RECORDS_MAX,
  STREAMS_PER_PROCESS_MAX,
  type StreamAppend,
  type StreamAppended,
  type StreamOpened,
  type StreamOpening,
  type StreamPolicy,
  type StreamRecord,
  type StreamRow,
  type StreamStore,
  type WrittenRecord,
} from '../stream.ts'
import { bytesOf, createStream, deleteStream, endStream, type StreamTables, writeStream } from '../stream-verb.ts'
import { keyOf, type MemoryDatabase } from './database.ts'
import { assertAlive } from './message.ts'
import { assertText } from './text.ts'

export type StoredStream = {
  row: StreamRow & { readonly namespace: string }
  records: StreamRecord[]
  readonly producers: Map<string, { epoch: number; seq: number }>
}

/** Verbs of several reads and writes run one after the other: each is one transaction (D43). */
export function memoryStreams(db: MemoryDatabase): StreamStore {
  const verb = <T>(node: NodeIdentity, work: (tables: StreamTables) => Promise<T>): Promise<T> => {
    const run = db.streamVerb.then(() => {
      assertAlive(db, node)
      return work(tablesOf(db, node.namespace))
    })
    db.streamVerb = run.catch(() => {})
    return run
  }
  return {
    openStream: async (node, opening) => open(db, node, opening),
    appendStreams: async (node, batch) => batch.map((one) => append(db, node, one)),
    streamRow: async (namespace, path) => {
      const found = db.streams.get(db.streamPaths.get(keyOf(namespace, path)) ?? 0)
      if (found === undefined) return null
      const { row } = found
      if (!isOver(row, db.clock.now())) return { ...row }
      return forksOf(db, row.id) > 0 ? { ...row, gone: true } : null
    },
    streamRecords: async (stream, from) => read(db, stream, from),
    createStream: (node, wanted) => verb(node, (tables) => createStream(tables, wanted)),
    writeStream: (node, write) => verb(node, (tables) => writeStream(tables, write)),
    deleteStream: (node, path) => verb(node, (tables) => deleteStream(tables, path)),
    touchStream: async (node, stream) => {
      const found = db.streams.get(stream)
      if (found !== undefined && db.alive(node)) found.row = { ...found.row, touchedAt: db.clock.now() }
    },
    pruneStreams: (node, step) => verb(node, (tables) => prune(db, node, { tables, step })),
  }
}

function holds(db: MemoryDatabase, node: NodeIdentity, process: Pid | null, claim: Claim): boolean {
  return process !== null && db.alive(node) && db.heads.get(process)?.claim === claim
}

function open(db: MemoryDatabase, node: NodeIdentity, opening: StreamOpening): StreamOpened {
  const { process, claim, path, contentType, turn } = opening
  assertText(path)
  if (!holds(db, node, process, claim)) return { kind: 'refused' }
  let found = db.streams.get(db.streamPaths.get(keyOf(node.namespace, path)) ?? 0)
  if (found === undefined) {
    const own = [...db.streams.values()].filter(({ row }) => row.process === process)
    if (own.length >= STREAMS_PER_PROCESS_MAX) return { kind: 'full' }
    found = insert(db, node.namespace, { path, contentType, config: '', process, claim })
  }
  if (found.row.claim > claim) return { kind: 'refused' }
  found.row = { ...found.row, claim }
  const written = turn === null ? [] : found.records.filter((record) => record.turn === turn).map(writtenRecord)
  return { kind: 'open', row: { ...found.row }, written }
}

function writtenRecord({ pos, data, reset, step, attempt }: StreamRecord): WrittenRecord {
  const to = reset ? Number(new TextDecoder().decode(data)) : null
  return { pos, reset, step, attempt, hash: createHash('md5').update(data).digest('hex'), to }
}

function append(db: MemoryDatabase, node: NodeIdentity, one: StreamAppend): StreamAppended {
  const found = db.streams.get(one.stream)
  if (found === undefined) return { kind: 'refused', row: null }
  const { row } = found
  const fits = holds(db, node, row.process, one.claim) && row.claim <= one.claim && row.tail === one.expected
  if (!fits || row.closed) return { kind: 'refused', row: { claim: row.claim, tail: row.tail, closed: row.closed } }
  push(db, found, row.tail, one.records)
  found.row = {
    ...row,
    claim: one.claim,
    tail: row.tail + one.records.length,
    bytes: row.bytes + bytesOf(one.records),
    closed: one.close,
    touchedAt: db.clock.now(),
  }
  return { kind: 'appended' }
}

function push(db: MemoryDatabase, found: StoredStream, from: number, records: readonly NewRecord[]): void {
  const at = db.clock.now()
  records.forEach((record, i) => void found.records.push({ ...record, data: record.data.slice(), pos: from + i, at }))
}

function insert(
  db: MemoryDatabase,
  namespace: string,
  init: Partial<StreamRow> & Pick<StreamRow, 'path' | 'contentType' | 'config'>,
): StoredStream {
  const now = db.clock.now()
  const row = {
    process: null,
    claim: 0,
    tail: 0,
    floor: 0,
    bytes: 0,
    closed: false,
    closedBy: null,
    writerSeq: null,
    ttlS: null,
    expiresAt: null,
    forkOf: null,
    gone: false,
    createdAt: now,
    touchedAt: now,
    ...init,
    namespace,
    id: db.nextStream(),
  }
  const stored: StoredStream = { row, records: [], producers: new Map() }
  db.streams.set(row.id, stored)
  db.streamPaths.set(keyOf(namespace, row.path), row.id)
  return stored
}

function read(db: MemoryDatabase, stream: number, from: number): StreamRecord[] {
  const found: StreamRecord[] = []
  let bytes = 0
  for (const record of db.streams.get(stream)?.records ?? []) {
    if (record.pos < from) continue
    if (found.length >= STREAM_READ_RECORDS_MAX || bytes >= STREAM_READ_BYTES_MAX) break
    bytes += record.data.length
    found.push({ ...record })
  }
  return found
}

const forksOf = (db: MemoryDatabase, id: number): number =>
  [...db.streams.values()].filter(({ row }) => row.forkOf === id).length

function tablesOf(db: MemoryDatabase, namespace: string): StreamTables {
  const at = (id: number): StoredStream => {
    const found = db.streams.get(id)
    if (found === undefined) throw new StoreFailure('broken', `Stream ${id} went away inside a transaction.`)
    return found
  }
  return {
    now: async () => db.clock.now(),
    find: async (path) => db.streams.get(db.streamPaths.get(keyOf(namespace, path)) ?? 0)?.row ?? null,
    byId: async (id) => db.streams.get(id)?.row ?? null,
    insert: async (init) => insert(db, namespace, init).row,
    update: async (id, change) => {
      at(id).row = { ...at(id).row, ...change, touchedAt: db.clock.now() }
    },
    remove: async (id) => {
      db.streamPaths.delete(keyOf(namespace, at(id).row.path))
      db.streams.delete(id)
    },
    clear: async (id) => {
      at(id).records = []
    },
    append: async (id, from, records) => push(db, at(id), from, records),
    copy: async (from, to, below) => {
      const records = at(from).records.filter(({ pos }) => pos < below)
      at(to).records.push(...records)
      return bytesOf(records)
    },
    data: async (id, pos) => at(id).records.find((record) => record.pos === pos)?.data ?? null,
    forks: async (id) => forksOf(db, id),
    producer: async (id, name) => at(id).producers.get(name) ?? null,
    setProducer: async (id, { id: name, epoch, seq }) => void at(id).producers.set(name, { epoch, seq }),
  }
}

async function prune(
  db: MemoryDatabase,
  { namespace }: NodeIdentity,
  { tables, step }: { tables: StreamTables; step: PruneStep },
): Promise<Pruned> {
  const now = db.clock.now()
  const due = [...db.streams.values()]
    .filter(({ row }) => row.namespace === namespace && row.id > step.after)
    .sort((a, b) => a.row.id - b.row.id)
  let records = 0
  let streams = 0
  for (const found of due.slice(0, step.limit)) {
    const { row } = found
    if (row.process === null) {
      if (row.gone || !isOver(row, now)) continue
      await endStream(tables, row)
      streams += 1
      continue
    }
    const policy = step.policies.find(({ agent }) => agent === db.processes.get(row.process ?? 0)?.agent)
    if (policy === undefined) continue
    records += pruneOne(found, policy, now, step.records)
    if (!isSpent(found.row, policy, now)) continue
    await tables.remove(row.id)
    streams += 1
  }
  const last = due[step.limit - 1]
  return { records, streams, cursor: due.length <= step.limit || last === undefined ? null : last.row.id }
}

function pruneOne(found: StoredStream, { maxAgeMs, maxBytes }: StreamPolicy, now: number, limit: number): number {
  let over = maxBytes === null ? 0 : Math.max(0, found.row.bytes - maxBytes)
  let count = 0
  let bytes = 0
  for (const { at, data } of found.records) {
    const old = maxAgeMs !== null && at < now - maxAgeMs
    if (count >= limit || !(old || over > 0)) break
    over -= data.length
    bytes += data.length
    count += 1
  }
  found.records.splice(0, count)
  found.row = { ...found.row, floor: found.row.floor + count, bytes: found.row.bytes - bytes }
  return count
}

/** Closed, and nothing of it is young enough to be kept. */
function isSpent(row: StreamRow, { maxAgeMs }: StreamPolicy, now: number): boolean {
  return row.closed && maxAgeMs !== null && row.floor === row.tail && row.touchedAt < now - maxAgeMs
}
