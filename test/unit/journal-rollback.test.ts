/** Sagas: compensations that run in reverse, once each, whatever dies meanwhile. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle
let held = gate()
/** Compensations that fail every time. */
let broken = new Set<string>()
/** Called before a compensation has its effect. */
let undoing: (name: string) => void | Promise<void> = () => {}

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
  keys.clear()
  broken = new Set()
  undoing = () => {}
})
afterEach(() => world.close())

const keys = new Map<string, Set<string>>()

async function undo(name: string, key: string): Promise<void> {
  keys.set(name, (keys.get(name) ?? new Set()).add(key))
  if (broken.has(name)) throw new Error(`${name} cannot be taken back`)
  await undoing(name)
  oracle.hit(`undo ${name}`)
}

type Ctx = Parameters<NonNullable<Parameters<typeof agent>[1]['on']>[string]>[0]

async function book(ctx: Ctx, name: string): Promise<void> {
  ctx.onRollback(name, ({ idempotencyKey }) => undo(name, idempotencyKey), { retry: { max: 2, initialMs: 10 } })
  await ctx.step(name, () => oracle.hit(name))
}

async function bookAll(ctx: Ctx): Promise<void> {
  for (const name of ['flight', 'hotel', 'car']) await book(ctx, name)
}

const trip = agent('trip', {
  state: () => ({ booked: [] as string[] }),
  on: {
    async done(ctx) {
      await bookAll(ctx)
      ctx.state.booked.push('all')
      return 'booked'
    },
    async crash(ctx) {
      await bookAll(ctx)
      ctx.state.booked.push('all')
      oracle.hit('crash')
      throw new Error('no money')
    },
    async rejected(ctx) {
      await bookAll(ctx)
      throw new Reject('no money')
    },
    async waits(ctx) {
      await bookAll(ctx)
      await ctx.sleep(HOUR)
      oracle.hit('beyond')
    },
    async hangs(ctx) {
      await bookAll(ctx)
      await ctx.step('last', () => {
        oracle.hit('last')
        return held.promise
      })
      oracle.hit('beyond')
    },
    async forgets(ctx) {
      if (oracle.count('forgets') === 0) await book(ctx, 'flight')
      oracle.hit('forgets')
      throw new Error('lost')
    },
    async inside(ctx) {
      await ctx.step('in', () => ctx.onRollback('x', () => {}))
    },
  },
})

const BOOKED = ['flight', 'hotel', 'car']
const UNDONE = ['undo car', 'undo hotel', 'undo flight']

async function until(node: TestNode, name: string, n = 1): Promise<void> {
  await world.until(() => oracle.count(name) >= n, `${name} on ${node.name}`)
}

test('[Y4] a turn that succeeds takes nothing back', async () => {
  const node = await world.node('a', [trip])
  expect(await node.call(node.ref(trip, 't').done())).toBe('booked')
  await world.advance(1_000)
  expect(oracle.log).toEqual(BOOKED)
  expect(node.written().filter((entry) => entry.k === 'undo')).toHaveLength(3)
})

test('[Y4] a crash takes nothing back until the last attempt, and then before the dead letter', async () => {
  const node = await world.node('a', [trip])
  const handle = await node.start(node.ref(trip, 't').crash())
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  expect(oracle.log).toEqual([...BOOKED, 'crash', 'crash', 'crash', ...UNDONE])
  const kinds = node.written().map((entry) => (entry.k === 'failed' ? `failed ${entry.decision}` : entry.k))
  expect(kinds.indexOf('rolled-back')).toBeGreaterThan(kinds.lastIndexOf('failed retry'))
  expect(kinds.indexOf('rolled-back')).toBeLessThan(kinds.indexOf('failed dead'))
  expect(await node.stored('trip/t')).toEqual({ booked: [] })
  expect(node.seen('dead-letter')).toHaveLength(1)
})

test('[Y4] a rejection takes everything back, and its caller hears the rejection', async () => {
  const node = await world.node('a', [trip])
  const error = await world.refusal(node.call(node.ref(trip, 't').rejected()))
  expect(error).toMatchObject({ code: 'CALL_REJECTED', message: expect.stringContaining('no money') })
  expect(oracle.log).toEqual([...BOOKED, ...UNDONE])
})

test('[Y4] a cancelled turn takes everything back, and is not cancelled again meanwhile', async () => {
  const node = await world.node('a', [trip])
  const handle = await node.start(node.ref(trip, 't').waits())
  await until(node, 'car')
  await world.advance(20)
  undoing = async (name) => {
    if (name === 'hotel') void handle.cancel('again')
    await new Promise<void>((resolve) => void world.clock.after(50, resolve))
  }
  await world.run(handle.cancel('no'))
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  expect(oracle.log).toEqual([...BOOKED, ...UNDONE])
})

