/**
 * Streams as the surfaces see them: rows and records of the store, and word of what is new.
 *
 * - R5: reading never waits for a process. A watch tells of what is written on this node at once, and of what is
 *   written elsewhere within STREAM_POLL_MS.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { NewStream, StreamCreated, StreamRecord, StreamRow, StreamVerdict, StreamWrite } from '../store/stream.ts'

/** Ms between two looks at a stream that is read live and written on another node, shared by all its readers. */
export const STREAM_POLL_MS = 500

/** A record of an agent's stream as a reader gets it. */
export type StreamItem = {
  /** Of this item; read on from `offset + 1`. */
  readonly offset: number
  /** The turn and the step that wrote it; `step` is null for the handler itself. */
  readonly turn: string
  readonly step: string | null
  readonly attempt: number
  /** Epoch ms of the store. */
  readonly at: number
} & (
  | { readonly kind: 'chunk'; readonly value: unknown }
  /** Chunks of this turn and step from offset `to` to here are void: another attempt writes them again. */
  | { readonly kind: 'reset'; readonly to: number }
)

/** Word of changes of one stream. */
export interface StreamWatch {
  /** Forgets what was told until now: before a read, so that nothing between read and wait is missed. */
  arm(): void
  /** Resolves when the stream changed since `arm`, after `ms`, or when the signal is aborted.
   *  @throws RUNTIME_STOPPED */
  changed(ms: number, signal?: AbortSignal): Promise<void>
  end(): void
}

export interface Streams {
  row(path: string): Promise<StreamRow | null>
  /** Records from a position on, bounded in bytes and number. */
  records(row: StreamRow, from: number): Promise<StreamRecord[]>
  /** The time to live of the stream begins again. */
  touch(row: StreamRow): Promise<void>
  create(wanted: NewStream): Promise<StreamCreated>
  write(write: StreamWrite): Promise<StreamVerdict>
  remove(path: string): Promise<'deleted' | 'absent' | 'gone'>
  watch(path: string): StreamWatch
}

/** Records from exactly that position on; none where nothing more is stored.
 *  @param shown  how a position is written for who asked  @throws STREAM_GAP */
export async function recordsFrom(
  streams: Pick<Streams, 'records'>,
  row: StreamRow,
  { from, shown = String }: { from: number; shown?: (offset: number) => string },
): Promise<StreamRecord[]> {
  if (from >= row.tail) return []
  const records = await streams.records(row, from)
  const first = records[0]?.pos ?? row.tail
  if (first === from) return records
  // Taken away, before or between the two reads.
  const text = `The stream ${row.path} is kept from offset ${shown(first)} on, not from ${shown(from)}.`
  throw new RuntimeError('STREAM_GAP', text, { detail: { from, floor: first } })
}

/** What a record of an agent's stream says. */
export function itemOf(record: StreamRecord, decode: (text: string) => unknown): StreamItem {
  const { pos: offset, turn, step, attempt, at, data, reset } = record
  const text = new TextDecoder().decode(data)
  const head = { offset, turn: turn ?? '', step, attempt, at }
  return reset ? { kind: 'reset', ...head, to: Number(text) } : { kind: 'chunk', ...head, value: decode(text) }
}
