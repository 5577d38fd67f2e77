/**
 * The HTTP interface as a Hono app for any mount path: `/api/v1/...` and the observer's page.
 *
 * - Order at the door: Host and Origin, who calls, role, input, handler. Nothing is read of a body before the role is
 *   known, and no handler sees unchecked input.
 * - Every error is a problem document (docs/http.md); what is not ours leaves as INTERNAL and is reported to the host.
 */

import type { Context } from 'hono'
import { Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { RuntimeError } from '../../shared/error.ts'
import { problemOf } from '../../shared/problem.ts'
import { requireRole } from '../../shared/role.ts'
import type { Control } from '../control.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { Streams } from '../observe/streams.ts'
import { paths } from '../paths.ts'
import { readJson } from './body.ts'
import { check, type Deps, type Endpoint } from './endpoint.ts'
import { createGuard, type Guard, type GuardOptions } from './guard.ts'
import { serveObserver } from './observer.ts'
import { openApi } from './openapi.ts'
import { actionEndpoints } from './routes/action.ts'
import { healthEndpoints } from './routes/health.ts'
import { processEndpoints } from './routes/process.ts'
import { recordEndpoints } from './routes/record.ts'
import { stepEndpoints } from './routes/step.ts'
import { LONG_POLL_MS } from './stream/read.ts'
import { STREAMS_PREFIX, serveStreams } from './stream/route.ts'

export type AppOptions = GuardOptions & {
  readonly inspect: Inspect
  readonly control: Control
  /** Serves the Durable Streams protocol under /api/v1/streams; absent serves none. */
  readonly streams?: Streams
  /** Ms a long-poll of a stream waits, default 20_000. */
  readonly longPollMs?: number
  /** Absolute mount path, only where it cannot be seen: a host that strips it without leaving a trailing slash. */
  readonly basePath?: string
  /** Folder of the prebuilt observer; false serves none. */
  readonly web?: string | false
  readonly version?: string
  /** Learns of errors that are bugs: their text never leaves by HTTP. */
  readonly report?: (error: unknown) => void
}

export const ENDPOINTS: readonly Endpoint[] = [
  ...processEndpoints,
  ...actionEndpoints,
  ...stepEndpoints,
  ...recordEndpoints,
  ...healthEndpoints,
]

export const API_PREFIX = '/api/v1'
export const FEED_PATH = `${API_PREFIX}/feed`

export function createApp(options: AppOptions): Hono {
  const { inspect, control, basePath, web = paths.web, version = '0' } = options
  const app = new Hono()
  const guard = createGuard(options)
  app.onError((error) => {
    if (!(error instanceof RuntimeError)) options.report?.(error)
    return answerProblem(error)
  })
  app.notFound((context) => answerProblem(new RuntimeError('NOT_FOUND', `There is nothing at ${context.req.path}.`)))
  for (const endpoint of ENDPOINTS) route(app, endpoint, { guard, deps: { inspect, control } })
  const document = openApi(ENDPOINTS, version)
  app.get(`${API_PREFIX}/openapi.json`, async (context) => {
    await admitted(guard, context, false)
    return context.json(document)
  })
  app.get(FEED_PATH, () => {
    throw new RuntimeError(
      'UPGRADE_REQUIRED',
      'The feed is a WebSocket with the subprotocol vivarium.v1. If you asked for one, this server hands no upgrades ' +
        'to the runtime: call runtime.attach(server).',
    )
  })
  const { streams, longPollMs = LONG_POLL_MS } = options
  if (streams !== undefined) {
    const admit = (context: Context, writes: boolean) => admitted(guard, context, writes)
    serveStreams(app, { prefix: API_PREFIX + STREAMS_PREFIX, streams, longPollMs, admit, report: options.report })
  }
  app.all(`${API_PREFIX}/*`, refuseUnknown)
  if (web !== false) serveObserver(app, { guard, folder: web, basePath })
  return app
}

function route(app: Hono, endpoint: Endpoint, { guard, deps }: { guard: Guard; deps: Deps }): void {
  const path = API_PREFIX + endpoint.path.replace(/\{(\w+)\}/g, ':$1')
  app.on(endpoint.method.toUpperCase(), path, async (context) => {
    const writes = endpoint.method === 'post'
    const probe = endpoint.role === null
    const caller = probe ? NOBODY : await admitted(guard, context, writes)
    if (endpoint.role !== null) requireRole(caller, endpoint.role, `${endpoint.method.toUpperCase()} ${endpoint.path}`)
    const query = check(endpoint.query, context.req.query(), 'query')
    const body =
      endpoint.body === null
        ? undefined
        : check(endpoint.body, await readJson(context.req.raw, endpoint.bodyBytesMax), 'body')
    const params: Record<string, string> = context.req.param()
    const answer = await endpoint.handle({ params, query, body, caller, deps })
    const headers = { 'cache-control': 'no-store' }
    if (answer.kind === 'text') return context.body(answer.text, 200, { ...headers, 'content-type': answer.type })
    return context.json(answer.value, (answer.status ?? 200) as ContentfulStatusCode, headers) // statuses are our own
  })
}

const NOBODY = { actor: 'probe:anonymous', roles: [] }

async function admitted(guard: Guard, context: Context, writes: boolean) {
  const caller = await guard.admit(context.req.raw, writes)
  if (caller === null) throw new RuntimeError('UNAUTHORIZED', 'This server wants a token: Authorization: Bearer TOKEN.')
  return caller
}

function refuseUnknown(context: Context): never {
  const { method, path } = context.req
  throw new RuntimeError('NOT_FOUND', `There is no ${method} ${path}. ${API_PREFIX}/openapi.json lists what there is.`)
}

function answerProblem(error: unknown): Response {
  const problem = problemOf(error)
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (problem.code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer realm="vivarium"'
  if (problem.code === 'UPGRADE_REQUIRED') headers['upgrade'] = 'websocket'
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}
