/**
 * Streams as the store keeps them: append-only lists of records with a position each. No SQL, no driver.
 *
 * - D41: positions of one stream have no gap and are never reused; whatever was read at a position stays what it was
 *   until it is pruned, and then `floor` says so.
 * - D42 (PROTOCOL F5): an append of a process is accepted only under the claim that its head holds, by a claim not
 *   older than any that wrote the stream, by a live epoch, and at the tail its writer expects.
 * - D43: one verb of the HTTP side (create, write, delete) is one transaction.
 *
 * Streams of agents and those that are written over HTTP share the tables and the read side, and differ in who writes:
 * `process` is null for the latter.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Claim, NodeIdentity, Pid } from './store.ts'

/** Bytes of one record. A stream is for many small ones; a large value belongs into a step's result. */
export const STREAM_RECORD_BYTES_MAX = 1024 * 1024
/** Records kept of one stream: an hour of 250 a second. */
export const STREAM_RECORDS_MAX = 1_000_000
/** Streams of one process that exist at once; older ones are taken away by the agent's policy. */
export const STREAMS_PER_PROCESS_MAX = 1_000
/** Bytes of one read: a few frames of any client, and what a slow reader makes us hold. */
export const STREAM_READ_BYTES_MAX = 1024 * 1024
/** Records of one read. */
export const STREAM_READ_RECORDS_MAX = 5_000

export type StreamRow = {
  readonly id: number
  readonly path: string
  readonly process: Pid | null
  readonly claim: Claim
  readonly contentType: string
  /** What a second creation is compared with; canonical text. */
  readonly config: string
  /** Position of the next record. */
  readonly tail: number
  /** Position of the first record that is kept. */
  readonly floor: number
  /** Of the records that are kept. */
  readonly bytes: number
  readonly closed: boolean
  /** The producer whose write closed it: canonical text. */
  readonly closedBy: string | null
  readonly writerSeq: string | null
  /** Seconds without a read or write after which it ends. */
  readonly ttlS: number | null
  readonly expiresAt: number | null
  readonly forkOf: number | null
  /** Deleted, and its name stays taken because forks of it live. */
  readonly gone: boolean
  readonly createdAt: number
  readonly touchedAt: number
}

export type NewRecord = {
  readonly data: Uint8Array
  /** `data` is then the position from which records of this turn and step are void, as decimal text. */
  readonly reset: boolean
  readonly turn: string | null
  readonly step: string | null
  /** Counts from 1 within a turn and step, over crashes too. */
  readonly attempt: number
}
export type StreamRecord = NewRecord & { readonly pos: number; readonly at: number }

/** A record a turn wrote before, as its replay needs it: `hash` is the md5 of the data, in hex. */
export type WrittenRecord = Omit<StreamRecord, 'data' | 'at' | 'turn'> & {
  readonly hash: string
  /** Of a reset: the position it says. */
  readonly to: number | null
}

export type StreamOpening = {
  readonly process: Pid
  readonly claim: Claim
  readonly path: string
  readonly contentType: string
  /** The turn that is replayed, whose records are asked for; null for one that is new. */
  readonly turn: string | null
}
export type StreamOpened =
  | { readonly kind: 'open'; readonly row: StreamRow; readonly written: readonly WrittenRecord[] }
  /** The claim is not the current one, or the epoch is over. */
  | { readonly kind: 'refused' }
  /** The process has STREAMS_PER_PROCESS_MAX of them. */
  | { readonly kind: 'full' }

export type StreamAppend = {
  readonly stream: number
  readonly claim: Claim
  readonly expected: number
  readonly records: readonly NewRecord[]
  readonly close: boolean
}
/** `refused` says what is there, so that a lost answer can be told from a foreign owner (PROTOCOL F3). */
export type StreamAppended =
  | { readonly kind: 'appended' }
  | { readonly kind: 'refused'; readonly row: Pick<StreamRow, 'claim' | 'tail' | 'closed'> | null }

