/** What leaves over the wire when the standard variables ask: traces and metrics, both encodings, a strict receiver. */
import { context, diag, logs, metrics, propagation, trace } from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../../server/config.ts'
import { Bus } from '../../server/observe/bus.ts'
import { Metrics } from '../../server/observe/metrics.ts'
import { type Exporting, startSdk } from '../../server/observe/sdk.ts'
import { type Owner, Telemetry } from '../../server/observe/telemetry.ts'
import type { RuntimeEvent } from '../../shared/event.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'
import { decodeJson, decodeProtobuf } from '../support/otlp-decode.ts'
import { OtlpReceiver } from '../support/otlp-receiver.ts'

const a: Owner = { id: 'cart/alice', agent: 'cart', kind: 'agent', hidden: false, incarnation: 1 }
const message = { kind: 'call', op: 'add', from: null, attempts: 0, messageId: 'm1' }
const of = { at: 1_000, id: 'cart/alice', incarnation: 1 }
const turn: RuntimeEvent = { ...of, kind: 'turn:stop', turn: 'm1', op: 'add', durationMs: 250, outcome: 'done' }
const commit: RuntimeEvent = {
  kind: 'commit:stop',
  at: Date.now(),
  rows: 3,
  turns: 2,
  durationMs: 1.5,
  outcome: 'done',
}
const failure: RuntimeEvent = {
  ...of,
  kind: 'failure',
  failureId: 'f1',
  class: 'RateLimited',
  error: { code: 'X', message: 'x' },
  decision: 'retry',
  op: 'add',
}
const letter: RuntimeEvent = { ...of, kind: 'dead-letter', messageId: 'm1', op: 'add', reason: 'failed 3 attempts' }

const row = (id: string, mailbox: number, status: ProcessRow['status'], hidden = false): ProcessRow => ({
  ...{ id, kind: 'agent', agent: id.split('/')[0] ?? null, parent: null, status, incarnation: 1, mailbox, turns: 0 },
  ...{ busyMs: 0, restarts: 0, wait: null, stateVersion: 0, durable: true, depth: 1, children: 0, failures: 0 },
  ...{ since: 0, strategy: null, node: null, hidden },
})
const ROWS = [row('cart/a', 2, 'idle'), row('cart/b', 5, 'running'), row('vivarium/feed', 9, 'idle', true)]

let receiver: OtlpReceiver
let bus: Bus
let telemetry: Telemetry<Owner>
let meters: Metrics
let sdk: Exporting | null

function start(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const { otel } = readConfig()
  sdk = otel === null ? null : startSdk(otel)
}

beforeEach(async () => {
  receiver = await OtlpReceiver.start()
  bus = new Bus(() => 0)
  telemetry = new Telemetry<Owner>({ bus, isExit: () => false })
  const tasks = () => ({ busy: 2, queued: 5 })
  meters = new Metrics({ bus, scan: (visit) => ROWS.forEach(visit), droppedEvents: () => 4, tasks })
})
afterEach(async () => {
  meters.close()
  telemetry.close()
  for (const api of [trace, metrics, logs, context, propagation, diag]) api.disable()
  vi.unstubAllEnvs()
  await receiver.stop()
})

