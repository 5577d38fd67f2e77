/** Logs and alarms as OpenTelemetry log records. */
import { context, logs, propagation, trace } from '@opentelemetry/api'
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node'
import { afterEach, expect, test } from 'vitest'
import { Bus } from '../../server/observe/bus.ts'
import { LogRecords } from '../../server/observe/log-record.ts'
import { type Owner, Telemetry } from '../../server/observe/telemetry.ts'
import type { RuntimeEvent } from '../../shared/event.ts'

type LogProcessor = NonNullable<NodeSDKConfiguration['logRecordProcessors']>[number]
type LogRecord = Parameters<LogProcessor['onEmit']>[0]

const of = { at: 5_000, id: 'cart/alice', incarnation: 2 }
const log: RuntimeEvent = { ...of, kind: 'log', level: 'warn', message: 'no stock', data: { sku: 'x', secret: 1n } }
const error = { code: 'RateLimited', message: 'slow down', name: 'RateError', stack: 'RateError: slow down\n  at x' }
const failure: RuntimeEvent = {
  ...of,
  kind: 'failure',
  failureId: 'f1',
  class: 'RateLimited',
  error,
  decision: 'retry',
  op: 'add',
}

let sdk: NodeSDK | null = null
afterEach(async () => {
  await sdk?.shutdown()
  for (const api of [logs, trace, context, propagation]) api.disable()
})

function collect(): LogRecord[] {
  const records: LogRecord[] = []
  const processor: LogProcessor = {
    onEmit: (record) => void records.push(record),
    forceFlush: async () => {},
    shutdown: async () => {},
    enabled: () => true,
  }
  const span = { onStart: () => {}, onEnd: () => {}, forceFlush: async () => {}, shutdown: async () => {} }
  sdk = new NodeSDK({
    logRecordProcessors: [processor],
    spanProcessors: [span],
    metricReaders: [],
    autoDetectResources: false,
  })
  sdk.start()
  return records
}

test('[O13] without a logger provider nothing happens, and a late one is found', () => {
  const bus = new Bus(() => 0)
  const bridge = new LogRecords(bus)
  bus.emit(log)
  const records = collect()
  bus.emit(log)
  expect(records).toHaveLength(1)
  bridge.close()
  bus.emit(log)
  expect(records).toHaveLength(1)
  expect(bus.stats).toMatchObject({ failures: 0, listeners: 0 })
})

test('[O13] a log line inside a turn belongs to its span', () => {
  const records = collect()
  const bus = new Bus(() => 0)
  const bridge = new LogRecords(bus)
  const telemetry = new Telemetry<Owner>({ bus, isExit: () => false })
  const owner = { id: 'cart/alice', agent: 'cart', kind: 'agent', hidden: false, incarnation: 2 }
  const said = {
    kind: 'send',
    op: 'add',
    from: null,
    attempts: 0,
    messageId: 'm',
    lineage: { root: null, traceparent: null },
  }
  const active = telemetry.around(owner, said, () => {
    bus.emit(log)
    return trace.getActiveSpan()?.spanContext()
  })
  expect(records[0]?.spanContext?.spanId).toBe(active?.spanId)
  expect(records[0]).toMatchObject({ body: 'no stock', severityNumber: 13, severityText: 'warn' })
  expect(records[0]?.eventName).toBeUndefined()
  expect(records[0]?.attributes).toMatchObject({ 'vivarium.process': 'cart/alice', 'vivarium.agent': 'cart' })
  expect(records[0]?.attributes['vivarium.log.data']).toMatch(/unreadable/)
  telemetry.close()
  bridge.close()
})

test('[O13] what an operator should hear of has a name, a severity and a sentence', () => {
  const records = collect()
  const bus = new Bus(() => 0)
  const bridge = new LogRecords(bus)
  const events: RuntimeEvent[] = [
    failure,
    { ...of, kind: 'dead-letter', messageId: 'm1', op: 'add', reason: 'failed 3 attempts' },
    { ...of, kind: 'process:diverge', turn: 'm1', expected: 'step a#0', found: 'step b#0', codeVersion: '1' },
    { ...of, kind: 'process:fenced' },
    { ...of, kind: 'supervisor:give-up', intensity: 3, periodMs: 5_000, child: 'cart' },
    {
      ...of,
      kind: 'thread:block',
      op: 'add',
      durationMs: 612.4,
      stack: ['spin (file:///a.ts:1:2)', 'add (file:///a.ts:3:4)'],
    },
    { kind: 'store:down', at: 1, error },
    { kind: 'store:up', at: 1, downMs: 40 },
    { kind: 'node:leave', at: 1, node: 'n', epoch: 1, reason: 'dead' },
    {
      kind: 'audit',
      at: 1,
      actor: 'operator:ana',
      verb: 'kill',
      target: 'cart/alice',
      reason: 'stuck',
      outcome: 'done',
    },
  ]
  for (const event of events) bus.emit(event)
  expect(records.map((record) => [record.eventName, record.severityText])).toEqual([
    ['vivarium.failure', 'error'],
    ['vivarium.dead_letter', 'warn'],
    ['vivarium.process.diverge', 'error'],
    ['vivarium.process.fenced', 'warn'],
    ['vivarium.supervisor.give_up', 'error'],
    ['vivarium.thread.block', 'warn'],
    ['vivarium.store.down', 'error'],
    ['vivarium.store.up', 'info'],
    ['vivarium.node.leave', 'info'],
    ['vivarium.audit', 'info'],
  ])
  expect(records[0]?.body).toBe('cart/alice failed (RateLimited): slow down Decision: retry.')
  expect(records[0]?.attributes).toMatchObject({
    'error.type': 'RateLimited',
    'exception.type': 'RateError',
    'exception.message': 'slow down',
    'exception.stacktrace': error.stack,
    'vivarium.failure.id': 'f1',
  })
  expect(records[5]?.body).toBe('cart/alice held the thread of its node for 612 ms in add at spin (file:///a.ts:1:2).')
  expect(records[5]?.attributes).toMatchObject({ 'code.stacktrace': expect.stringContaining('a.ts:3:4') })
  expect(records[9]?.body).toBe('operator:ana: kill cart/alice: done (stuck)')
  bridge.close()
})
