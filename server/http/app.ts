/**
 * The HTTP interface as a Hono app for any mount path: `/api/v1/...` and the observer's page.
 *
 * - Order at the door: Host and Origin, who calls, role, input, handler. Nothing is read of a body before the role is
 *   known, and no handler sees unchecked input.
 * - Every error is a problem document (docs/http.md); what is not ours leaves as INTERNAL and is reported.
 * - Addresses with what no store can hold are refused in one place, for all routes: `refuseUnfit`.
 */

import type { Context } from 'hono'
import { Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { RuntimeError } from '../../shared/error.ts'
import { requireRole } from '../../shared/role.ts'
import type { Control } from '../control.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { Streams } from '../observe/streams.ts'
import { paths } from '../paths.ts'
import { readJson } from './body.ts'
import { check, type Deps, type Endpoint } from './endpoint.ts'
import { createGuard, type Guard, type GuardOptions } from './guard.ts'
import { queryOf, refuseUnfit } from './input.ts'
import { serveObserver } from './observer.ts'
import { openApi } from './openapi.ts'
import { answerProblem, type Report, reportToStderr } from './problem-answer.ts'
import { actionEndpoints } from './routes/action.ts'
import { healthEndpoints } from './routes/health.ts'
import { mendEndpoints } from './routes/mend.ts'
import { processEndpoints } from './routes/process.ts'
import { recordEndpoints } from './routes/record.ts'
import { sandboxEndpoints } from './routes/sandbox.ts'
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
  /** Learns of errors that are bugs, with the trace id their answer carries; default writes them to standard error. */
  readonly report?: Report
}

export const ENDPOINTS: readonly Endpoint[] = [
  ...processEndpoints,
  ...actionEndpoints,
  ...mendEndpoints,
  ...sandboxEndpoints,
  ...stepEndpoints,
  ...recordEndpoints,
  ...healthEndpoints,
]

const API_PREFIX = '/api/v1'
export const FEED_PATH = `${API_PREFIX}/feed`

export function createApp(options: AppOptions): Hono {
  const { inspect, control, basePath, web = paths.web, version = '0' } = options
  const app = new Hono()
  const guard = createGuard(options)
  const { report = reportToStderr } = options
  app.onError((error) => answerProblem(error, report))
  app.notFound(({ req }) => answerProblem(new RuntimeError('NOT_FOUND', `There is nothing at ${req.path}.`), report))
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
    serveStreams(app, { prefix: API_PREFIX + STREAMS_PREFIX, streams, longPollMs, admit, report })
  }
  refuseOtherMethods(app)
  app.all(`${API_PREFIX}/*`, refuseUnknown)
  if (web !== false) serveObserver(app, { guard, folder: web, basePath })
  return app
}

function route(app: Hono, endpoint: Endpoint, { guard, deps }: { guard: Guard; deps: Deps }): void {
  app.on(endpoint.method.toUpperCase(), routePath(endpoint.path), async (context) => {
    const writes = endpoint.method === 'post'
    const probe = endpoint.role === null
    const caller = probe ? NOBODY : await admitted(guard, context, writes)
    if (endpoint.role !== null) requireRole(caller, endpoint.role, `${endpoint.method.toUpperCase()} ${endpoint.path}`)
    const query = check(endpoint.query, queryOf(context), 'query')
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
  refuseUnfit(context)
  return caller
}

function routePath(path: string): string {
  return API_PREFIX + path.replace(/\{(\w+)\}/g, ':$1')
}

/** Known addresses say which methods they have. */
function refuseOtherMethods(app: Hono): void {
  const allowed = new Map<string, string[]>([
    [`${API_PREFIX}/openapi.json`, ['GET', 'HEAD']],
    [FEED_PATH, ['GET', 'HEAD']],
  ])
  for (const { method, path } of ENDPOINTS) {
    const methods = allowed.get(routePath(path)) ?? []
    allowed.set(routePath(path), [...methods, ...(method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()])])
  }
  for (const [path, methods] of allowed) {
    const allow = methods.join(', ')
    app.all(path, ({ req }) => {
      const text = `${req.path} has no method ${req.method}; it has ${allow}.`
      throw new RuntimeError('METHOD_NOT_ALLOWED', text, { detail: { allow } })
    })
  }
}

function refuseUnknown(context: Context): never {
  const { method, path } = context.req
  throw new RuntimeError('NOT_FOUND', `There is no ${method} ${path}. ${API_PREFIX}/openapi.json lists what there is.`)
}
