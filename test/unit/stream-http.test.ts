/** Streams over HTTP and feed: who may, what agents' streams look like, gaps, pruning. */
import type { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { CostMeter } from '../../server/feed/cost.ts'
import { StreamLog } from '../../server/feed/stream-log.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import type { GuardOptions } from '../../server/http/guard.ts'
import { toyFeed, Viewer } from '../support/feed-viewer.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const AT = 'http://127.0.0.1:4711/api/v1/streams'
const offset = (n: number): string => `0000000000000000_${String(n).padStart(16, '0')}`

let world: World
let node: TestNode
let app: Hono
let hold: ReturnType<typeof gate>

const teller = agent('teller', {
  state: () => null,
  streams: { maxAgeMs: 3_600_000, maxBytes: 50 },
  on: {
    async tell(ctx, count: number) {
      const out = ctx.stream('s')
      for (let i = 0; i < count; i++) await out.write({ at: new Date(i) })
      await out.flush()
      await hold.promise
      await out.close()
    },
  },
})

function appOf(options: GuardOptions = {}): Hono {
  const inspect = new RuntimeInspect(node.core)
  const report = (error: unknown): void => expect.fail(String(error))
  return createApp({ ...options, inspect, control: node.control, streams: node.core.streams, web: false, report })
}

beforeEach(async () => {
  world = World.memory()
  node = await world.node('n', [teller])
  hold = gate()
  app = appOf()
})
afterEach(() => {
  hold.open()
  return world.close()
})

async function ask(method: string, path: string, init: RequestInit = {}, of = app) {
  const headers = { host: '127.0.0.1:4711', ...(init.headers as Record<string, string> | undefined) }
  const response = await world.run(Promise.resolve(of.request(`${AT}/${path}`, { ...init, method, headers })))
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const text = { 'content-type': 'text/plain' }

async function told(count: number): Promise<void> {
  await node.send(node.ref(teller, 't').tell(count))
  await world.until(async () => (await node.core.streams.row('processes/teller/t/s'))?.tail === count)
}

describe('http', () => {
  test('[R6] a viewer reads and writes nothing; pages of other origins and unnamed callers do neither', async () => {
    const tokens = [
      { token: 'v', name: 'eva', role: 'viewer' as const },
      { token: 'o', name: 'ola', role: 'operator' as const },
    ]
    const guarded = appOf({ tokens })
    const as = (token: string) => ({ ...text, authorization: `Bearer ${token}` })
    const status = async (method: string, headers: Record<string, string>, body?: string) =>
      (await ask(method, 'x', { headers, ...(body === undefined ? {} : { body }) }, guarded)).status
    expect(await status('PUT', text)).toBe(401)
    expect(await status('PUT', as('v'))).toBe(403)
    expect(await status('PUT', as('o'))).toBe(201)
    expect(await status('POST', as('v'), 'a')).toBe(403)
    expect(await status('DELETE', as('v'))).toBe(403)
    expect(await status('POST', { ...as('o'), origin: 'https://example.com' }, 'a')).toBe(403)
    expect(await status('POST', as('o'), 'a')).toBe(204)
    expect(await status('GET', text)).toBe(401)
    expect(await status('GET', as('v'))).toBe(200)
  })

  test('[R6] bodies over 1 MiB, odd paths and the reserved prefix are refused in words', async () => {
    const large = await ask('PUT', 'x', { headers: text, body: 'x'.repeat(1024 * 1024 + 1) })
    expect([large.status, JSON.parse(large.text).code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    expect((await ask('PUT', 'a%00b', { headers: text })).status).toBe(400)
    expect((await ask('GET', '__ds/subscriptions/1')).status).toBe(404)
    const patched = await ask('PATCH', 'x', { headers: text })
    expect([patched.status, patched.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT, POST, DELETE, OPTIONS'])
  })

  test('[R6] streams of agents are read as items and written by nobody', async () => {
    await told(2)
    const { status, headers, text: body } = await ask('GET', 'processes/teller%2Ft/s')
    expect([status, headers.get('content-type'), headers.get('stream-next-offset')]).toEqual([
      200,
      'application/json',
      offset(2),
    ])
    expect(JSON.parse(body)).toMatchObject([
      { kind: 'chunk', offset: 0, step: null, attempt: 1, value: { at: { $date: 0 } } },
      { kind: 'chunk', offset: 1, value: { at: { $date: 1 } } },
    ])
    expect(headers.get('stream-closed')).toBeNull()
    hold.open()
    await world.until(async () => (await node.core.streams.row('processes/teller/t/s'))?.closed === true)
    const end = await ask('GET', `processes/teller/t/s?offset=${offset(2)}`)
    expect([end.text, end.headers.get('stream-closed')]).toEqual(['[]', 'true'])
    for (const method of ['PUT', 'POST', 'DELETE']) {
      const refused = await ask(method, 'processes/teller/t/s', method === 'DELETE' ? {} : { headers: text, body: 'x' })
      expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
    const fork = await ask('PUT', 'f', { headers: { ...text, 'stream-forked-from': 'processes/teller/t/s' } })
    expect(fork.status).toBe(405)
  })

  test('[R6] a long-poll hears at once of what is written here, and leaves nothing behind', async () => {
    await ask('PUT', 'x', { headers: text })
    const poll = Promise.resolve(app.request(`${AT}/x?offset=now&live=long-poll`, { headers: { host: '127.0.0.1' } }))
    await world.settle()
    await ask('POST', 'x', { headers: text, body: 'news' })
    const response = await world.run(poll)
    expect([response.status, await response.text(), response.headers.get('stream-next-offset')]).toEqual([
      200,
      'news',
      offset(1),
    ])
    const before = node.faults.counts.get('streamRow')
    await world.advance(5_000)
    expect(node.faults.counts.get('streamRow')).toBe(before)
  })
})

describe('what is kept', () => {
  test('[R7] records over the policy go, and a reader from before them is told so in every way', async () => {
    await told(4)
    const path = 'processes/teller/t/s'
    await world.until(async () => ((await node.core.streams.row(path))?.floor ?? 0) > 0, 'the pruning')
    const floor = (await node.core.streams.row(path))?.floor ?? 0
    const gone = await ask('GET', `${path}?offset=${offset(0)}`)
    expect([gone.status, JSON.parse(gone.text).code]).toEqual([410, 'STREAM_GAP'])
    const read = node.core.streams.read('teller/t', 's')
    const error = await world.refusal(read.next())
    expect(error).toMatchObject({ code: 'STREAM_GAP', detail: { from: 0, floor } })
    const kept = node.core.streams.read('teller/t', 's', { from: floor })
    expect(await world.run(kept.next())).toMatchObject({ value: { offset: floor } })
    await kept.return()
    expect((await ask('GET', path)).status).toBe(200)
  })

  test('[R7] a closed stream goes with its last record, and its name is free', async () => {
    await told(2)
    hold.open()
    await world.until(async () => (await node.core.streams.row('processes/teller/t/s'))?.closed === true)
    await world.advance(3_500_000)
    expect(await node.core.streams.row('processes/teller/t/s')).not.toBeNull()
    await world.advance(300_000)
    expect(await node.core.streams.row('processes/teller/t/s')).toBeNull()
  })

  test('[R7] a stream whose time to live is over is taken away without being asked for', async () => {
    await ask('PUT', 'x', { headers: { ...text, 'stream-ttl': '60' }, body: 'a' })
    await world.advance(50_000)
    await ask('GET', 'x')
    await world.advance(50_000)
    expect(await node.core.streams.row('x')).not.toBeNull()
    await world.advance(200_000)
    expect(world.db?.streams.size).toBe(0)
  })
})

describe('feed', () => {
  function collected(path: string): StreamLog {
    const report = (error: unknown): void => expect.fail(String(error))
    return new StreamLog({ path, streams: node.core.streams, cost: new CostMeter(world.clock), report })
  }

  test('[F22] items of a stream have the index of their offset, follow live, and end with the stream', async () => {
    const log = collected('processes/teller/t/s')
    log.start()
    await world.until(() => log.loaded)
    expect(log.next).toBe(0)
    await told(3)
    await world.until(() => log.next === 3)
    expect(log.page(1)).toMatchObject({ lost: 0, items: [{ offset: 1, value: { at: { $date: 1 } } }, { offset: 2 }] })
    hold.open()
    await world.until(() => log.next === 4)
    expect(log.page(3)).toMatchObject({ items: [{ kind: 'end', offset: 3 }] })
    log.stop()
  })

  test('[F22] what is not kept is a gap of as many offsets', async () => {
    await told(4)
    await world.until(async () => ((await node.core.streams.row('processes/teller/t/s'))?.floor ?? 0) > 0)
    const floor = (await node.core.streams.row('processes/teller/t/s'))?.floor ?? 0
    const log = collected('processes/teller/t/s')
    log.start()
    await world.until(() => log.next === 4)
    expect(log.page(0)).toMatchObject({ lost: floor })
    log.stop()
  })

  test('[F22] a subscription begins where it asks, and the cursor is the offset of the last item', async () => {
    await told(2)
    const { feed, clock } = toyFeed({ streams: node.core.streams })
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 's', topic: 'stream:teller/t/s', from: 1 })
    viewer.say({ t: 'sub', id: 'all', topic: 'stream:teller/t/s' })
    await world.settle()
    await clock.advance(1_000)
    const of = (id: string) => viewer.of('append').filter((frame) => frame.id === id)
    expect(of('s')).toMatchObject([{ cursor: '1', items: [{ kind: 'chunk', offset: 1 }] }])
    expect(of('all')).toMatchObject([{ cursor: '1', items: [{ offset: 0 }, { offset: 1 }] }])
    hold.open()
    await world.until(async () => (await node.core.streams.row('processes/teller/t/s'))?.closed === true)
    await world.settle()
    await clock.advance(1_000)
    expect(of('s').at(-1)).toMatchObject({ cursor: '2', items: [{ kind: 'end', offset: 2 }] })
    feed.close()
  })
})
