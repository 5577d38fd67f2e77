import { describe, expect, test } from 'vitest'
import { CLOSE_BYTES, HOLD_BYTES, STUCK_MS } from '../../server/feed/backpressure.ts'
import {
  BLOB_BYTES_MAX,
  CLIENT_FRAME_BYTES_MAX,
  type ClientFrame,
  PING_MS,
  SUBSCRIPTIONS_MAX,
} from '../../shared/frame.ts'
import { populate, Screen, toyFeed, Viewer } from '../support/feed-viewer.ts'

const kill = (rid: string, more: Partial<Extract<ClientFrame, { t: 'act' }>> = {}) =>
  ({ t: 'act', rid, verb: 'kill', target: 'order/1', reason: 'stuck', key: 'k1', ...more }) as const

describe('frames', () => {
  test.each([
    ['{', 'FRAME_INVALID'],
    ['null', 'FRAME_INVALID'],
    ['{"t":"dance"}', 'FRAME_INVALID'],
    ['{"t":"sub","id":"s"}', 'FRAME_INVALID'],
    ['{"t":"sub","id":"s","topic":"weather"}', 'TOPIC_UNKNOWN'],
    ['{"t":"sub","id":"s","topic":"process:"}', 'TOPIC_UNKNOWN'],
    ['{"t":"sub","id":"s","topic":"processes","view":{"sort":"beauty"}}', 'FRAME_INVALID'],
    ['{"t":"view","id":"none","view":{}}', 'NOT_FOUND'],
    ['{"t":"get","rid":"s","ref":"nonsense"}', 'REQUEST_INVALID'],
    ['{"t":"get","rid":"s","ref":"state:none/1"}', 'PROCESS_NOT_FOUND'],
    ['{"t":"plan","rid":"s","verb":"kill","target":"none/1"}', 'PROCESS_NOT_FOUND'],
    [JSON.stringify({ t: 'hello', client: 'x'.repeat(CLIENT_FRAME_BYTES_MAX) }), 'PAYLOAD_TOO_LARGE'],
  ])('[F17] the frame %.60s is answered by the error %s and the connection lives', async (text, code) => {
    const { clock, feed, reported } = toyFeed()
    const viewer = new Viewer(feed)
    viewer.sayText(text)
    await clock.advance(0)
    expect(viewer.of('error')).toMatchObject([{ problem: { code } }])
    expect(viewer.closed).toBeNull()
    viewer.say({ t: 'ping', at: 5 })
    expect(viewer.of('pong')).toEqual([{ t: 'pong', at: 5 }])
    expect(reported).toEqual([])
  })

  test('[F17] a viewer that only talks nonsense is sent away with a reason', () => {
    const viewer = new Viewer(toyFeed().feed)
    for (let i = 0; i < 20; i++) viewer.sayText('nonsense')
    expect(viewer.of('bye')).toMatchObject([{ code: 1008 }])
    expect(viewer.closed?.code).toBe(1008)
  })

  test('[F17] subscriptions are limited, and one id is one subscription', async () => {
    const { feed } = toyFeed()
    const viewer = new Viewer(feed)
    for (let i = 0; i <= SUBSCRIPTIONS_MAX; i++) viewer.say({ t: 'sub', id: `s${i}`, topic: `process:order/${i}` })
    expect(viewer.of('error')).toMatchObject([{ id: `s${SUBSCRIPTIONS_MAX}`, problem: { code: 'SUBSCRIPTION_LIMIT' } }])
    viewer.say({ t: 'unsub', id: 's0' })
    viewer.say({ t: 'sub', id: 's1', topic: 'needs' })
    expect(viewer.of('error').at(-1)).toMatchObject({ id: 's1', problem: { code: 'FRAME_INVALID' } })
  })
})

