/** Spans of turns, steps and commits against the real SDK; and what all this costs and does without one. */
import { setImmediate as tick } from 'node:timers/promises'
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Bus } from '../../server/observe/bus.ts'
import { type Owner, type Said, Telemetry } from '../../server/observe/telemetry.ts'
import { RuntimeError } from '../../shared/error.ts'
import { type Collected, SpanCollector } from '../support/span-collector.ts'

class PlannedExit extends Error {}

const owner = (id: string, more: Partial<Owner> = {}): Owner => ({
  id,
  agent: id.split('/')[0] ?? null,
  kind: 'agent',
  hidden: false,
  incarnation: 1,
  ...more,
})
const said = (more: Partial<Said> = {}): Said => ({
  kind: 'call',
  op: 'add',
  from: null,
  attempts: 0,
  messageId: null,
  lineage: { root: null, traceparent: null },
  ...more,
})
const lineage = (traceparent: string | null, root: string | null = null): Said['lineage'] => ({ root, traceparent })
const idsOf = (span: Collected): { traceId: string; spanId: string } => span.spanContext()
const nothing = (): void => {}

let bus: Bus
let telemetry: Telemetry<Owner>

beforeEach(() => {
  bus = new Bus(() => 0)
  telemetry = new Telemetry<Owner>({ bus, isExit: (thrown) => thrown instanceof PlannedExit })
})
afterEach(() => telemetry.close())

describe('without a provider', () => {
  test('[O6] code of a turn is found under its process, in promises and timers, and nowhere else', async () => {
    const a = owner('a/1')
    const b = owner('b/1')
    const seen: (string | undefined)[] = []
    for (let i = 0; i < 20; i++) {
      const later = telemetry.around(a, said(), async () => {
        telemetry.around(b, said(), () => seen.push(telemetry.currentProcess()?.id))
        seen.push(telemetry.currentProcess()?.id)
        await tick()
        await new Promise<void>((resolve) => setTimeout(resolve, 0))
        return telemetry.currentProcess()?.id
      })
      expect(telemetry.currentProcess()).toBeNull()
      expect(await later).toBe('a/1')
    }
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 'b/1' : 'a/1')))
  })

  test('[O6] results and errors pass through unchanged', async () => {
    const error = new Error('mine')
    expect(telemetry.around(owner('a/1'), null, (_process, none) => none)).toBeNull()
    expect(() =>
      telemetry.around(owner('a/1'), said(), () => {
        throw error
      }),
    ).toThrow(error)
    const rejected = Promise.reject(error)
    expect(telemetry.around(owner('a/1'), said(), () => rejected)).toBe(rejected)
    await expect(rejected).rejects.toBe(error)
  })

  test('nothing is traced', async () => {
    const message = said()
    expect(telemetry.enabled).toBe(false)
    telemetry.around(owner('a/1'), message, () => expect(telemetry.traceparent()).toBeNull())
    expect(message.lineage.traceparent).toBeNull()
    expect(telemetry.produce({ id: 'a/1', agent: 'a' }, 'add')).toBeNull()
    expect(await telemetry.step(owner('a/1'), 'quote', async () => 3)).toBe(3)
  })
})

