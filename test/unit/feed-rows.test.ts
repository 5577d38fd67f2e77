import { describe, expect, test } from 'vitest'
import { LINGER_MS } from '../../server/feed/collector.ts'
import { FOLD_CHILDREN } from '../../server/feed/view.ts'
import type { View } from '../../shared/frame.ts'
import { populate, Screen, toyFeed, Viewer } from '../support/feed-viewer.ts'

function watch(viewer: Viewer, view: View, topic = 'processes'): void {
  viewer.say({ t: 'sub', id: 's', topic, view })
}

describe('rows', () => {
  test('[F2] two viewers share one collector, and it stops after the last one left', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 5)
    const before = world.listeners
    const [a, b] = [new Viewer(feed), new Viewer(feed)]
    watch(a, { mode: 'flat' })
    watch(b, { q: 'agent:order', mode: 'flat' })
    await clock.advance(5_000)
    expect(feed.collectors).toBe(1)
    expect(world.reads.scan).toBe(11)
    a.say({ t: 'unsub', id: 's' })
    b.lose()
    await clock.advance(LINGER_MS + 1)
    expect(feed.collectors).toBe(0)
    expect(world.listeners).toBe(before)
    const reads = world.reads.scan
    await clock.advance(60_000)
    expect(world.reads.scan).toBe(reads)
  })

  test('[F2] without any subscription nothing is read', async () => {
    const { world, clock, feed } = toyFeed()
    new Viewer(feed)
    await clock.advance(60_000)
    expect(world.reads).toEqual({ scan: 0, vitals: 0, process: 0, needs: 0, mailbox: 0, journal: 0 })
    expect(world.listeners).toBe(0)
  })

  test('[F3] a row is sent when a field of it changed, and never otherwise', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 5)
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat' })
    await clock.advance(3_000)
    expect(viewer.of('snap')).toHaveLength(1)
    expect(viewer.of('delta')).toEqual([])
    world.set('order/3', { mailbox: 7 })
    await clock.advance(3_000)
    expect(viewer.of('delta')).toHaveLength(1)
    expect(viewer.of('delta')[0]).toMatchObject({ up: [{ id: 'order/3', mailbox: 7 }], del: [] })
  })

  test('[F3] births, deaths and changes add up to what is there', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 30)
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat', sort: 'mailbox', dir: 'desc', window: [0, 20] })
    const screen = new Screen()
    for (let round = 0; round < 60; round++) {
      world.set(`order/${(round * 7) % 20}`, { mailbox: round })
      if (round % 3 === 0) world.add(`order/new-${round}`, { parent: 'pool/order', mailbox: round % 11 })
      if (round % 6 === 0) world.end(`order/${20 + round / 6}`)
      await clock.advance(400)
    }
    await clock.advance(3_000)
    screen.apply(viewer.frames, 's')
    const truth = [...world.rows.values()].sort((a, b) => b.mailbox - a.mailbox || (a.id < b.id ? -1 : 1)).slice(0, 20)
    expect(screen.order.map((id) => world.rows.get(id)?.mailbox)).toEqual(truth.map((row) => row.mailbox))
    for (const id of screen.order) expect(screen.rows.get(id)).toEqual({ ...world.rows.get(id) })
    expect(screen.counts).toMatchObject({ total: world.rows.size, rows: world.rows.size })
  })

  test('[F3] births and deaths show at 4 Hz', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 3)
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat' })
    await clock.advance(1_100)
    world.end('order/1')
    await clock.advance(260)
    expect(viewer.of('delta')[0]).toMatchObject({ del: ['order/1'] })
  })

  test('[F7] at most two frames are unacknowledged, and what happens meanwhile is merged', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 5)
    const viewer = new Viewer(feed)
    viewer.acking = false
    watch(viewer, { mode: 'flat' })
    for (let i = 1; i <= 20; i++) {
      world.set('order/1', { mailbox: i })
      await clock.advance(1_000)
    }
    expect(viewer.of('snap', 'delta')).toHaveLength(2)
    viewer.take()
    viewer.say({ t: 'ack', id: 's', seq: 2 })
    await clock.advance(0)
    expect(viewer.frames).toMatchObject([{ t: 'delta', seq: 3, up: [{ id: 'order/1', mailbox: 20 }] }])
    expect(viewer.unackedMax.get('s')).toBe(3)
  })

  test('[F4] a query filters on the server, and a wrong one is refused in words until it is right', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 5)
    world.set('order/2', { status: 'waiting' })
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat', q: 'colour:red' })
    await clock.advance(1_000)
    expect(viewer.of('error')).toMatchObject([{ id: 's', problem: { code: 'REQUEST_INVALID' } }])
    viewer.say({ t: 'view', id: 's', view: { mode: 'flat', q: 'status:waiting' } })
    await clock.advance(1_000)
    expect(viewer.of('snap')).toMatchObject([{ rows: [{ id: 'order/2' }], counts: { rows: 1, matched: 1, total: 7 } }])
  })

  test('[F9] a frozen order stays while values change; gone processes leave, new ones come at the end', async () => {
    const { world, clock, feed } = toyFeed()
    for (const [id, mailbox] of [
      ['a/1', 3],
      ['a/2', 2],
      ['a/3', 1],
    ] as const)
      world.add(id, { mailbox })
    const viewer = new Viewer(feed)
    const view: View = { mode: 'flat', sort: 'mailbox', dir: 'desc' }
    watch(viewer, { ...view, freeze: true })
    await clock.advance(1_000)
    world.set('a/3', { mailbox: 99 })
    world.add('a/4', { mailbox: 50 })
    world.end('a/1')
    await clock.advance(3_000)
    const screen = new Screen().apply(viewer.frames, 's')
    expect(screen.order).toEqual(['a/2', 'a/3', 'a/4'])
    expect(screen.rows.get('a/3')?.mailbox).toBe(99)
    viewer.say({ t: 'view', id: 's', view })
    await clock.advance(2_000)
    expect(new Screen().apply(viewer.frames, 's').order).toEqual(['a/3', 'a/4', 'a/2'])
  })

  test('[F4] scrolling moves the window at once', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 1_000)
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat', sort: 'id', window: [0, 50] })
    await clock.advance(2_000)
    viewer.take()
    viewer.say({ t: 'view', id: 's', view: { mode: 'flat', sort: 'id', window: [500, 550] } })
    await clock.advance(40)
    const [delta] = viewer.of('delta')
    expect(delta?.from).toBe(500)
    expect(delta?.order).toHaveLength(50)
    expect(delta?.order?.[0]).toBe('order/500')
  })

  test('[F20] 10,000 changing rows stay under 25 KB/s for a viewer with a window of 60', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 10_000)
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat', sort: 'mailbox', dir: 'desc', window: [0, 60] })
    viewer.say({ t: 'sub', id: 'v', topic: 'vitals' })
    viewer.say({ t: 'sub', id: 'n', topic: 'needs' })
    await clock.advance(1_000)
    const before = viewer.bytes
    const ids = [...world.rows.keys()].slice(2)
    for (let tick = 0; tick < 20; tick++) {
      ids.forEach((id, i) => void world.set(id, { mailbox: (i * 7919 + tick * 31) % 1_000, turns: tick }))
      await clock.advance(500)
    }
    expect((viewer.bytes - before) / 10).toBeLessThan(25_000)
    expect(viewer.of('delta').length).toBeGreaterThan(5)
  })
})