describe('who', () => {
  test('[F12] without credentials nothing is sent until hello names a token', async () => {
    const { clock, feed } = toyFeed()
    const viewer = new Viewer(feed, null)
    expect(viewer.frames).toEqual([])
    viewer.say({ t: 'hello', token: 'ana' })
    expect(viewer.of('hello')).toMatchObject([{ protocol: 'vivarium.v1', roles: ['viewer'], version: '1.2.3' }])
    const mute = new Viewer(feed, null)
    await clock.advance(11_000)
    expect(mute.closed?.code).toBe(1008)
    const hasty = new Viewer(feed, null)
    hasty.say({ t: 'sub', id: 's', topic: 'processes' })
    expect(hasty.of('error')).toMatchObject([{ problem: { code: 'UNAUTHORIZED' } }])
    expect(hasty.closed).not.toBeNull()
  })

  test('[F12] a viewer without the role cannot act, whatever frame it sends', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed, { actor: 'viewer:ana', roles: ['viewer'] })
    viewer.say(kill('r'))
    await clock.advance(0)
    expect(viewer.of('error')).toMatchObject([{ rid: 'r', problem: { code: 'FORBIDDEN' } }])
    expect(world.auditItems).toEqual([])
  })
})

describe('requests', () => {
  test('[F11] an action is accepted, then done, and the same key acts once, also on another connection', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed)
    viewer.say(kill('r1'))
    await clock.advance(0)
    expect(viewer.of('act')).toMatchObject([
      { rid: 'r1', state: 'accepted' },
      { rid: 'r1', state: 'done', result: { incarnation: 2 } },
    ])
    const other = new Viewer(feed)
    other.say(kill('r2'))
    other.say(kill('r3', { target: 'order/2' }))
    await clock.advance(0)
    const answers = other.of('act').filter((frame) => frame.state !== 'accepted')
    expect(answers.toSorted((a, b) => (a.rid < b.rid ? -1 : 1))).toMatchObject([
      { rid: 'r2', state: 'done', result: { incarnation: 2 } },
      { rid: 'r3', state: 'failed', problem: { code: 'KEY_CONFLICT' } },
    ])
    expect(world.auditItems).toHaveLength(1)
    expect(world.auditItems[0]).toMatchObject({ actor: 'api:local', reason: 'stuck' })
  })

  test('[F11] a reborn process is not acted on', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1', { incarnation: 4 })
    const viewer = new Viewer(feed)
    viewer.say(kill('r', { incarnation: 3 }))
    await clock.advance(0)
    expect(viewer.of('act').at(-1)).toMatchObject({ state: 'failed', problem: { code: 'INCARNATION_GONE' } })
  })

  test('[F11] messages are sent and called with values, and dropped by their id', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed)
    const args = { at: { $date: 5 } }
    viewer.say({ t: 'act', rid: 'c', verb: 'call', target: 'order/1', op: 'echo', args, key: 'c' })
    viewer.say({ t: 'act', rid: 's', verb: 'send', target: 'order/1', op: 'add', args: 1, key: 's' })
    viewer.say({ t: 'act', rid: 'x', verb: 'send', target: 'order/1', key: 'x' })
    await clock.advance(0)
    const done = viewer.of('act').filter((frame) => frame.state !== 'accepted')
    const find = (rid: string) => done.find((frame) => frame.rid === rid)
    expect(find('c')).toMatchObject({ state: 'done', result: { reply: args } })
    expect(find('x')).toMatchObject({ state: 'failed', problem: { code: 'REQUEST_INVALID' } })
    const messageId = String(Reflect.get(Object(find('s')?.result), 'messageId'))
    viewer.say({ t: 'act', rid: 'd', verb: 'drop-message', target: 'order/1', message: messageId, key: 'd' })
    await clock.advance(0)
    expect(world.mailboxes.get('order/1')).toEqual([])
  })

  test('[F18] an unchanged value is not sent again, a changed one is', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    world.states.set('order/1', { version: 3, value: { count: 1 } })
    const viewer = new Viewer(feed)
    viewer.say({ t: 'get', rid: 'a', ref: 'state:order/1' })
    await clock.advance(0)
    const hash = viewer.of('blob')[0]?.hash ?? ''
    expect(viewer.of('blob')[0]).toMatchObject({
      unchanged: false,
      bytes: 11,
      body: { version: 3, value: { count: 1 } },
    })
    viewer.say({ t: 'get', rid: 'b', ref: 'state:order/1', hash })
    world.states.set('order/1', { version: 4, value: { count: 2 } })
    await clock.advance(0)
    viewer.say({ t: 'get', rid: 'c', ref: 'state:order/1', hash })
    await clock.advance(0)
    expect(viewer.of('blob').slice(1)).toMatchObject([
      { rid: 'b', unchanged: true, body: null },
      { rid: 'c', unchanged: false },
    ])
  })

  test('[F18] a value over the limit comes as head, size and hash', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    world.states.set('order/1', { version: 1, value: { text: 'x'.repeat(BLOB_BYTES_MAX) } })
    const viewer = new Viewer(feed)
    viewer.say({ t: 'get', rid: 'a', ref: 'state:order/1' })
    await clock.advance(0)
    expect(viewer.of('blob')[0]).toMatchObject({ truncated: true, body: { version: 1, value: expect.any(String) } })
    expect(viewer.of('blob')[0]?.bytes).toBeGreaterThan(BLOB_BYTES_MAX)
    expect(viewer.bytes).toBeLessThan(200_000)
  })

  test('[F18] a plan is answered and does nothing', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed)
    viewer.say({ t: 'plan', rid: 'p', verb: 'kill', target: 'order/1' })
    await clock.advance(0)
    expect(viewer.of('plan')).toMatchObject([{ rid: 'p', plan: { target: 'order/1' } }])
    expect(world.auditItems).toEqual([])
  })
})

