/**
 * What requests of the Durable Streams protocol say: paths, offsets, headers. Everything that is not of the form the
 * protocol asks for is refused here, before the store is asked.
 */
import { RuntimeError } from '../../../shared/error.ts'
import { isJson, type NewStream, type Producer } from '../../store/stream.ts'
import { utf8 } from '../body.ts'

/** Characters of a path; an index entry holds it. */
const PATH_LENGTH_MAX = 1_000
/** Characters of Producer-Id and Stream-Seq. */
const TOKEN_LENGTH_MAX = 256
const OFFSET_DIGITS = 16
/** The first half is room for a later division of streams; other servers of the protocol write it too. */
const OFFSET_HEAD = `${'0'.repeat(OFFSET_DIGITS)}_`
const OFFSET = /^0{16}_(\d{16})$/
/** The control interface of subscriptions, which this server does not have. */
const RESERVED_SEGMENT = '__ds'

/** Fixed width, so that offsets sort as texts do. */
export const offsetText = (position: number): string => OFFSET_HEAD + String(position).padStart(OFFSET_DIGITS, '0')

/** Path of a stream below the prefix, from a path or URL as sent. @throws REQUEST_INVALID NOT_FOUND */
export function pathOf(sent: string, prefix: string): string {
  const at = sent.indexOf(`${prefix}/`)
  const rest = at < 0 ? sent.replace(/^\/+/, '') : sent.slice(at + prefix.length + 1)
  let path: string
  try {
    path = decodeURIComponent(rest)
  } catch {
    throw invalid(`The path ${JSON.stringify(rest.slice(0, 80))} is not percent-encoded correctly`)
  }
  if (path === '' || path.length > PATH_LENGTH_MAX || /[\u0000-\u001f\u007f]/.test(path) || !path.isWellFormed()) {
    throw invalid(`A stream path has 1 to ${PATH_LENGTH_MAX} characters and no control characters`)
  }
  if (path.split('/').some((segment) => segment === '.' || segment === '..')) {
    throw invalid('A stream path has no "." and ".." segments')
  }
  if (path.split('/', 1)[0] === RESERVED_SEGMENT) {
    throw new RuntimeError('NOT_FOUND', 'This server has no subscriptions; paths below __ds are reserved for them.')
  }
  return path
}

export type ReadQuery = {
  /** Null where none was sent. */
  readonly offset: 'start' | 'now' | number | null
  readonly live: 'long-poll' | 'sse' | null
  readonly cursor: number | null
}

/** Parameters this protocol does not know are ignored, as it asks. @throws REQUEST_INVALID */
export function readQuery(url: URL): ReadQuery {
  const offsets = url.searchParams.getAll('offset')
  if (offsets.length > 1) throw invalid('A read has one offset')
  const [sent] = offsets
  const offset = sent === undefined ? null : offsetOf(sent)
  const live = url.searchParams.get('live')
  if (live !== null && live !== 'long-poll' && live !== 'sse') throw invalid('live is long-poll or sse')
  if (live !== null && offset === null) throw invalid('A live read needs an offset; -1 is the start')
  const cursor = url.searchParams.get('cursor')
  return { offset, live, cursor: cursor !== null && /^\d{1,15}$/.test(cursor) ? Number(cursor) : null }
}

function offsetOf(sent: string): 'start' | 'now' | number {
  if (sent === '-1') return 'start'
  if (sent === 'now') return 'now'
  const digits = OFFSET.exec(sent)?.[1]
  if (digits === undefined) throw invalid(`The offset ${JSON.stringify(sent.slice(0, 80))} is none this server gave`)
  return Number(digits)
}

export function isClose(headers: Headers): boolean {
  return headers.get('stream-closed')?.toLowerCase() === 'true'
}