describe('tree', () => {
  test('[F15] children follow their parent; a big pool is one row with a tally until it is unfolded', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, FOLD_CHILDREN + 10)
    world.add('mailer/1', { parent: 'supervisor/desk' })
    for (let i = 0; i < 7; i++) world.set(`order/${i}`, { status: 'running' })
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'tree' })
    await clock.advance(500)
    const screen = new Screen().apply(viewer.frames, 's')
    expect(screen.order).toEqual(['supervisor/desk', 'mailer/1', 'pool/order'])
    expect(screen.rows.get('pool/order')).toMatchObject({ children: 60, tally: { running: 7, idle: 53 } })
    expect(screen.counts).toMatchObject({ rows: 3, matched: 63, total: 63, running: 7 })
    await clock.advance(3_000)
    expect(viewer.of('delta')).toEqual([])
    viewer.say({ t: 'view', id: 's', view: { mode: 'tree', expanded: ['pool/order'] } })
    await clock.advance(500)
    screen.apply(viewer.of('delta'), 's')
    expect(screen.counts.rows).toBe(63)
    expect(screen.order.slice(2, 6)).toEqual(['pool/order', 'order/0', 'order/1', 'order/2'])
    expect(screen.rows.get('pool/order')).not.toHaveProperty('tally')
    viewer.say({ t: 'view', id: 's', view: { mode: 'tree', collapsed: ['supervisor/desk'] } })
    await clock.advance(500)
    expect(screen.apply(viewer.of('delta').slice(-1), 's').order).toEqual(['supervisor/desk'])
  })

  test('[F15] a filter shows what matches and the way to it', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 60)
    world.add('mailer/1', { parent: 'supervisor/desk' })
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'tree', q: 'id:order/17' })
    await clock.advance(500)
    const screen = new Screen().apply(viewer.frames, 's')
    expect(screen.order).toEqual(['supervisor/desk', 'pool/order', 'order/17'])
    expect(screen.counts).toMatchObject({ rows: 3, matched: 1, total: 63 })
  })

  test('[F15] hidden processes, and passive ones from the store, are listed only when asked for', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 2)
    world.add('vivarium/feed', { hidden: true })
    world.add('order/slept', { parent: 'pool/order', status: 'passive' })
    const viewer = new Viewer(feed)
    watch(viewer, {})
    await clock.advance(500)
    expect(new Screen().apply(viewer.frames, 's').order).toEqual([
      'supervisor/desk',
      'pool/order',
      'order/0',
      'order/1',
    ])
    viewer.say({ t: 'view', id: 's', view: { hidden: true, passive: true } })
    await clock.advance(1_500)
    const { order } = new Screen().apply(viewer.frames, 's')
    expect(order.toSorted()).toEqual([...world.rows.keys()].toSorted())
    viewer.say({ t: 'view', id: 's', view: { mode: 'flat', q: 'status:passive' } })
    await clock.advance(1_500)
    expect(new Screen().apply(viewer.frames, 's').order).toEqual(['order/slept'])
  })

  test('[F15] a term that names passive processes is asking for them', async () => {
    const { world, clock, feed } = toyFeed()
    populate(world, 2)
    world.add('order/slept', { parent: 'pool/order', status: 'passive' })
    const viewer = new Viewer(feed)
    watch(viewer, { mode: 'flat', q: 'status:passive' })
    await clock.advance(1_500)
    expect(new Screen().apply(viewer.frames, 's').order).toEqual(['order/slept'])
  })
})

