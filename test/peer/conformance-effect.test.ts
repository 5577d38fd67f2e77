/** dbos-conformance on two nodes over one Postgres: one effect outside, whatever repeats, dies, is lost or refused. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { testDatabase } from '../support/database.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { type Filing, filingAgent, type Order, Outside } from './filing.ts'

const database = testDatabase()
const START = { idempotencyKey: 'file' }
const OK: Order = { plan: 'ok', waitMs: 20 }

let world: World
let outside: Outside
let filing: ReturnType<typeof filingAgent>
let run = 0

beforeEach(() => {
  world = World.postgres(database.connection)
  outside = new Outside()
  filing = filingAgent(outside)
  run += 1
})
afterEach(() => world.close())

const k = (name: string): string => `${name}-${run}`
const codeOf = (error: unknown): unknown => (error as { code: string }).code
const file = (node: TestNode, id: string, order: Order = OK) => node.start(node.ref(filing, id).file(order), START)
const filed = async (node: TestNode, id: string, order: Order = OK) => (await file(node, id, order)).result()
const state = async (node: TestNode, id: string) => (await node.stored(`filing/${id}`)) as Filing

test('[L1] dbos-conformance: duplicate starts', async () => {
  const [a, b] = [await world.node('a', [filing]), await world.node('b', [filing])]
  const id = k('d0')
  const handles = await Promise.all(Array.from({ length: 20 }, (_, i) => file(i % 2 === 0 ? a : b, id)))
  expect(handles.filter(({ created }) => created)).toHaveLength(1)
  expect(new Set(handles.map(({ messageId }) => messageId)).size).toBe(1)
  const results = await Promise.all(handles.map((handle) => handle.result()))
  expect(new Set(results)).toEqual(new Set(['accepted']))
  // The same event again, three times and after the end; then another year, which is another filing.
  for (const node of [a, b, a]) expect(await filed(node, id)).toBe('accepted')
  expect(await filed(b, `${id}-y2024`)).toBe('accepted')
  // Other input under the same key is refused and changes nothing.
  const conflicts = await Promise.all([a, b].map((node) => file(node, id, { ...OK, plan: 'rejected' }).catch(codeOf)))
  expect(conflicts).toEqual(['KEY_CONFLICT', 'KEY_CONFLICT'])
  expect(outside.books.state(id)).toBe('accepted')
  const { attempts, recorded, duplicates } = outside.authority
  expect([attempts, recorded, duplicates]).toEqual([2, 2, 0])
})

/** Ends the node at the nth row of this filing; returns whether it came so far. */
function dieAtRow(node: TestNode, id: string, nth: number, when: 'before' | 'after'): void {
  let seen = 0
  node.faults.plan(({ method, batch }) => {
    if (method !== 'commit' || !batch.some((row) => row.id === `filing/${id}`)) return undefined
    seen += 1
    return seen === nth ? { kind: 'die', when } : undefined
  })
}

test('[L1] dbos-conformance: crash around each durable step', async () => {
  const ids: string[] = []
  let node = await world.node('n', [filing])
  /** Files under this fault, lets a successor finish, and says whether the node died of it. */
  const survive = async (name: string, arm: (node: TestNode, id: string) => void): Promise<boolean> => {
    const id = k(name)
    ids.push(id)
    const first = node
    outside.at = (at, place) => {
      if (at === id && place === 'sent' && !node.dead) call(node, id)
    }
    arm(first, id)
    const begun = await Promise.race([file(first, id, { plan: 'ok', waitMs: 60 }), world.until(() => first.dead)])
    await world.until(() => first.dead || outside.books.state(id) === 'accepted', `the end of ${id}`)
    const died = first.dead
    if (died) node = await world.node(`after ${name}`, [filing])
    expect(await (begun ?? (await file(node, id, { plan: 'ok', waitMs: 60 }))).key).toBe('file')
    expect(await filed(node, id, { plan: 'ok', waitMs: 60 }), id).toBe('accepted')
    return died
  }
  const call = (from: TestNode, id: string) => {
    from.send(from.ref(filing, id).callback({ key: 'decision', outcome: 'accepted' })).catch(() => {})
  }
  let rows = 0
  for (let nth = 1; nth <= 30; nth++) {
    const died = await survive(`row${nth}`, (at, id) => dieAtRow(at, id, nth, nth % 2 === 0 ? 'after' : 'before'))
    if (!died) break
    rows = nth
  }
  // One row for the accepted message, and one at least for every durable step that is followed by another.
  expect(rows).toBeGreaterThanOrEqual(5)
  expect(rows).toBeLessThan(30)
  for (const place of ['validated', 'submitting', 'sent', 'submitted', 'polled', 'accepted']) {
    const died = await survive(place, (at, id) => {
      const inner = outside.at
      outside.at = (which, where) => {
        if (which !== id || where !== place || at.dead) return place === 'polled' ? undefined : inner(which, where)
        at.kill()
        return new Promise(() => {})
      }
    })
    expect(died, `a death in ${place}`).toBe(true)
  }
  const { recorded, attempts, duplicates } = outside.authority
  expect([recorded, attempts, duplicates]).toEqual([ids.length, ids.length, 0])
  for (const id of ids)
    expect([id, outside.books.state(id), (await state(node, id)).status]).toEqual([id, 'accepted', 'accepted'])
  // Steps run at least once: where one died with its effect done, it ran again.
  expect(outside.books.duplicates).toBeGreaterThanOrEqual(3)
})