describe('with a provider', () => {
  let collector: SpanCollector
  beforeEach(() => {
    collector = new SpanCollector()
  })
  afterEach(() => collector.stop())

  test('a provider that is registered late is found, and one that went away is not used', async () => {
    expect(telemetry.enabled).toBe(true)
    await collector.stop()
    expect(telemetry.enabled).toBe(false)
    telemetry.around(owner('a/1'), said(), nothing)
    collector = new SpanCollector()
    telemetry.around(owner('a/1'), said(), nothing)
    expect(collector.spans).toHaveLength(1)
  })

  test('[O7] a turn is a CONSUMER span in the trace of its sender and linked to it', () => {
    let traceparent: string | null = null
    const first = said({ op: 'ask', messageId: 'm1' })
    telemetry.around(owner('concierge/alice'), first, () => {
      traceparent = telemetry.traceparent()
    })
    const second = said({ from: 'concierge/alice', attempts: 1, lineage: lineage(traceparent, 'm1') })
    telemetry.around(owner('order/17', { incarnation: 3 }), second, nothing)
    const sender = collector.one('process concierge')
    const receiver = collector.one('process order')
    expect(idsOf(receiver).traceId).toBe(idsOf(sender).traceId)
    expect(receiver.parentSpanContext?.spanId).toBe(idsOf(sender).spanId)
    expect(receiver.links.map((link) => link.context.spanId)).toEqual([idsOf(sender).spanId])
    expect(sender.links).toEqual([])
    expect(receiver.kind).toBe(SpanKind.CONSUMER)
    expect(receiver.attributes).toEqual({
      'messaging.system.name': 'vivarium',
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'process',
      'messaging.destination.name': 'order/17',
      'messaging.destination.template': 'order/{key}',
      'messaging.message.conversation_id': 'm1',
      'vivarium.agent': 'order',
      'vivarium.process.incarnation': 3,
      'vivarium.op': 'add',
      'vivarium.message.kind': 'call',
      'vivarium.message.attempt': 2,
      'vivarium.message.sender': 'concierge/alice',
    })
    expect(sender.attributes['messaging.message.id']).toBe('m1')
  })

  test('[O7] a message without a trace keeps the one of its first turn when it is delivered again', () => {
    const message = said()
    const refuse = (): void => {
      throw new Error('crash')
    }
    expect(() => telemetry.around(owner('a/1'), message, refuse)).toThrow('crash')
    telemetry.around(owner('a/1', { incarnation: 2 }), { ...message, attempts: 1 }, nothing)
    const [crashed, again] = collector.named('process a')
    expect(crashed?.status.code).toBe(SpanStatusCode.ERROR)
    expect(again?.spanContext().traceId).toBe(crashed?.spanContext().traceId)
    expect(again?.links).toHaveLength(1)
  })

  test('[O7] spans of user code are children of the turn, after an await too, and of a step inside it', async () => {
    const tracer = trace.getTracer('user')
    const a = owner('a/1')
    await telemetry.around(a, said(), async () => {
      tracer.startSpan('early').end()
      await tick()
      tracer.startSpan('late').end()
      await telemetry.step(a, 'quote', async () => {
        await tick()
        tracer.startActiveSpan('http', (span) => span.end())
      })
    })
    const turn = idsOf(collector.one('process a')).spanId
    const step = collector.one('step quote')
    expect(collector.one('early').parentSpanContext?.spanId).toBe(turn)
    expect(collector.one('late').parentSpanContext?.spanId).toBe(turn)
    expect(step.parentSpanContext?.spanId).toBe(turn)
    expect(collector.one('http').parentSpanContext?.spanId).toBe(idsOf(step).spanId)
  })

  test('[O7] code outside of turns does not become part of whatever trace is active around it', () => {
    const tracer = trace.getTracer('user')
    tracer.startActiveSpan('stranger', (span) => {
      telemetry.around(owner('a/1'), null, () => tracer.startSpan('init').end())
      telemetry.around(owner('a/1'), said(), () => tracer.startSpan('inside').end())
      span.end()
    })
    expect(collector.one('init').parentSpanContext).toBeUndefined()
    expect(idsOf(collector.one('process a')).traceId).not.toBe(idsOf(collector.one('stranger')).traceId)
  })

  test('[O7] a message from outside begins in the trace of the caller', () => {
    trace.getTracer('host').startActiveSpan('request', (span) => {
      const traceparent = telemetry.produce({ id: 'a/1', agent: 'a' }, 'add')
      telemetry.around(owner('a/1'), said({ lineage: lineage(traceparent) }), nothing)
      span.end()
    })
    const producer = collector.one('send a')
    expect(producer.kind).toBe(SpanKind.PRODUCER)
    expect(producer.parentSpanContext?.spanId).toBe(idsOf(collector.one('request')).spanId)
    expect(collector.one('process a').parentSpanContext?.spanId).toBe(idsOf(producer).spanId)
  })

  test('an invalid traceparent starts a new trace and fails nothing', () => {
    const bad = ['', 'x', `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`, `ff-${'1'.repeat(32)}-${'1'.repeat(16)}-01`]
    for (const text of bad) telemetry.around(owner('a/1'), said({ lineage: lineage(text) }), nothing)
    const turns = collector.named('process a')
    expect(turns).toHaveLength(bad.length)
    expect(turns.every((span) => span.parentSpanContext === undefined && span.links.length === 0)).toBe(true)
  })

  test('[O8] an asynchronous turn ends when it settles, failed ones with their error', async () => {
    const gate = Promise.withResolvers<void>()
    const turn = telemetry.around(owner('a/1'), said(), () => gate.promise)
    await tick()
    expect(collector.spans).toHaveLength(0)
    gate.reject(new RuntimeError('CALL_TIMEOUT', 'No reply within 5000 ms.'))
    await expect(turn).rejects.toThrow()
    const span = collector.one('process a')
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: 'No reply within 5000 ms.' })
    expect(span.attributes['error.type']).toBe('CALL_TIMEOUT')
    expect(span.events.map((event) => event.name)).toEqual(['exception'])
  })

  test('[O8] a planned exit is no error', async () => {
    const leave = async (): Promise<void> => {
      throw new PlannedExit('done')
    }
    await expect(telemetry.around(owner('a/1'), said(), leave)).rejects.toThrow('done')
    expect(collector.one('process a').status.code).toBe(SpanStatusCode.UNSET)
  })

  test('[O8] a turn that never settles ends with its process, once', async () => {
    const gate = Promise.withResolvers<void>()
    telemetry.around(owner('a/1', { incarnation: 2 }), said(), () => gate.promise)
    const exit = { kind: 'process:exit', at: 1, id: 'a/1', reason: 'killed', restarts: true, error: null } as const
    bus.emit({ ...exit, incarnation: 1 })
    expect(collector.spans).toHaveLength(0)
    bus.emit({ ...exit, incarnation: 2 })
    gate.resolve()
    await tick()
    const span = collector.one('process a')
    expect(span.status.code).toBe(SpanStatusCode.ERROR)
    expect(span.attributes).toMatchObject({ 'error.type': 'Interrupted', 'vivarium.exit.reason': 'killed' })
  })

  test('[O8] open turns end with the runtime and with a parked process', () => {
    telemetry.around(owner('a/1'), said(), () => Promise.withResolvers<void>().promise)
    telemetry.around(owner('b/1'), said(), () => Promise.withResolvers<void>().promise)
    bus.emit({
      kind: 'process:diverge',
      at: 0,
      id: 'b/1',
      incarnation: 1,
      turn: 't',
      expected: 'x',
      found: 'y',
      codeVersion: '1',
    })
    expect(collector.one('process b').attributes['error.type']).toBe('process:diverge')
    telemetry.close()
    expect(collector.one('process a').attributes['error.type']).toBe('Interrupted')
    expect(bus.stats.listeners).toBe(0)
  })

  test('[O8] a step whose outcome is an error has error status, its attempts and the exception', async () => {
    const cause = new TypeError('no price')
    const outcome = { out: { err: { code: 'STEP_FAILED', message: 'gave up' } }, attempts: 3, error: cause }
    await telemetry.step(owner('a/1'), 'quote', async () => outcome)
    const fail = telemetry.step(owner('a/1'), 'throws', () => Promise.reject(cause))
    await expect(fail).rejects.toBe(cause)
    const span = collector.one('step quote')
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: 'no price' })
    expect(span.attributes).toMatchObject({ 'vivarium.step': 'quote', 'vivarium.step.attempts': 3 })
    expect(collector.one('step throws').status.code).toBe(SpanStatusCode.ERROR)
  })

  test('a commit is a span of its own trace with its true times', () => {
    bus.emit({ kind: 'commit:stop', at: 5_000, rows: 9, turns: 7, durationMs: 12.5, outcome: 'done' })
    bus.emit({ kind: 'commit:stop', at: 6_000, rows: 1, turns: 1, durationMs: 1, outcome: 'rejected' })
    const [done, rejected] = collector.named('commit')
    expect(done?.startTime).toEqual([4, 987_500_000])
    expect(done?.endTime).toEqual([5, 0])
    expect(done?.attributes).toEqual({
      'vivarium.commit.rows': 9,
      'vivarium.commit.turns': 7,
      'vivarium.commit.outcome': 'done',
    })
    expect(rejected?.status.code).toBe(SpanStatusCode.ERROR)
  })

  test('[O9] hidden services emit nothing and no id is part of a span name', () => {
    telemetry.around(owner('vivarium/committer', { hidden: true }), said(), nothing)
    telemetry.around(owner('supervisor/shop', { agent: null, kind: 'supervisor' }), said(), nothing)
    telemetry.around(owner('cart/alice@example.com'), said(), nothing)
    expect(collector.spans.map((span) => span.name)).toEqual(['process supervisor', 'process cart'])
  })
})
