/** The observer's side of the feed, without a browser: rows, logs, retries. */
import { expect, test } from 'vitest'
import { AppendBuffer, ITEMS_MAX } from '../../web/feed/buffer.ts'
import { retryDelayMs } from '../../web/feed/reconnect.ts'
import { RowStore } from '../../web/feed/store.ts'
import { Subscription, type SubscriptionFrame } from '../../web/feed/subscription.ts'

const row = (id: string, n = 0) => ({ id, n })
const snap = (ids: readonly string[], from = 0) =>
  ({ t: 'snap', id: 's', seq: 1, rows: ids.map((id) => row(id)), from, counts: { total: ids.length }, at: 1 }) as const
const turn = () => new Promise<void>((resolve) => queueMicrotask(resolve))

test('a delta renews only the rows it names, and tells only their listeners', async () => {
  const store = new RowStore()
  store.snap(snap(['a', 'b', 'c']))
  await turn()
  const told: string[] = []
  for (const id of ['a', 'b', 'c']) store.onRow(id, () => told.push(id))
  const before = store.row('a')
  store.delta({ t: 'delta', id: 's', seq: 2, up: [row('b', 1)], del: [], at: 2 })
  store.delta({ t: 'delta', id: 's', seq: 3, up: [row('b', 2)], del: [], at: 3 })
  await turn()
  expect(told).toEqual(['b'])
  expect(store.row('b')).toEqual({ id: 'b', n: 2 })
  expect(store.row('a')).toBe(before)
})

test('a new window keeps its rows alone; a snapshot leaves nothing of the old one', () => {
  const store = new RowStore()
  store.snap(snap(['a', 'b', 'c']))
  store.delta({ t: 'delta', id: 's', seq: 2, up: [row('d')], del: ['a'], order: ['b', 'c', 'd'], from: 1, at: 2 })
  expect(store.window).toMatchObject({ from: 1, order: ['b', 'c', 'd'] })
  expect(store.indexOf('d')).toBe(3)
  expect(store.row('a')).toBeUndefined()
  store.snap(snap(['x']))
  expect(store.window.order).toEqual(['x'])
  expect(store.row('b')).toBeUndefined()
})

test('rows without an order of their own join at the end and leave when deleted', () => {
  const store = new RowStore()
  store.snap(snap(['a', 'b']))
  store.delta({ t: 'delta', id: 's', seq: 2, up: [row('c'), row('a', 1)], del: ['b'], at: 2 })
  expect(store.window.order).toEqual(['a', 'c'])
})

test('an append buffer is bounded, says what it dropped, shows gaps and never doubles an item', async () => {
  const buffer = new AppendBuffer()
  buffer.append([{ id: 'a' }, { id: 'b' }], 1)
  buffer.gap(7)
  buffer.append([{ id: 'b' }, { id: 'c' }], 2)
  await turn()
  expect(buffer.snapshot.entries.map((entry) => (entry.kind === 'gap' ? entry.n : entry.key))).toEqual([
    'a',
    'b',
    7,
    'c',
  ])
  buffer.append(
    Array.from({ length: ITEMS_MAX }, (_, index) => ({ seq: index })),
    3,
  )
  await turn()
  expect(buffer.snapshot.entries).toHaveLength(ITEMS_MAX)
  expect(buffer.snapshot.dropped).toBe(4)
})

test('a subscription resumes at its last frame, and starts its log anew when the numbers do', async () => {
  const subscription = new Subscription('s', 'audit', {})
  expect(subscription.open()).toEqual({ t: 'sub', id: 's', topic: 'audit' })
  const append = (seq: number, id: string): SubscriptionFrame => ({
    t: 'append',
    id: 's',
    seq,
    cursor: id,
    items: [{ id }],
    at: 1,
  })
  expect(subscription.apply(append(1, 'a'), 'one')).toEqual({ t: 'ack', id: 's', seq: 1 })
  subscription.apply(append(2, 'b'), 'one')
  expect(subscription.open()).toMatchObject({ resume: { session: 'one', seq: 2 } })
  subscription.apply(append(3, 'c'), 'two')
  await turn()
  expect(subscription.log.snapshot.entries.map((entry) => entry.key)).toEqual(['a', 'b', 'c'])
  subscription.apply(append(1, 'z'), 'three')
  await turn()
  expect(subscription.log.snapshot.entries.map((entry) => entry.key)).toEqual(['z'])
})

test('retries begin soon, double, stay under ten seconds and differ between pages', () => {
  expect(retryDelayMs(1, 0.5)).toBe(400)
  expect(retryDelayMs(2, 0.5)).toBe(800)
  expect(retryDelayMs(50, 0.5)).toBe(10_000)
  expect(retryDelayMs(3, 0)).toBeLessThan(retryDelayMs(3, 0.99))
})