describe('small topics', () => {
  test('[F16] vital signs come once a second, with the cost of the feed itself', async () => {
    const { clock, feed } = toyFeed()
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 'v', topic: 'vitals' })
    await clock.advance(5_500)
    expect(viewer.of('snap')).toMatchObject([{ rows: [{ id: 'toy', feed: { viewers: 1, dropped: 0 } }] }])
    expect(viewer.of('delta')).toHaveLength(5)
  })

  test('[F16] a process is one row that goes when the process does', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/17')
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 'p', topic: 'process:order/17' })
    viewer.say({ t: 'sub', id: 'q', topic: 'process:none/1' })
    await clock.advance(1_000)
    expect(viewer.of('snap')).toMatchObject([
      { id: 'p', rows: [{ id: 'order/17' }] },
      { id: 'q', rows: [] },
    ])
    world.end('order/17')
    await clock.advance(300)
    expect(viewer.of('delta')).toMatchObject([{ id: 'p', del: ['order/17'] }])
  })

  test('[F16] a mailbox is shown from its head, with the whole number', async () => {
    const { world, clock, feed } = toyFeed()
    world.add('order/17')
    for (let i = 0; i < 150; i++) await world.send('order/17', 'add', i, { actor: 'test:1' })
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 'm', topic: 'mailbox:order/17', view: { window: [0, 100] } })
    await clock.advance(1_000)
    const [snap] = viewer.of('snap')
    expect(snap?.rows).toHaveLength(100)
    expect(snap?.counts.total).toBe(150)
  })

  test('[F16] a source that fails says so once, keeps what it had, and says when it is back', async () => {
    const { world, clock, feed } = toyFeed()
    world.needItems.push({ key: 'k', severity: 'notice', kind: 'stuck', process: null, since: 1, text: 'look' })
    const viewer = new Viewer(feed)
    viewer.say({ t: 'sub', id: 'n', topic: 'needs' })
    await clock.advance(2_500)
    const { needs } = world
    world.needs = () => Promise.reject(new Error('down'))
    await clock.advance(5_000)
    expect(viewer.of('error')).toMatchObject([{ id: 'n', problem: { code: 'INTERNAL' } }])
    world.needs = needs
    viewer.take()
    await clock.advance(2_000)
    expect(viewer.of('delta')).toMatchObject([{ up: [], del: [] }])
  })
})

test('[F20] scans that are dear are repeated more rarely, down to every two seconds', async () => {
  let cpu = 0
  const { world, clock, feed } = toyFeed({ cpuMs: () => cpu })
  world.add('order/1')
  const { scan } = world
  world.scan = (visit) => {
    cpu += 24
    scan.call(world, visit)
  }
  const viewer = new Viewer(feed)
  watch(viewer, {})
  await clock.advance(12_000)
  // 24 ms at 2 % of a core are 1.2 s.
  expect(world.reads.scan).toBe(11)
  expect(viewer.of('snap')).toHaveLength(1)
  world.scan = (visit) => {
    cpu += 500
    scan.call(world, visit)
  }
  await clock.advance(1_200)
  const before = world.reads.scan
  await clock.advance(10_000)
  expect(world.reads.scan - before).toBe(5)
})