test.each(['car', 'hotel', 'flight'])(
  '[Y4] a node that dies in the compensation of the %s: it goes on where it was',
  async (at) => {
    const a = await world.node('a', [trip])
    undoing = async (name) => {
      if (name !== at || a.dead) return
      await new Promise<void>((resolve) => void world.clock.after(50, resolve))
      a.kill()
      await new Promise(() => {})
    }
    const handle = await a.start(a.ref(trip, 't').crash())
    await world.until(() => a.dead, 'the death')
    const b = await world.node('b', [trip])
    const again = await world.run(b.core.messenger.handle('trip/t', handle.key))
    expect((await world.refusal(again.result())).code).toBe('DEAD_LETTERED')
    expect(oracle.log.filter((line) => line.startsWith('undo'))).toEqual(UNDONE)
    expect(keys.get(at)?.size).toBe(1)
    keys.clear()
  },
)

test('[Y4] a node that dies between the last compensation and the end runs none of them again', async () => {
  const a = await world.node('a', [trip])
  a.faults.plan(({ method, batch }) => {
    const ends = method === 'commit' && batch.some(({ deadLetters }) => deadLetters !== undefined)
    return ends ? { kind: 'die', when: 'before' } : undefined
  })
  const handle = await a.start(a.ref(trip, 't').crash())
  await world.until(() => a.dead, 'the death')
  const crashes = oracle.count('crash')
  const b = await world.node('b', [trip])
  const again = await world.run(b.core.messenger.handle('trip/t', handle.key))
  expect((await world.refusal(again.result())).code).toBe('DEAD_LETTERED')
  for (const name of BOOKED) oracle.expectStep(name).once()
  for (const name of ['car', 'hotel']) oracle.expectStep(`undo ${name}`).once()
  // The result of the last one was not stored: it runs again, under the same key.
  expect(keys.get('flight')?.size).toBe(1)
  expect(oracle.count('crash')).toBeLessThanOrEqual(crashes + 1)
})

test('[Y4] attempts used up by kills: the code goes no further than it was, and all is taken back', async () => {
  const node = await world.node('a', [trip])
  const handle = await node.start(node.ref(trip, 't').hangs())
  for (let n = 1; n <= 3; n++) {
    await until(node, 'last', n)
    await world.run(node.control.kill('trip/t', { actor: 'test' }))
  }
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  expect(oracle.log.filter((line) => line.startsWith('undo'))).toEqual(UNDONE)
  oracle.expectStep('last').times(3)
  expect(oracle.count('beyond')).toBe(0)
})

test('[Y4] a kill in the middle of the rollback: it goes on with what is left', async () => {
  const node = await world.node('a', [trip])
  let isFirst = true
  undoing = async (name) => {
    if (name !== 'hotel' || !isFirst) return
    isFirst = false
    held.open()
    await new Promise(() => {})
  }
  const handle = await node.start(node.ref(trip, 't').crash())
  await world.run(held.promise)
  await world.run(node.control.kill('trip/t', { actor: 'test' }))
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  expect(oracle.log.filter((line) => line.startsWith('undo'))).toEqual(UNDONE)
  expect(keys.get('hotel')?.size).toBe(1)
  expect(oracle.count('crash')).toBeLessThanOrEqual(4)
})

test('[Y4] what an operator drops is not taken back, and its dead letter says so', async () => {
  const node = await world.node('a', [trip])
  await node.start(node.ref(trip, 't').hangs())
  await until(node, 'last')
  await world.run(node.control.kill('trip/t', { actor: 'test', message: 'drop' }))
  await world.until(() => node.seen('dead-letter').length === 1, 'the dead letter')
  expect(node.seen('dead-letter')[0]?.reason).toContain('not rolled back: flight, hotel, car')
  await world.advance(1_000)
  expect(oracle.log.filter((line) => line.startsWith('undo'))).toEqual([])
})

test('[Y5] a compensation that fails for good stops no other one, and is seen', async () => {
  const node = await world.node('a', [trip])
  broken = new Set(['hotel'])
  const handle = await node.start(node.ref(trip, 't').crash())
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  expect(oracle.log.filter((line) => line.startsWith('undo'))).toEqual(['undo car', 'undo flight'])
  expect(keys.get('hotel')?.size).toBe(1)
  const failures = node.seen('failure').filter(({ class: kind }) => kind === 'RollbackFailed')
  expect(failures).toHaveLength(1)
  expect(failures[0]?.error.message).toContain('hotel cannot be taken back')
  expect(node.seen('dead-letter')[0]?.reason).toContain('rollback failed in hotel')
})

test('[Y5] one that the code does not register again is a failure that is seen', async () => {
  const node = await world.node('a', [trip])
  const handle = await node.start(node.ref(trip, 't').forgets())
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  expect(node.seen('dead-letter')[0]?.reason).toContain('rollback failed in flight')
})

test('[Y5] a compensation is registered beside steps, not inside of them', async () => {
  const node = await world.node('a', [trip])
  const handle = await node.start(node.ref(trip, 't').inside())
  const error = await world.refusal(handle.result())
  expect(error.message).toContain('registered inside a step')
})
