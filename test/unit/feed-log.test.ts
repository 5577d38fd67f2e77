import { expect, test } from 'vitest'
import { RING_MAX } from '../../server/feed/log-collector.ts'
import type { ServerFrame } from '../../shared/frame.ts'
import { toyFeed, Viewer } from '../support/feed-viewer.ts'

/** What a reader knows of an append topic: items and the number it was told it missed. */
function told(frames: readonly ServerFrame[], id: string): { items: unknown[]; lost: number } {
  const items: unknown[] = []
  let lost = 0
  for (const frame of frames) {
    if (frame.t === 'append' && frame.id === id) items.push(...frame.items)
    if (frame.t === 'gap' && frame.id === id) lost += frame.n
  }
  return { items, lost }
}

const log = (message: string) =>
  ({ kind: 'log', id: 'order/1', incarnation: 1, level: 'info', message, data: null }) as const

test('[F10] the first frame of an append topic is an append, empty when there is nothing yet', async () => {
  const { clock, feed } = toyFeed()
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'e', topic: 'events' })
  await clock.advance(100)
  expect(viewer.of('append')).toMatchObject([{ seq: 1, items: [] }])
})

test('[F10] events come in order, the recent ones at once', async () => {
  const { world, clock, feed } = toyFeed()
  world.add('order/1')
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'e', topic: 'events' })
  viewer.say({ t: 'sub', id: 'o', topic: 'events:order/2' })
  for (let i = 0; i < 5; i++) {
    world.emit(log(`line ${i}`))
    await clock.advance(60)
  }
  await clock.advance(500)
  const kinds = told(viewer.frames, 'e').items.map((event) => Reflect.get(Object(event), 'kind'))
  expect(kinds).toEqual(['process:start', 'log', 'log', 'log', 'log', 'log'])
  expect(told(viewer.frames, 'o').items).toEqual([])
})

test('[F10] the gaps of a slow reader add up to exactly what it did not get', async () => {
  const { world, clock, feed } = toyFeed()
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'e', topic: 'events' })
  await clock.advance(200)
  viewer.acking = false
  const sent = 25_000
  for (let i = 0; i < sent; i++) {
    world.emit(log(`line ${i}`))
    if (i % 1_000 === 0) await clock.advance(50)
    if (i % 9_000 === 0) viewer.ack('e')
  }
  viewer.acking = true
  viewer.ack('e')
  await clock.advance(120_000)
  const { items, lost } = told(viewer.frames, 'e')
  expect(items.length + lost).toBe(sent)
  expect(lost).toBeGreaterThan(sent - 5 * RING_MAX)
  expect(feed.cost().dropped).toBe(lost)
  expect(viewer.unackedMax.get('e')).toBeLessThanOrEqual(2)
  const seqs = items.map((item) => Number(Reflect.get(Object(item), 'seq')))
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
  expect(new Set(seqs).size).toBe(seqs.length)
})

test('[F10] a line that no JSON can hold is shown without its data', async () => {
  const { world, clock, feed } = toyFeed()
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'e', topic: 'events' })
  world.emit({ ...log('odd'), data: 10n })
  await clock.advance(300)
  expect(told(viewer.frames, 'e').items).toMatchObject([{ message: 'odd', data: expect.stringContaining('BigInt') }])
})

test('[F10] the journal is read to its end and followed; payloads are left to requests', async () => {
  const { world, clock, feed } = toyFeed()
  world.add('order/1')
  const entry = (seq: number) => ({
    ...{ seq, at: seq, kind: 'turn', summary: `turn ${seq}`, turns: [], cause: null, root: null, traceparent: null },
    ...{ actor: null, stateVersion: seq, bytes: 10, payload: { seq } },
  })
  world.journals.set('order/1', [1, 2, 3].map(entry))
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'j', topic: 'journal:order/1' })
  await clock.advance(1_000)
  expect(told(viewer.frames, 'j').items).toMatchObject([{ seq: 1, payload: null }, { seq: 2 }, { seq: 3 }])
  const reads = world.reads.journal
  await clock.advance(5_000)
  expect(world.reads.journal).toBe(reads)
  for (let seq = 4; seq <= 900; seq++) world.journals.get('order/1')?.push(entry(seq))
  world.set('order/1', { turns: 900 })
  await clock.advance(20_000)
  const { items, lost } = told(viewer.frames, 'j')
  expect(items.length + lost).toBe(900)
  expect(items.at(-1)).toMatchObject({ seq: 900 })
  viewer.say({ t: 'get', rid: 'g', ref: 'journal:order/1:900' })
  await clock.advance(0)
  expect(viewer.of('blob')).toMatchObject([{ body: { seq: 900 }, truncated: false }])
})

test('[F10] audit and failures are followed without repeating a record', async () => {
  const { world, clock, feed } = toyFeed()
  world.add('order/1')
  const viewer = new Viewer(feed)
  viewer.say({ t: 'sub', id: 'a', topic: 'audit' })
  for (let i = 0; i < 5; i++) {
    await world.kill('order/1', { actor: 'test:1', reason: `reason ${i}` })
    await clock.advance(700)
  }
  await clock.advance(5_000)
  const reasons = told(viewer.frames, 'a').items.map((item) => Reflect.get(Object(item), 'reason'))
  expect(reasons).toEqual(['reason 0', 'reason 1', 'reason 2', 'reason 3', 'reason 4'])
})