describe('slow and lost viewers', () => {
  test('[F5] a viewer that reads nothing gets nothing more, and its memory stays bounded', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 2_000)
    const viewer = new Viewer(feed)
    viewer.reading = false
    for (let i = 0; i < 20; i++)
      viewer.say({ t: 'sub', id: `s${i}`, topic: 'processes', view: { window: [0, 500], mode: 'flat' } })
    for (let i = 0; i < 20; i++) {
      for (const id of world.rows.keys()) world.set(id, { turns: i })
      await clock.advance(1_000)
    }
    expect(viewer.buffered).toBeLessThan(CLOSE_BYTES)
    expect(Math.max(...viewer.unackedMax.values())).toBeLessThanOrEqual(2)
  })

  test('[F6] no byte taken for half a minute closes the connection with 1013, and others are not touched', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 500)
    const [stuck, well] = [new Viewer(feed), new Viewer(feed)]
    stuck.reading = false
    for (const viewer of [stuck, well]) viewer.say({ t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } })
    await clock.advance(1_000)
    expect(stuck.closed).toBeNull()
    await clock.advance(STUCK_MS + 1_000)
    expect(stuck.closed).toMatchObject({ code: 1013 })
    expect(stuck.of('bye')[0]?.reason).toMatch(/30 s/)
    await clock.advance(2_000)
    expect(stuck.terminated).toBe(true)
    expect(well.closed).toBeNull()
    world.set('order/1', { mailbox: 5 })
    await clock.advance(1_000)
    expect(well.of('delta')).toHaveLength(1)
  })

  test('[F5] what was held back comes, merged, when the socket takes bytes again', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } })
    await clock.advance(1_000)
    viewer.reading = false
    world.states.set('order/1', { version: 1, value: 'x'.repeat(HOLD_BYTES + 1) })
    viewer.say({ t: 'get', rid: 'g', ref: 'state:order/1' })
    await clock.advance(0)
    viewer.take()
    for (let i = 1; i < 6; i++) {
      world.set('order/1', { mailbox: i })
      await clock.advance(1_000)
    }
    expect(viewer.of('delta')).toEqual([])
    viewer.drain()
    await clock.advance(600)
    expect(viewer.of('delta')).toMatchObject([{ up: [{ mailbox: 5 }] }])
  })

  test('[F19] pings go out, and a viewer that answers none is sent away', async () => {
    const { clock, feed } = toyFeed()
    const viewer = new Viewer(feed)
    await clock.advance(PING_MS + 10)
    expect(viewer.of('ping')).toHaveLength(1)
    viewer.say({ t: 'pong', at: 0 })
    await clock.advance(2 * PING_MS)
    expect(viewer.closed).toBeNull()
    await clock.advance(2 * PING_MS)
    expect(viewer.closed?.reason).toMatch(/pings/)
  })

  test('[F19] a hidden page costs no collecting and is up to date when it is shown again', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/1')
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } })
    await clock.advance(1_000)
    viewer.say({ t: 'pause' })
    await clock.advance(11_000)
    const reads = world.reads.scan
    world.set('order/1', { mailbox: 9 })
    await clock.advance(10_000)
    expect(world.reads.scan).toBe(reads)
    expect(viewer.of('delta')).toEqual([])
    viewer.say({ t: 'resume' })
    await clock.advance(500)
    expect(viewer.of('delta')).toMatchObject([{ up: [{ mailbox: 9 }] }])
  })

  test('[F8] a viewer that comes back goes on where it was, with the frames it missed', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 5)
    const first = new Viewer(feed)
    first.acking = false
    const sub = { t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } } as const
    first.say(sub)
    first.say({ t: 'sub', id: 'e', topic: 'events' })
    await clock.advance(500)
    first.ack('s')
    const seen = first.take()
    const session = seen.find((frame) => frame.t === 'hello')?.session ?? ''
    world.set('order/1', { mailbox: 1 })
    await clock.advance(500)
    // The delta was sent but the line broke before it came.
    expect(first.of('delta')).toHaveLength(1)
    first.lose()
    world.set('order/2', { mailbox: 2 })
    world.emit({ kind: 'log', id: 'order/1', incarnation: 1, level: 'info', message: 'meanwhile', data: null })
    await clock.advance(2_000)
    const second = new Viewer(feed)
    second.say({ ...sub, resume: { session, seq: 1 } })
    second.say({ t: 'sub', id: 'e', topic: 'events', resume: { session, seq: 1 } })
    await clock.advance(500)
    expect(second.of('snap')).toEqual([])
    expect(second.of('delta')).toMatchObject([
      { seq: 2, up: [{ id: 'order/1' }] },
      { seq: 3, up: [{ id: 'order/2' }] },
    ])
    expect(second.of('append')).toMatchObject([{ seq: 2, items: [{ message: 'meanwhile' }] }])
    const screen = new Screen().apply([...seen, ...second.frames], 's')
    for (const [id, row] of world.rows) expect(screen.rows.get(id)).toEqual({ ...row })
  })

  test.each([
    ['an unknown session', 'other', 1],
    ['a seq that was never sent', null, 99],
    ['a seq long acknowledged', null, 0],
  ])('[F8] %s gets a new snapshot', async (_what, session, seq) => {
    const { world, clock, feed } = toyFeed()
    populate(world, 3)
    const first = new Viewer(feed)
    const sub = { t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } } as const
    first.say(sub)
    await clock.advance(500)
    first.lose()
    const second = new Viewer(feed)
    second.say({ ...sub, resume: { session: session ?? first.session, seq } })
    await clock.advance(500)
    expect(second.of('snap')).toMatchObject([{ seq: 1 }])
  })

  test('[F8] nobody else can take over a subscription, and it is forgotten after a while', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 3)
    const first = new Viewer(feed)
    const sub = { t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } } as const
    first.say(sub)
    await clock.advance(500)
    first.lose()
    const resume = { session: first.session, seq: 1 }
    const stranger = new Viewer(feed, { actor: 'viewer:eve', roles: ['viewer'] })
    stranger.say({ ...sub, resume })
    await clock.advance(20_000)
    const late = new Viewer(feed)
    late.say({ ...sub, resume })
    await clock.advance(500)
    expect([...stranger.of('snap'), ...late.of('snap')]).toHaveLength(2)
  })

  test('[F14] a bug in what is read is reported, told to the viewer, and hurts nobody', async () => {
    const { world, clock, feed, reported } = toyFeed()
    populate(world, 3)
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 's', topic: 'processes', view: { mode: 'flat' } })
    await clock.advance(1_000)
    const { scan } = world
    world.scan = () => {
      throw new Error('secret')
    }
    await clock.advance(1_000)
    expect(reported.length).toBeGreaterThan(0)
    expect(viewer.of('error')).toMatchObject([{ id: 's', problem: { code: 'INTERNAL' } }])
    expect(JSON.stringify(viewer.frames)).not.toContain('secret')
    world.scan = scan
    viewer.take()
    await clock.advance(1_000)
    expect(viewer.of('delta')).toMatchObject([{ up: [], del: [] }])
    viewer.say({ t: 'ping', at: 1 })
    expect(viewer.of('pong')).toHaveLength(1)
  })
})
