/**
 * The Durable Streams protocol under `/api/v1/streams/...` (docs/durable-streams.md).
 *
 * - R6: reading needs the role viewer, everything else the role operator, and pages of other origins write nothing: the
 *   door is that of the rest of the interface.
 * - Every answer, refusals too, carries the headers that keep browsers from guessing and embedding.
 */
import type { Context, Hono } from 'hono'
import { RuntimeError } from '../../../shared/error.ts'
import { type Caller, requireRole } from '../../../shared/role.ts'
import type { Streams } from '../../observe/streams.ts'
import { answerProblem, type Report } from '../problem-answer.ts'
import { SAFE_HEADERS } from './answer.ts'
import { headOf, read, rowOf } from './read.ts'
import { pathOf, readQuery } from './request.ts'
import { append, create, remove } from './write.ts'

export const STREAMS_PREFIX = '/streams'

const METHODS = 'GET, HEAD, PUT, POST, DELETE, OPTIONS'
/** What a client may send; browsers ask before they do. */
const REQUEST_HEADERS = [
  'authorization',
  'content-type',
  'if-none-match',
  'producer-epoch',
  'producer-id',
  'producer-seq',
  'stream-closed',
  'stream-expires-at',
  'stream-fork-offset',
  'stream-fork-sub-offset',
  'stream-forked-from',
  'stream-seq',
  'stream-ttl',
].join(', ')

export type StreamRoutes = {
  readonly prefix: string
  readonly streams: Streams
  readonly longPollMs: number
  /** @throws UNAUTHORIZED HOST_REFUSED ORIGIN_REFUSED */
  admit(context: Context, writes: boolean): Promise<Caller>
  /** Learns of errors that are bugs. */
  readonly report: Report
}

export function serveStreams(app: Hono, routes: StreamRoutes): void {
  app.all(`${routes.prefix}/*`, async (context) => {
    const answer = await answered(routes, context)
    for (const [name, value] of Object.entries(SAFE_HEADERS)) answer.headers.set(name, value)
    return answer
  })
}

async function answered(routes: StreamRoutes, context: Context): Promise<Response> {
  try {
    return await handled(routes, context)
  } catch (error) {
    return answerProblem(error, routes.report)
  }
}

async function handled(routes: StreamRoutes, context: Context): Promise<Response> {
  const { streams, longPollMs, prefix } = routes
  const request = context.req.raw
  const url = new URL(request.url)
  // Says what may be asked; no origin is let in by it.
  if (request.method === 'OPTIONS') {
    const headers = { allow: METHODS, 'access-control-allow-methods': METHODS }
    return new Response(null, { status: 204, headers: { ...headers, 'access-control-allow-headers': REQUEST_HEADERS } })
  }
  const writes = request.method !== 'GET' && request.method !== 'HEAD'
  requireRole(await routes.admit(context, writes), writes ? 'operator' : 'viewer', `${request.method} of a stream`)
  const path = pathOf(url.pathname, prefix)
  switch (request.method) {
    case 'GET':
      return read({ streams, longPollMs }, path, readQuery(url), request)
    case 'HEAD':
      return headOf(await rowOf(streams, path))
    case 'PUT':
      return create(streams, path, request, prefix)
    case 'POST':
      return append(streams, path, request)
    case 'DELETE':
      return remove(streams, path)
    default:
      throw new RuntimeError('METHOD_NOT_ALLOWED', `A stream takes no ${request.method}; it takes ${METHODS}.`, {
        detail: { allow: METHODS },
      })
  }
}
