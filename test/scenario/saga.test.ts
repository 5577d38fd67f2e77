/** Cancellation, rollback and children on a real Postgres: from another node, parked, and over the death of nodes. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { testDatabase } from '../support/database.ts'
import { gate, Oracle, World } from '../support/runtime.ts'

const HOUR = 3_600_000

const database = testDatabase()
let world: World
let oracle: Oracle
let undoing: () => Promise<void> = async () => {}

beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
  undoing = async () => {}
})
afterEach(() => world.close())

const hotel = agent('hotel', {
  state: () => null,
  on: {
    async hold(ctx) {
      try {
        await ctx.sleep(HOUR)
      } finally {
        await ctx.step('release', () => oracle.hit('hotel released'))
      }
    },
  },
})

const trip = agent('trip', {
  state: () => ({ booked: 0 }),
  passivateAfterMs: 1_000,
  on: {
    async book(ctx) {
      await ctx.start(hotel, ctx.key, 'hold', null, { parentClose: 'stop' })
      for (const name of ['flight', 'car']) {
        ctx.onRollback(name, async () => {
          await undoing()
          oracle.hit(`undo ${name}`)
        })
        await ctx.step(name, () => oracle.hit(name))
      }
      ctx.state.booked += 1
      await ctx.sleep(HOUR)
      return 'booked'
    },
  },
})

const all = [trip, hotel]
const undone = (): string[] => oracle.log.filter((line) => line.startsWith('undo'))

test('[Y1] [Y4] [Y6] a parked trip is cancelled from another node: all of it is taken back, once', async () => {
  const a = await world.node('a', all)
  const handle = await a.start(a.ref(trip, 'parked').book(), { idempotencyKey: 'one' })
  await world.until(() => oracle.count('car') === 1 && a.core.kernel.find('trip/parked') === undefined, 'parking')
  const b = await world.node('b', all)
  const elsewhere = await world.run(b.core.messenger.handle('trip/parked', 'one'))
  expect(await world.run(elsewhere.cancel('changed my mind'))).toBe(true)
  expect(await world.refusal(handle.result())).toMatchObject({ code: 'CANCELLED' })
  await world.until(() => oracle.count('hotel released') === 1, 'the release of the hotel')
  expect(undone()).toEqual(['undo car', 'undo flight'])
  expect(await b.stored('trip/parked')).toEqual({ booked: 0 })
  const counts = await b.core.backend.handle.archive.mailboxCounts('default', ['trip/parked', 'hotel/parked'])
  expect([...counts.values()].filter((n) => n > 0)).toEqual([])
})

test('[Y3] a transaction comes to its outcome first, and what it stored stays', async () => {
  const inside = gate()
  const go = gate()
  const bank = agent('bank', {
    state: () => ({ paid: 0 }),
    on: {
      async pay(ctx) {
        ctx.state.paid += 1
        await ctx.transaction(async () => {
          inside.open()
          await go.promise
        })
        oracle.hit('paid')
        ctx.state.paid += 1
        await ctx.sleep(HOUR)
      },
    },
  })
  const node = await world.node('a', [bank])
  const handle = await node.start(node.ref(bank, 'b').pay())
  await world.run(inside.promise)
  await world.run(handle.cancel('late'))
  await world.advance(100)
  go.open()
  expect(await world.refusal(handle.result())).toMatchObject({ code: 'CANCELLED' })
  oracle.expectStep('paid').once()
  expect(await node.stored('bank/b')).toEqual({ paid: 1 })
})

test('[Y1] [Y4] a request whose hint is lost, and a node that dies while it takes things back', async () => {
  const a = await world.node('a', all)
  const handle = await a.start(a.ref(trip, 'lost').book(), { idempotencyKey: 'one' })
  await world.until(() => oracle.count('car') === 1 && a.core.kernel.find('trip/lost') === undefined, 'parking')
  a.faults.plan(({ method }) => (method === 'enqueue' ? { kind: 'die', when: 'after' } : undefined))
  void handle.cancel('gone').catch(() => {})
  await world.until(() => a.dead, 'the death of a')
  const b = await world.node('b', all)
  undoing = async () => {
    if (undone().length < 1 || b.dead) return
    await new Promise<void>((resolve) => void setTimeout(resolve, 100))
    b.kill()
    await new Promise(() => {})
  }
  await world.until(() => b.dead, 'the death of b')
  const c = await world.node('c', all)
  const again = await world.run(c.core.messenger.handle('trip/lost', 'one'))
  expect(await world.refusal(again.result())).toMatchObject({ code: 'CANCELLED' })
  await world.until(() => oracle.count('hotel released') === 1, 'the release of the hotel')
  expect(undone()).toEqual(['undo car', 'undo flight'])
  for (const name of ['flight', 'car']) oracle.expectStep(name).once()
})