/** @throws REQUEST_INVALID */
export function contentTypeOf(headers: Headers): string | null {
  const sent = headers.get('content-type')?.trim() ?? ''
  if (sent === '') return null
  if (!/^[\w.+-]+\/[\w.+-]+\s*(;[^\u0000-\u001f]*)?$/.test(sent)) throw invalid(`The content type ${sent} is none`)
  return sent
}

/** @throws REQUEST_INVALID */
export function lifetimeOf(headers: Headers): Pick<NewStream, 'ttlS' | 'expiresAt'> {
  const ttl = headers.get('stream-ttl')
  const expires = headers.get('stream-expires-at')
  if (ttl !== null && expires !== null) throw invalid('Send Stream-TTL or Stream-Expires-At, not both')
  const ttlS = ttl === null ? null : wholeNumber('Stream-TTL', ttl)
  if (expires === null) return { ttlS, expiresAt: null }
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(expires)
  const expiresAt = isTime ? Date.parse(expires) : Number.NaN
  if (Number.isNaN(expiresAt)) throw invalid('Stream-Expires-At is a time of RFC 3339')
  return { ttlS, expiresAt }
}

/** @throws REQUEST_INVALID */
export function forkOf(headers: Headers, prefix: string): NewStream['fork'] {
  const from = headers.get('stream-forked-from')
  const offset = headers.get('stream-fork-offset')
  const sub = headers.get('stream-fork-sub-offset')
  if (from === null) {
    if (offset === null && sub === null) return null
    throw invalid('A fork offset needs Stream-Forked-From')
  }
  const at = offset === null ? null : offsetOf(offset)
  const count = sub === null ? 0 : wholeNumber('Stream-Fork-Sub-Offset', sub)
  if (count > 0 && at === null) throw invalid('Stream-Fork-Sub-Offset needs Stream-Fork-Offset')
  return { from: pathOf(from, prefix), at: at === 'now' ? null : at === 'start' ? 0 : at, sub: count }
}

/** @throws REQUEST_INVALID */
export function producerOf(headers: Headers): Producer | null {
  const id = headers.get('producer-id')
  const epoch = headers.get('producer-epoch')
  const seq = headers.get('producer-seq')
  if (id === null && epoch === null && seq === null) return null
  if (id === null || epoch === null || seq === null) {
    throw invalid('Producer-Id, Producer-Epoch and Producer-Seq come together')
  }
  if (id === '' || id.length > TOKEN_LENGTH_MAX) throw invalid(`Producer-Id has 1 to ${TOKEN_LENGTH_MAX} characters`)
  return { id, epoch: wholeNumber('Producer-Epoch', epoch), seq: wholeNumber('Producer-Seq', seq) }
}

/** @throws REQUEST_INVALID */
export function writerSeqOf(headers: Headers): string | null {
  const seq = headers.get('stream-seq')
  if (seq !== null && seq.length > TOKEN_LENGTH_MAX)
    throw invalid(`Stream-Seq has at most ${TOKEN_LENGTH_MAX} characters`)
  return seq
}

function wholeNumber(name: string, sent: string): number {
  const number = /^(0|[1-9]\d{0,15})$/.test(sent) ? Number(sent) : Number.NaN
  if (Number.isSafeInteger(number)) return number
  throw invalid(`${name} is ${JSON.stringify(sent.slice(0, 40))}, which is no whole number in plain digits`)
}

/** A body as the records of a stream of that type: JSON streams keep messages, a list is one message an element.
 *  @throws REQUEST_INVALID */
export function cutter(body: Uint8Array, emptyList: 'allowed' | 'refused'): (contentType: string) => Uint8Array[] {
  return (contentType) => {
    if (body.length === 0) return []
    if (!isJson(contentType)) return [body]
    const value = parseJson(utf8(body))
    if (!Array.isArray(value)) return [messageOf(value)]
    if (value.length === 0 && emptyList === 'refused') throw invalid('An empty list appends nothing')
    return value.map(messageOf)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid(`The body is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function messageOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

function invalid(what: string): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `${what}.`)
}
