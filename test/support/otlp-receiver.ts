/**
 * A backend for tests: takes OTLP over HTTP, protobuf and JSON, as strictly as the protocol is written, and keeps what
 * came. Whatever is not valid is answered with 400 and listed in `problems`, which a test expects to be empty.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { type Decoded, type DecodedValue, decodeJson, decodeProtobuf } from './otlp-decode.ts'

export type Attributes = Record<string, unknown>

export type ReceivedSpan = {
  traceId: string
  spanId: string
  parentSpanId: string | null
  name: string
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer */
  kind: number
  startNs: bigint
  endNs: bigint
  attributes: Attributes
  links: { traceId: string; spanId: string }[]
  events: string[]
  /** 0 unset, 1 ok, 2 error */
  status: number
  scope: string
  resource: Attributes
  contentType: string
}

export type ReceivedMetric = {
  name: string
  unit: string
  kind: 'gauge' | 'sum' | 'histogram'
  points: { attributes: Attributes; value: number; count: number }[]
}

export type ReceivedLog = { body: unknown; severity: number; attributes: Attributes; traceId: string }

const REQUESTS: Record<string, string> = {
  '/v1/traces': 'TraceRequest',
  '/v1/metrics': 'MetricsRequest',
  '/v1/logs': 'LogsRequest',
}
const PROTOBUF = 'application/x-protobuf'
const JSON_TYPE = 'application/json'

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = []
  readonly metrics: ReceivedMetric[] = []
  readonly logs: ReceivedLog[] = []
  readonly problems: string[] = []
  readonly contentTypes = new Set<string>()
  readonly #server: Server
  #waiting: { ready: () => boolean; resolve: () => void }[] = []

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<OtlpReceiver> {
    const server = createServer()
    const receiver = new OtlpReceiver(server)
    server.on('request', (request, response) => {
      receiver.#receive(request).then(
        ({ status, type }) => response.writeHead(status, { 'content-type': type }).end(type === JSON_TYPE ? '{}' : ''),
        (error: unknown) => {
          receiver.problems.push(`${request.url}: ${error instanceof Error ? error.message : String(error)}`)
          response.writeHead(400).end()
          receiver.#wake()
        },
      )
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return receiver
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the receiver does not listen')
    return `http://127.0.0.1:${address.port}`
  }

  /** Resolves once `ready` holds, looked at after each request that came; the time-out is the test's. */
  until(ready: () => boolean): Promise<void> {
    if (ready()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ ready, resolve }))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #receive(request: IncomingMessage): Promise<{ status: number; type: string }> {
    const schema = REQUESTS[request.url ?? '']
    if (schema === undefined || request.method !== 'POST') throw new Error(`no such endpoint for ${request.method}`)
    const type = request.headers['content-type'] ?? ''
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const sent = Buffer.concat(chunks)
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
    let decoded: Decoded
    if (type === PROTOBUF) decoded = decodeProtobuf(schema, body)
    else if (type === JSON_TYPE) decoded = decodeJson(schema, JSON.parse(body.toString('utf8')))
    else throw new Error(`content-type ${type}`)
    this.contentTypes.add(type)
    this.#keep(decoded, type)
    this.#wake()
    return { status: 200, type }
  }

  #keep(request: Decoded, contentType: string): void {
    for (const of of items(request, 'resourceSpans')) {
      const resource = resourceOf(of)
      for (const group of items(of, 'scopeSpans')) {
        const scope = scopeOf(group)
        for (const span of items(group, 'spans')) this.spans.push({ ...spanOf(span), scope, resource, contentType })
      }
    }
    for (const of of items(request, 'resourceMetrics')) {
      resourceOf(of)
      for (const group of items(of, 'scopeMetrics')) {
        scopeOf(group)
        for (const metric of items(group, 'metrics')) this.metrics.push(metricOf(metric))
      }
    }
    for (const of of items(request, 'resourceLogs')) {
      resourceOf(of)
      for (const group of items(of, 'scopeLogs')) {
        scopeOf(group)
        for (const record of items(group, 'logRecords')) this.logs.push(logOf(record))
      }
    }
  }

  #wake(): void {
    const ready = this.#waiting.filter((one) => one.ready())
    this.#waiting = this.#waiting.filter((one) => !ready.includes(one))
    for (const { resolve } of ready) resolve()
  }
}

function resourceOf(group: Decoded): Attributes {
  const attributes = attributesOf(record(group, 'resource'), 'resource')
  if (typeof attributes['service.name'] !== 'string') throw new Error('resource without service.name')
  return attributes
}

function scopeOf(group: Decoded): string {
  const name = text(record(group, 'scope'), 'name')
  if (name === '') throw new Error('scope without a name')
  return name
}

function spanOf(span: Decoded): Omit<ReceivedSpan, 'scope' | 'resource' | 'contentType'> {
  const name = text(span, 'name')
  if (name === '') throw new Error('span without a name')
  const kind = span['kind']
  if (typeof kind !== 'number' || kind < 1 || kind > 5) throw new Error(`span ${name} has kind ${String(kind)}`)
  const startNs = time(span, 'startTimeUnixNano')
  const endNs = time(span, 'endTimeUnixNano')
  if (endNs < startNs) throw new Error(`span ${name} ends before it begins`)
  const parent = text(span, 'parentSpanId')
  if (parent !== '') assertId(parent, 16, `parent of span ${name}`)
  const events = items(span, 'events').map((event) => {
    time(event, 'timeUnixNano')
    attributesOf(event, `event of span ${name}`)
    return text(event, 'name')
  })
  const status = record(span, 'status')['code'] ?? 0
  if (typeof status !== 'number' || status > 2) throw new Error(`span ${name} has status ${String(status)}`)
  const links = items(span, 'links').map((link) => idsOf(link, `link of span ${name}`))
  const attributes = attributesOf(span, `span ${name}`)
  const ids = idsOf(span, `span ${name}`)
  return { ...ids, parentSpanId: parent || null, name, kind, startNs, endNs, attributes, links, events, status }
}