describe.each([
  ['http/json', 'application/json'],
  ['http/protobuf', 'application/x-protobuf'],
])('%s', (protocol, contentType) => {
  test('[O11] spans and metrics arrive whole and valid under the service name', async () => {
    start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol })
    expect(meters.attach()).toBe(true)
    const said = { ...message, lineage: { root: 'm1', traceparent: null } }
    await telemetry.around(a, said, () => telemetry.step(a, 'quote', async () => 'ok'))
    for (const event of [turn, turn, commit, failure, letter]) bus.emit(event)
    await sdk?.shutdown()

    expect(receiver.problems).toEqual([])
    expect([...receiver.contentTypes]).toEqual([contentType])
    expect(receiver.spans.map((span) => span.name).sort()).toEqual(['commit', 'process cart', 'step quote'])
    const spans = new Map(receiver.spans.map((span) => [span.name, span]))
    expect(spans.get('step quote')?.parentSpanId).toBe(spans.get('process cart')?.spanId)
    expect(spans.get('process cart')).toMatchObject({ kind: 5, status: 0, scope: 'vivarium', parentSpanId: null })
    expect(spans.get('process cart')?.attributes).toMatchObject({ 'vivarium.op': 'add', 'vivarium.message.attempt': 1 })
    expect(spans.get('process cart')?.resource['service.name']).toBe('vivarium')
  })

  test('[O10] what a reader collects is what happened, by status, agent, class and outcome', async () => {
    const env = { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_TRACES_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' }
    start({ ...env, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
    meters.attach()
    for (const event of [turn, turn, commit, failure, letter]) bus.emit(event)
    await sdk?.shutdown()

    expect(receiver.problems).toEqual([])
    expect(receiver.spans).toEqual([])
    const points = (name: string): [unknown, number, number][] =>
      receiver.metrics
        .filter((metric) => metric.name === name)
        .flatMap((metric) => metric.points.map((p): [unknown, number, number] => [p.attributes, p.value, p.count]))
    const cart = { 'vivarium.agent': 'cart' }
    const turns = { ...cart, 'vivarium.op': 'add', 'vivarium.turn.outcome': 'done' }
    expect(points('vivarium.turns')).toEqual([[turns, 2, 1]])
    expect(points('vivarium.turn.duration')).toEqual([[turns, 0.5, 2]])
    expect(points('vivarium.failures')).toEqual([[{ ...cart, 'vivarium.failure.class': 'RateLimited' }, 1, 1]])
    expect(points('vivarium.dead_letters')).toEqual([[cart, 1, 1]])
    expect(points('vivarium.commit.rows')).toEqual([[{ 'vivarium.commit.outcome': 'done' }, 3, 1]])
    expect(points('vivarium.mailbox.messages')).toEqual([[cart, 7, 1]])
    expect(points('vivarium.mailbox.length.max')).toEqual([[cart, 5, 1]])
    expect(points('vivarium.events.dropped')).toEqual([[{}, 4, 1]])
    expect(points('vivarium.compute.tasks')).toEqual([
      [{ 'vivarium.compute.state': 'running' }, 2, 1],
      [{ 'vivarium.compute.state': 'queued' }, 5, 1],
    ])
    expect(points('vivarium.processes')).toHaveLength(9)
    expect(points('vivarium.processes')).toContainEqual([{ 'vivarium.process.status': 'running' }, 1, 1])
    expect(points('vivarium.processes')).toContainEqual([{ 'vivarium.process.status': 'exited' }, 0, 1])
    expect(points('nodejs.eventloop.delay.p99')).toHaveLength(1)
    const units = new Map(receiver.metrics.map((metric) => [metric.name, metric.unit]))
    expect(units.get('vivarium.turn.duration')).toBe('s')
  })
})

test('[O10] without a meter provider nothing listens to turns, and a late one is found when asked again', async () => {
  expect(meters.attach()).toBe(false)
  expect(bus.watching('turn:stop')).toBe(false)
  start({ OTEL_METRICS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${receiver.url}/v1/metrics` })
  expect(meters.attach()).toBe(true)
  expect(bus.watching('turn:stop')).toBe(true)
  meters.close()
  expect(bus.watching('turn:stop')).toBe(false)
  await sdk?.shutdown()
})

test('[O11] the environment names the service, and nothing about machine or user leaves unasked', async () => {
  start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_SERVICE_NAME: 'shop', OTEL_METRICS_EXPORTER: 'none' })
  bus.emit(commit)
  await sdk?.shutdown()
  expect(receiver.problems).toEqual([])
  expect(receiver.spans.map((span) => span.resource['service.name'])).toEqual(['shop'])
  const keys = Object.keys(receiver.spans[0]?.resource ?? {})
  expect(keys.filter((key) => !key.startsWith('telemetry.sdk.')).sort()).toEqual([
    'service.instance.id',
    'service.name',
  ])
})

describe('the receiver is strict', () => {
  test('an unknown field, a wrong type and a cut body are refused', () => {
    expect(() => decodeJson('Span', { spanID: 'x' })).toThrow('no field spanID')
    expect(() => decodeJson('Span', { traceId: 'not hex' })).toThrow('is not hex')
    expect(() => decodeJson('Span', { startTimeUnixNano: 1.5 })).toThrow('fixed64')
    expect(() => decodeProtobuf('Span', Uint8Array.of(0x7a))).toThrow('ends inside')
    expect(() => decodeProtobuf('TraceRequest', Uint8Array.of(0x08, 1))).toThrow('wire type')
    expect(() => decodeProtobuf('TraceRequest', Uint8Array.of(0x12, 0))).toThrow('no field 2')
  })

  test('a span without its required fields is a problem and answered with 400', async () => {
    const scope = { name: 's' }
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'x' } }] }
    const send = async (span: object): Promise<number> => {
      const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope, spans: [span] }] }] })
      const headers = { 'content-type': 'application/json' }
      return (await fetch(`${receiver.url}/v1/traces`, { method: 'POST', headers, body })).status
    }
    const good = {
      ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), name: 'n', kind: 1 },
      ...{ startTimeUnixNano: '1', endTimeUnixNano: '2' },
    }
    expect(await send(good)).toBe(200)
    for (const bad of [
      { ...good, name: '' },
      { ...good, kind: 0 },
      { ...good, traceId: '0'.repeat(32) },
      { ...good, endTimeUnixNano: '0' },
      { ...good, startTimeUnixNano: '3' },
      { ...good, links: [{ traceId: 'a'.repeat(32) }] },
    ]) {
      expect(await send(bad)).toBe(400)
    }
    expect(receiver.problems).toHaveLength(6)
    expect(receiver.spans).toHaveLength(1)
  })
})
