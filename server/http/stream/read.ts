/**
 * Reading by the Durable Streams protocol: catch-up, long-poll, server-sent events, metadata.
 *
 * - R7: a read of a position that is kept no longer is 410 with the code STREAM_GAP; nothing is left out silently.
 * - Live reads end by themselves, at the end of the stream or after LIVE_MS, and leave nothing behind when the client
 *   goes.
 */
import { RuntimeError } from '../../../shared/error.ts'
import { type Clock, realClock } from '../../clock.ts'
import { recordsFrom, type Streams } from '../../observe/streams.ts'
import { realRandom } from '../../random.ts'
import type { StreamRow } from '../../store/stream.ts'
import { controlEvent, dataEvent, etagOf, isText, type Page, pageBody, pageHeaders, pageOf } from './answer.ts'
import { offsetText, type ReadQuery } from './request.ts'

/** Ms a long-poll waits where the host names no other: proxies cut silent requests after 30 s or more. */
export const LONG_POLL_MS = 20_000
/** Ms after which a connection of server-sent events is made anew, so that caches can collapse readers. */
const SSE_MS = 60_000
/** Cursors count intervals from an epoch, both named by the protocol. */
const CURSOR_EPOCH_MS = Date.UTC(2024, 9, 9)
const CURSOR_MS = 20_000
/** Intervals a cursor jumps at most to stay ahead of the client's: an hour. */
const CURSOR_JITTER = 180

type ReadPorts = { readonly streams: Streams; readonly longPollMs: number }

/** @throws STREAM_NOT_FOUND STREAM_GONE */
export async function rowOf(streams: Streams, path: string): Promise<StreamRow> {
  const row = await streams.row(path)
  if (row === null) throw new RuntimeError('STREAM_NOT_FOUND', `There is no stream ${path}.`)
  if (row.gone) throw new RuntimeError('STREAM_GONE', `The stream ${path} was deleted.`)
  return row
}

export function headOf(row: StreamRow): Response {
  return new Response(null, {
    headers: {
      'content-type': row.contentType,
      'stream-next-offset': offsetText(row.tail),
      'cache-control': 'no-store',
      ...(row.ttlS === null ? {} : { 'stream-ttl': String(row.ttlS) }),
      ...(row.expiresAt === null ? {} : { 'stream-expires-at': new Date(row.expiresAt).toISOString() }),
      ...(row.closed ? { 'stream-closed': 'true' } : {}),
    },
  })
}

export async function read(ports: ReadPorts, path: string, query: ReadQuery, request: Request): Promise<Response> {
  const row = await rowOf(ports.streams, path)
  await ports.streams.touch(row)
  const from = positionOf(row, query)
  if (query.live === 'long-poll') return longPoll(ports, { row, from, query, request })
  if (query.live === 'sse') return serverSent(ports, { row, from, query, request })
  if (query.offset === 'now') {
    const page = pageOf(row, row.tail, [])
    return new Response(pageBody(row, page), { headers: { ...pageHeaders(row, page), 'cache-control': 'no-store' } })
  }
  const page = await pageFrom(ports.streams, row, from)
  const etag = etagOf(row, page)
  const headers = { ...pageHeaders(row, page), etag, 'cache-control': 'private, no-cache' }
  const known = request.headers.get('if-none-match')?.split(',') ?? []
  if (known.some((tag) => tag.trim() === etag)) return new Response(null, { status: 304, headers })
  return new Response(pageBody(row, page), { headers })
}

/** @throws REQUEST_INVALID */
function positionOf(row: StreamRow, { offset }: ReadQuery): number {
  if (offset === null || offset === 'start') return row.floor
  if (offset === 'now') return row.tail
  if (offset <= row.tail) return offset
  throw new RuntimeError('REQUEST_INVALID', `The stream ${row.path} ends at ${offsetText(row.tail)}.`)
}

/** @throws STREAM_GAP */
async function pageFrom(streams: Streams, row: StreamRow, from: number): Promise<Page> {
  return pageOf(row, from, await recordsFrom(streams, row, { from, shown: offsetText }))
}

type Live = { readonly row: StreamRow; readonly from: number; readonly query: ReadQuery; readonly request: Request }

async function longPoll(ports: ReadPorts, { row: { path }, from, query, request }: Live): Promise<Response> {
  const { streams, longPollMs } = ports
  const clock = realClock()
  const deadline = clock.monotonic() + longPollMs
  const watch = streams.watch(path)
  try {
    // Read again: what was written before the watch began is told by nobody.
    for (let row = await rowOf(streams, path); ; row = await rowOf(streams, path)) {
      const page = await pageFrom(streams, row, from)
      const cursor = String(cursorOf(clock, query))
      const headers = { ...pageHeaders(row, page), 'stream-cursor': cursor, 'cache-control': 'no-store' }
      if (page.records.length > 0) {
        return new Response(pageBody(row, page), { headers: { ...headers, etag: etagOf(row, page) } })
      }
      const left = deadline - clock.monotonic()
      if (page.isEnd || left <= 0) return new Response(null, { status: 204, headers })
      await watch.changed(left, request.signal)
      if (request.signal.aborted) return new Response(null, { status: 204, headers })
      watch.arm()
    }
  } finally {
    watch.end()
  }
}

/** One page an event; pulled, so that a client that does not read holds nothing but one page. */
function serverSent(ports: ReadPorts, live: Live): Response {
  const gone = new AbortController()
  const events = eventsOf(ports, live, gone.signal)
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await events.next()
      if (done === true) controller.close()
      else controller.enqueue(new TextEncoder().encode(value))
    },
    async cancel() {
      gone.abort()
      await events.return()
    },
  })
  const headers = {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    ...(isText(live.row) ? {} : { 'stream-sse-data-encoding': 'base64' }),
  }
  return new Response(body, { headers })
}

async function* eventsOf(
  { streams }: ReadPorts,
  { row: first, from, query }: Live,
  signal: AbortSignal,
): AsyncGenerator<string, void, void> {
  const clock = realClock()
  const deadline = clock.monotonic() + SSE_MS
  const watch = streams.watch(first.path)
  let at = from
  let isTold = false
  try {
    for (let row = await streams.row(first.path); row?.id === first.id; row = await streams.row(first.path)) {
      if (row.gone) return
      const page = await pageFrom(streams, row, at)
      if (page.records.length > 0) yield dataEvent(row, page) + controlEvent(page, cursorOf(clock, query))
      else if (!isTold || page.isEnd) yield controlEvent(page, cursorOf(clock, query))
      isTold = true
      at = page.next
      if (page.isEnd) return
      if (page.isUpToDate) {
        const left = deadline - clock.monotonic()
        if (left <= 0) return
        await watch.changed(left, signal)
        if (signal.aborted) return
      }
      watch.arm()
    }
  } finally {
    watch.end()
  }
}

/** Never one the client has: a cache would answer it with the same again. */
function cursorOf(clock: Clock, { cursor }: ReadQuery): number {
  const now = Math.floor((clock.now() - CURSOR_EPOCH_MS) / CURSOR_MS)
  if (cursor === null || cursor < now) return now
  return cursor + 1 + Math.floor(realRandom().next() * CURSOR_JITTER)
}
