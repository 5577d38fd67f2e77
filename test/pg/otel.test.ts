/** One conversation of two agents, killed in the middle and resumed by another process, as a backend sees it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts'

const MAIN = fileURLToPath(new URL('../support/otel-child.ts', import.meta.url))
/** A backend gets a span soon after its end, so that a test can wait for it. */
const EXPORT_DELAY_MS = '20'
/** Two node processes start one after the other, on a machine that may be busy. */
const TIMEOUT_MS = 90_000

let receiver: OtlpReceiver
let database: TestDatabase
let children: ChildProcess[]

beforeEach(async () => {
  receiver = await OtlpReceiver.start()
  database = await freshDatabase()
  children = []
})
afterEach(async () => {
  await Promise.all(children.map((child) => end(child, 'SIGKILL')))
  await receiver.stop()
  await database.drop()
})

function start(mode: 'begin' | 'resume', protocol: string): ChildProcess {
  const { host, port, user, password, database: name } = database.connection
  const env = {
    ...process.env,
    // The address of the server may be a socket, which a URL of the driver cannot name.
    ...{ PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password },
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
    OTEL_BSP_SCHEDULE_DELAY: EXPORT_DELAY_MS,
  }
  const args = ['--conditions=vivarium-source', MAIN, `postgres:///${name}`, mode]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  children.push(child)
  return child
}

async function said(child: ChildProcess, what: string): Promise<void> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the child ended with ${code} before it said ${what}`)
  })
  for (;;) {
    const [message] = await Promise.race([once(child, 'message'), ended])
    if (message === what) return
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}

function one(name: string, among: readonly ReceivedSpan[] = receiver.spans): ReceivedSpan {
  const found = among.filter((span) => span.name === name)
  const [span] = found
  if (span === undefined || found.length > 1) {
    throw new Error(`${found.length} spans "${name}" in [${among.map((each) => each.name).join(', ')}]`)
  }
  return span
}

describe.each(['http/json', 'http/protobuf'])('%s', (protocol) => {
  test('[O12] a conversation is one trace across kill -9, and replayed steps emit nothing', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const first = start('begin', protocol)
    await said(first, 'hanging')
    await receiver.until(() =>
      ['step price', 'process order'].every((name) => receiver.spans.some((s) => s.name === name)),
    )
    await end(first, 'SIGKILL')
    const before = receiver.spans.length

    const second = start('resume', protocol)
    await said(second, 'shipped')
    second.send('stop')
    const [code] = await once(second, 'exit')
    expect(code).toBe(0)
    expect(receiver.problems).toEqual([])

    const ours = receiver.spans.filter((span) => span.name !== 'commit')
    const later = receiver.spans.slice(before)
    const { traceId } = one('send desk')
    expect(new Set(ours.map((span) => span.traceId))).toEqual(new Set([traceId]))

    // Recorded before the kill: not told again by the replay. The step that hung is told once, when it ended.
    expect(later.map((span) => span.name)).not.toContain('step price')
    expect(later.map((span) => span.name)).not.toContain('price lookup')
    const charge = one('step charge', later)
    const resumed = one('process desk', later)
    expect(charge.parentSpanId).toBe(resumed.spanId)
    expect(resumed.parentSpanId).toBe(one('send desk').spanId)
    expect(resumed.attributes).toMatchObject({ 'vivarium.op': 'ask', 'messaging.destination.name': 'desk/alice' })

    // A user's own spans: of the handler (again, it really ran again) and of the step (once).
    const lookup = one('price lookup')
    expect(lookup.parentSpanId).toBe(one('step price').spanId)
    expect(lookup.scope).toBe('user')
    expect(one('reading the request', later).parentSpanId).toBe(resumed.spanId)

    // The other agent: a call, a send, and a timer of its own, each linked to what caused it.
    const orders = ours.filter((span) => span.name === 'process order')
    const ops = new Map(orders.map((span) => [span.attributes['vivarium.op'], span]))
    expect([...ops.keys()].sort()).toEqual(['done', 'reserve', 'ship'])
    expect(ops.get('ship')?.parentSpanId).toBe(resumed.spanId)
    expect(ops.get('ship')?.links).toEqual([{ traceId, spanId: resumed.spanId }])
    expect(ops.get('done')?.parentSpanId).toBe(ops.get('ship')?.spanId)
    expect(orders.every((span) => span.kind === 5 && span.status === 0)).toBe(true)

    expect(receiver.spans.some((span) => span.name === 'commit')).toBe(true)
    const turns = receiver.metrics.filter((metric) => metric.name === 'vivarium.turns').flatMap((m) => m.points)
    expect(turns.map((point) => point.attributes['vivarium.op'])).toEqual(expect.arrayContaining(['ask', 'ship']))
  })
})