function metricOf(metric: Decoded): ReceivedMetric {
  const name = text(metric, 'name')
  if (!/^[A-Za-z][A-Za-z0-9_.\-/]{0,254}$/.test(name)) throw new Error(`metric name ${JSON.stringify(name)}`)
  const kinds = (['gauge', 'sum', 'histogram'] as const).filter((kind) => kind in metric)
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) throw new Error(`metric ${name} has data of kinds [${kinds.join(', ')}]`)
  const data = record(metric, kind)
  const temporality = data['aggregationTemporality']
  if (kind !== 'gauge' && temporality !== 1 && temporality !== 2) throw new Error(`metric ${name} has no temporality`)
  const points = items(data, 'dataPoints').map((point) => pointOf(point, kind, name))
  return { name, unit: text(metric, 'unit'), kind, points }
}

function pointOf(point: Decoded, kind: ReceivedMetric['kind'], name: string): ReceivedMetric['points'][number] {
  time(point, 'timeUnixNano')
  const attributes = attributesOf(point, `metric ${name}`)
  if (kind !== 'histogram') {
    const value = point['asDouble'] ?? point['asInt']
    if (typeof value !== 'number' && typeof value !== 'bigint')
      throw new Error(`metric ${name} has a point without value`)
    return { attributes, value: Number(value), count: 1 }
  }
  const counts = numbers(point, 'bucketCounts')
  const bounds = numbers(point, 'explicitBounds')
  const count = Number(point['count'] ?? 0n)
  if (counts.length !== bounds.length + 1)
    throw new Error(`metric ${name}: ${counts.length} buckets, ${bounds.length} bounds`)
  if (counts.reduce((sum, one) => sum + one, 0) !== count) throw new Error(`metric ${name}: buckets do not add up`)
  return { attributes, value: Number(point['sum'] ?? 0), count }
}

function logOf(log: Decoded): ReceivedLog {
  time(log, 'observedTimeUnixNano')
  const severity = log['severityNumber'] ?? 0
  if (typeof severity !== 'number' || severity > 24) throw new Error(`log with severity ${String(severity)}`)
  const traceId = text(log, 'traceId')
  if (traceId !== '') assertId(traceId, 32, 'log')
  return { body: anyValue(record(log, 'body')), severity, attributes: attributesOf(log, 'log'), traceId }
}

// Parts

function idsOf(from: Decoded, what: string): { traceId: string; spanId: string } {
  const ids = { traceId: text(from, 'traceId'), spanId: text(from, 'spanId') }
  assertId(ids.traceId, 32, what)
  assertId(ids.spanId, 16, what)
  return ids
}

function assertId(id: string, length: number, what: string): void {
  if (id.length !== length || /^0*$/.test(id)) throw new Error(`${what} has id ${JSON.stringify(id)}`)
}

function attributesOf(from: Decoded, what: string): Attributes {
  const found: Attributes = {}
  for (const pair of items(from, 'attributes')) {
    const key = text(pair, 'key')
    if (key === '' || key in found) throw new Error(`${what} has attribute ${JSON.stringify(key)} empty or twice`)
    found[key] = anyValue(record(pair, 'value'))
  }
  return found
}

function anyValue(value: Decoded): unknown {
  const [[kind, item] = [], ...more] = Object.entries(value)
  if (more.length > 0) throw new Error(`a value of kinds ${Object.keys(value).join(', ')}`)
  if (kind === undefined) return null
  if (kind === 'arrayValue') return items(value['arrayValue'], 'values').map(anyValue)
  if (kind === 'kvlistValue') {
    return Object.fromEntries(
      items(value['kvlistValue'], 'values').map((p) => [text(p, 'key'), anyValue(record(p, 'value'))]),
    )
  }
  return typeof item === 'bigint' ? Number(item) : item
}

function time(from: Decoded, name: string): bigint {
  const value = from[name]
  if (typeof value !== 'bigint' || value <= 0n) throw new Error(`${name} is ${String(value)}`)
  return value
}

function text(from: Decoded, name: string): string {
  const value = from[name] ?? ''
  if (typeof value !== 'string') throw new Error(`${name} is no text`)
  return value
}

function record(from: Decoded, name: string): Decoded {
  const value = from[name] ?? {}
  if (!isRecord(value)) throw new Error(`${name} is no message`)
  return value
}

function items(from: DecodedValue | undefined, name: string): Decoded[] {
  const value = isRecord(from) ? (from[name] ?? []) : []
  if (!Array.isArray(value) || !value.every(isRecord)) throw new Error(`${name} is no list of messages`)
  return value
}

function numbers(from: Decoded, name: string): number[] {
  const value = from[name] ?? []
  if (!Array.isArray(value)) throw new Error(`${name} is no list`)
  return value.map(Number)
}

function isRecord(value: DecodedValue | undefined): value is Decoded {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array)
}
