/**
 * What answers of the Durable Streams protocol carry, in headers and bodies.
 *
 * - Bodies are never sniffed and never cached without asking: they may be confidential, and a stream may be deleted and
 *   made anew under its name. An ETag makes asking cheap.
 */
import { itemOf } from '../../observe/streams.ts'
import { isJson, mediaType, type StreamRecord, type StreamRow } from '../../store/stream.ts'
import { offsetText } from './request.ts'

export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
}

export type Page = {
  readonly records: readonly StreamRecord[]
  readonly from: number
  readonly next: number
  /** Nothing more was stored when it was read. */
  readonly isUpToDate: boolean
  /** Nothing more will ever come. */
  readonly isEnd: boolean
}

export function pageOf(row: StreamRow, from: number, records: readonly StreamRecord[]): Page {
  const next = (records.at(-1)?.pos ?? from - 1) + 1
  const isUpToDate = next >= row.tail
  return { records, from, next, isUpToDate, isEnd: isUpToDate && row.closed }
}

export function pageHeaders(row: StreamRow, page: Page): Record<string, string> {
  return {
    'content-type': row.contentType,
    'stream-next-offset': offsetText(page.next),
    ...(page.isUpToDate ? { 'stream-up-to-date': 'true' } : {}),
    ...(page.isEnd ? { 'stream-closed': 'true' } : {}),
  }
}

/** Changes with the closing too, which would otherwise hide behind a 304. */
export function etagOf(row: StreamRow, page: Page): string {
  return `"${row.id}:${offsetText(page.from)}:${offsetText(page.next)}${page.isEnd ? ':c' : ''}"`
}

export function pageBody(row: StreamRow, { records }: Page): string | Uint8Array<ArrayBuffer> {
  if (isJson(row.contentType)) return `[${records.map((record) => messageText(row, record)).join(',')}]`
  return new Uint8Array(Buffer.concat(records.map(({ data }) => data)))
}

/** Streams of agents give their items, with the tagged form of docs/http.md for what JSON lacks. */
function messageText(row: StreamRow, record: StreamRecord): string {
  if (row.process === null) return new TextDecoder().decode(record.data)
  return JSON.stringify(itemOf(record, (text): unknown => JSON.parse(text)))
}

/** Whether server-sent events carry the data as it is. */
export function isText(row: StreamRow): boolean {
  return isJson(row.contentType) || mediaType(row.contentType).startsWith('text/')
}

export function dataEvent(row: StreamRow, page: Page): string {
  const body = pageBody(row, page)
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body)
  const text = isText(row) ? bytes.toString('utf8') : bytes.toString('base64')
  // Every kind of line end ends a line of the event format: none may come through from the data.
  return `event: data\n${text
    .split(/\r\n|\r|\n/)
    .map(dataLine)
    .join('')}\n`
}

/** A reader takes one space after the colon away: one of the data's own needs another before it. */
function dataLine(line: string): string {
  return line.startsWith(' ') ? `data: ${line}\n` : `data:${line}\n`
}

export function controlEvent(page: Page, cursor: number): string {
  const control = {
    streamNextOffset: offsetText(page.next),
    ...(page.isEnd ? { streamClosed: true } : { streamCursor: String(cursor) }),
    ...(page.isUpToDate ? { upToDate: true } : {}),
  }
  return `event: control\ndata:${JSON.stringify(control)}\n\n`
}