export type NewStream = {
  readonly path: string
  /** Null takes that of the fork's source. */
  readonly contentType: string | null
  readonly ttlS: number | null
  readonly expiresAt: number | null
  readonly closed: boolean
  /** Cut into records by the content type that the stream will have. */
  readonly cut: (contentType: string) => readonly Uint8Array[]
  readonly fork: { readonly from: string; readonly at: number | null; readonly sub: number } | null
}
export type StreamCreated =
  | { readonly kind: 'created' | 'exists'; readonly row: StreamRow }
  | { readonly kind: 'conflict'; readonly why: string }
  | { readonly kind: 'absent' | 'beyond' }

export type Producer = { readonly id: string; readonly epoch: number; readonly seq: number }
export type StreamWrite = {
  readonly path: string
  readonly contentType: string | null
  readonly cut: (contentType: string) => readonly Uint8Array[]
  readonly empty: boolean
  readonly close: boolean
  readonly seq: string | null
  readonly producer: Producer | null
}
export type StreamVerdict =
  | { readonly kind: 'written' | 'duplicate'; readonly row: StreamRow; readonly seq: number | null }
  | { readonly kind: 'closed'; readonly row: StreamRow }
  | { readonly kind: 'absent' | 'gone' | 'full' }
  | { readonly kind: 'type'; readonly contentType: string }
  | { readonly kind: 'regressed'; readonly last: string }
  | { readonly kind: 'stale'; readonly epoch: number }
  | { readonly kind: 'gap'; readonly expected: number }
  /** A new epoch that does not begin at 0. */
  | { readonly kind: 'unborn' }

/** What of an agent's streams is kept. */
export type StreamPolicy = {
  readonly agent: string
  readonly maxAgeMs: number | null
  readonly maxBytes: number | null
}
export type PruneStep = {
  readonly policies: readonly StreamPolicy[]
  /** Stream after which the step begins. */
  readonly after: number
  /** Streams of one step, and records taken from each. */
  readonly limit: number
  readonly records: number
}
/** `cursor` is null when the last stream was looked at. */
export type Pruned = { readonly records: number; readonly streams: number; readonly cursor: number | null }

export interface StreamStore {
  /** Makes the stream of a process where there is none, and says what the turn wrote to it already. */
  openStream(node: NodeIdentity, opening: StreamOpening): Promise<StreamOpened>
  /** One statement for streams of many processes. Outcomes in the order of the batch. */
  appendStreams(node: NodeIdentity, batch: readonly StreamAppend[]): Promise<StreamAppended[]>
  /** Null when there is none, or its time is over and nothing forked from it. */
  streamRow(namespace: string, path: string): Promise<StreamRow | null>
  /** Records from a position on, in order, up to STREAM_READ_BYTES_MAX; at least one where there is one. */
  streamRecords(stream: number, from: number): Promise<StreamRecord[]>
  createStream(node: NodeIdentity, wanted: NewStream): Promise<StreamCreated>
  writeStream(node: NodeIdentity, write: StreamWrite): Promise<StreamVerdict>
  deleteStream(node: NodeIdentity, path: string): Promise<'deleted' | 'absent' | 'gone'>
  /** Somebody reads it: its time to live begins again. */
  touchStream(node: NodeIdentity, stream: number): Promise<void>
  /** Takes away what policies and expiry say, in the order of ids. */
  pruneStreams(node: NodeIdentity, step: PruneStep): Promise<Pruned>
}

/** Path of a process's stream. Keys may hold `/`, names of streams may not. */
export function streamPath(process: ProcessId, name: string): string {
  return `${PROCESS_STREAMS}${process}/${name}`
}
/** Paths below are written by agents only. */
export const PROCESS_STREAMS = 'processes/'

export function isOver(row: Pick<StreamRow, 'ttlS' | 'expiresAt' | 'touchedAt'>, now: number): boolean {
  if (row.expiresAt !== null && now >= row.expiresAt) return true
  return row.ttlS !== null && now >= row.touchedAt + row.ttlS * 1_000
}

/** Types are compared without parameters and case. */
export function mediaType(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** Streams of messages with bounds, not of bytes. */
export function isJson(contentType: string): boolean {
  return mediaType(contentType) === 'application/json'
}