test('[L1] dbos-conformance: lost provider response', async () => {
  const a = await world.node('a', [filing])
  const id = k('am1')
  expect(await filed(a, id, { plan: 'lost', waitMs: 20 })).toBe('accepted')
  // The same with a node that dies before it could look.
  const died = k('am2')
  outside.at = (which, place) => {
    if (which !== died || place !== 'sent' || a.dead) return undefined
    a.kill()
    return new Promise(() => {})
  }
  await a.send(a.ref(filing, died).file(OK))
  await world.until(() => a.dead)
  const b = await world.node('b', [filing])
  await world.until(() => outside.books.state(died) === 'accepted')
  expect([outside.authority.attempts, outside.authority.recorded, outside.authority.duplicates]).toEqual([2, 2, 0])
  await world.until(async () => (await state(b, died)).status === 'accepted')
})

test('[L1] dbos-conformance: early, duplicate and late callbacks', async () => {
  const [a, b] = [await world.node('a', [filing]), await world.node('b', [filing])]
  const call = (node: TestNode, id: string, key: string, outcome = 'accepted') =>
    node.ref(filing, id).callback({ key, outcome }).run({ timeoutMs: 15_000 })
  const early = k('cb1')
  await call(a, early, 'early')
  expect(await filed(b, early, { plan: 'lazy', waitMs: 60_000 })).toBe('accepted')
  expect((await state(a, early)).callbacks).toEqual(['early'])
  // Five copies, some of them while it waits, one of them stored before it comes so far.
  const twice = k('cb2')
  const handle = await b.start(b.ref(filing, twice).file({ plan: 'lazy', waitMs: 60_000 }), {
    ...START,
    signal: { op: 'callback', message: { key: 'same', outcome: 'accepted' } },
  })
  await Promise.all(
    [a, b, a, b].map((node) => node.send(node.ref(filing, twice).callback({ key: 'same', outcome: 'accepted' }))),
  )
  expect(await handle.result()).toBe('accepted')
  await call(a, twice, 'same')
  expect((await state(a, twice)).callbacks).toEqual(['same'])
  // After the end, and with another word: heard, and nothing follows from it.
  const late = k('cb3')
  expect(await filed(a, late)).toBe('accepted')
  const { applied } = outside.books
  await call(b, late, 'late', 'rejected')
  expect([outside.books.state(late), outside.books.applied - applied]).toEqual(['accepted', 0])
  expect(await state(a, late)).toMatchObject({ status: 'accepted', callbacks: ['late'] })
  expect([outside.authority.attempts, outside.authority.recorded]).toEqual([3, 3])
})

test('[L1] dbos-conformance: retries, throttling and rejection', async () => {
  const a = await world.node('a', [filing])
  const { authority } = outside
  const order = (plan: Order['plan']): Order => ({ plan, waitMs: 20 })
  expect(await filed(a, k('rt1'), order('throttled'))).toBe('accepted')
  expect([authority.attempts, authority.throttled, authority.recorded]).toEqual([3, 2, 1])
  expect(await filed(a, k('rt2'), order('unavailable'))).toBe('accepted')
  expect([authority.attempts, authority.unavailable, authority.recorded]).toEqual([6, 2, 2])
  expect(await filed(a, k('rt3'), order('exhausted'))).toBe('needs_review')
  expect([authority.attempts, authority.throttled, authority.recorded]).toEqual([12, 8, 2])
  expect(await filed(a, k('rt4'), order('rejected'))).toBe('rejected')
  expect([authority.attempts, authority.recorded, authority.duplicates]).toEqual([13, 3, 0])
  // Attempts go on counting on the node that comes after: six in all, not six each.
  const id = k('rt5')
  a.faults.plan(({ method, batch }) =>
    method === 'commit' && batch.some((row) => row.id === `filing/${id}` && row.payload.includes('"attempt":4'))
      ? { kind: 'die', when: 'after' }
      : undefined,
  )
  await a.send(a.ref(filing, id).file(order('exhausted')))
  await world.until(() => a.dead)
  const b = await world.node('b', [filing])
  await world.until(async () => (await state(b, id)).status === 'needs_review')
  expect([authority.attempts - 13, authority.throttled - 8]).toEqual([6, 6])
})
