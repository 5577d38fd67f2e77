/**
 * Writing by the Durable Streams protocol: create, fork, append, close, delete. What may be written is decided by the
 * store, in one step with writing it (server/store/stream-verb.ts); here verdicts become answers.
 */
import { RuntimeError } from '../../../shared/error.ts'
import type { Streams } from '../../observe/streams.ts'
import { PROCESS_STREAMS, type Producer, type StreamRow, type StreamVerdict } from '../../store/stream.ts'
import { readBytes } from '../body.ts'
import { answerRefusal } from '../problem-answer.ts'
import { contentTypeOf, cutter, forkOf, isClose, lifetimeOf, offsetText, producerOf, writerSeqOf } from './request.ts'

type Headers = Record<string, string>

export async function create(streams: Streams, path: string, request: Request, prefix: string): Promise<Response> {
  assertWritable(path)
  const { headers } = request
  const fork = forkOf(headers, prefix)
  if (fork !== null) assertWritable(fork.from)
  const wanted = {
    path,
    contentType: contentTypeOf(headers),
    ...lifetimeOf(headers),
    closed: isClose(headers),
    fork,
    cut: cutter(await readBytes(request), 'allowed'),
  }
  const created = await streams.create(wanted)
  switch (created.kind) {
    case 'created':
      return new Response(null, { status: 201, headers: { ...standing(created.row), location: locationOf(request) } })
    case 'exists':
      return new Response(null, { status: 200, headers: standing(created.row) })
    case 'conflict':
      throw new RuntimeError('STREAM_CONFLICT', `The stream ${path} ${created.why}.`)
    case 'absent':
      throw new RuntimeError('STREAM_NOT_FOUND', `There is no stream ${fork?.from ?? path} to fork from.`)
    case 'beyond':
      throw new RuntimeError('REQUEST_INVALID', `The stream ${fork?.from ?? path} has no such position to fork at.`)
    default:
      return created satisfies never
  }
}

export async function append(streams: Streams, path: string, request: Request): Promise<Response> {
  assertWritable(path)
  const { headers } = request
  const producer = producerOf(headers)
  const seq = writerSeqOf(headers)
  const close = isClose(headers)
  const body = await readBytes(request)
  const empty = body.length === 0
  if (empty && !close) throw new RuntimeError('REQUEST_INVALID', 'An append has a body; closing needs Stream-Closed.')
  // A client may add a type of its own to an empty body; it says nothing then.
  const contentType = empty ? null : contentTypeOf(headers)
  if (!empty && contentType === null) throw new RuntimeError('REQUEST_INVALID', 'An append names its Content-Type.')
  const write = { path, contentType, cut: cutter(body, 'refused'), empty, close, seq, producer }
  return answerOf(await streams.write(write), path, { producer, empty })
}

export async function remove(streams: Streams, path: string): Promise<Response> {
  assertWritable(path)
  const outcome = await streams.remove(path)
  if (outcome === 'absent') throw new RuntimeError('STREAM_NOT_FOUND', `There is no stream ${path}.`)
  if (outcome === 'gone') throw new RuntimeError('STREAM_GONE', `The stream ${path} was deleted already.`)
  return new Response(null, { status: 204 })
}

type Sent = { readonly producer: Producer | null; readonly empty: boolean }

function answerOf(verdict: StreamVerdict, path: string, { producer, empty }: Sent): Response {
  switch (verdict.kind) {
    case 'written':
    case 'duplicate': {
      // A producer tells by the status whether its data was new.
      const isNew = verdict.kind === 'written' && producer !== null && !empty
      const headers = { ...standing(verdict.row), ...heard(producer, verdict.seq) }
      return new Response(null, { status: isNew ? 200 : 204, headers })
    }
    case 'absent':
      throw new RuntimeError('STREAM_NOT_FOUND', `There is no stream ${path}.`)
    case 'gone':
      throw new RuntimeError('STREAM_GONE', `The stream ${path} was deleted.`)
    case 'full':
      throw new RuntimeError('STREAM_LIMIT', `The stream ${path} has as many records as one may have.`)
    case 'unborn':
      throw new RuntimeError('REQUEST_INVALID', 'A new Producer-Epoch begins with Producer-Seq 0.')
    case 'type':
      throw new RuntimeError('STREAM_CONFLICT', `The stream ${path} has the content type ${verdict.contentType}.`)
    case 'regressed':
      throw new RuntimeError('STREAM_CONFLICT', `The last Stream-Seq was ${verdict.last}; the next one is greater.`)
    case 'closed':
      return answerRefusal(new RuntimeError('STREAM_CLOSED', `The stream ${path} is closed.`), standing(verdict.row))
    case 'stale': {
      const error = new RuntimeError('STREAM_FENCED', `The producer has epoch ${verdict.epoch} by now.`)
      return answerRefusal(error, { 'producer-epoch': String(verdict.epoch) })
    }
    case 'gap': {
      const error = new RuntimeError('STREAM_CONFLICT', `The next Producer-Seq is ${verdict.expected}.`)
      const received = String(producer?.seq ?? 0)
      const headers = { 'producer-expected-seq': String(verdict.expected), 'producer-received-seq': received }
      return answerRefusal(error, headers)
    }
    default:
      return verdict satisfies never
  }
}

function standing(row: StreamRow): Headers {
  return {
    'content-type': row.contentType,
    'stream-next-offset': offsetText(row.tail),
    ...(row.closed ? { 'stream-closed': 'true' } : {}),
  }
}

function heard(producer: Producer | null, seq: number | null): Headers {
  if (producer === null) return {}
  return { 'producer-epoch': String(producer.epoch), 'producer-seq': String(seq ?? producer.seq) }
}

/** Streams of agents have one writer, which holds the claim. @throws STREAM_READ_ONLY */
function assertWritable(path: string): void {
  if (!path.startsWith(PROCESS_STREAMS)) return
  throw new RuntimeError('STREAM_READ_ONLY', `${path} belongs to an agent.`, { detail: { allow: 'GET, HEAD' } })
}

/** As the client wrote it: behind a proxy the server knows no better one. */
function locationOf(request: Request): string {
  const url = new URL(request.url)
  return `${url.origin}${url.pathname}`
}
