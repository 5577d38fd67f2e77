/** Starts with signals, handles by key, starts inside turns, validators, and deadlines of calls in memory. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { REQUEST_MS } from '../../shared/retention.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const order = agent('order', {
  state: () => ({ log: [] as string[], closed: false }),
  on: {
    async run(ctx, name: string) {
      oracle.hit(`run ${name}`)
      const paid = await ctx.receive<number>('pay')
      ctx.state.log.push(`paid ${paid.message}`)
      await ctx.sleep(100)
      return `done ${name} ${paid.message}`
    },
    pay(ctx, amount: number) {
      oracle.hit(`pay ${amount}`)
      ctx.state.log.push(`late ${amount}`)
      return amount
    },
    close(ctx) {
      ctx.state.closed = true
    },
  },
  validate: {
    run: (_state, name) => void oracle.hit(`validate ${name}`),
    pay(state, amount) {
      oracle.hit(`validate ${amount}`)
      if (amount <= 0) throw new Reject(`${amount} is no amount`)
      if (state.closed) throw new Reject('closed')
    },
  },
})

const boss = agent('boss', {
  state: () => ({ log: [] as unknown[] }),
  on: {
    async hire(ctx, key: string) {
      const started = await ctx.start(order, 'o', 'run', 'x', { idempotencyKey: key })
      ctx.state.log.push(started.created)
      await ctx.checkpoint()
      ctx.state.log.push(await started.result())
      await ctx.step('after', () => oracle.hit('after'))
    },
    async anonymous(ctx) {
      const started = await ctx.start(order, 'o', 'run', 'x')
      ctx.state.log.push(started.key)
      await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
    },
    async poll(ctx) {
      try {
        await ctx.call(ctx.ref(mute, 'm').ask(), { timeoutMs: 10_000 })
      } catch (error) {
        ctx.state.log.push((error as { code: string }).code, ctx.now() - 1_700_000_000_000)
      }
    },
  },
})

const mute = agent('mute', {
  durability: 'ephemeral',
  state: () => ({ open: true }),
  on: {
    ask: () => new Promise<string>(() => void oracle.hit('asked')),
    enter: (_ctx, name: string) => `welcome ${name}`,
  },
  validate: {
    enter(state, name) {
      if (state.open && name === 'nobody') throw new Reject('not you')
    },
  },
})

const logOf = async (node: TestNode, id: string): Promise<unknown[]> =>
  ((await node.stored(id)) as { log: unknown[] } | undefined)?.log ?? []
const pay = (message: number) => ({ idempotencyKey: 'one', signal: { op: 'pay', message } })

describe('start with a signal', () => {
  test('[W6] both are stored in one step, the operation first, and the turn receives the signal', async () => {
    const node = await world.node('a', [order])
    const handle = await node.start(node.ref(order, 'o').run('x'), pay(5))
    expect(handle.created).toBe(true)
    expect(await world.run(handle.result())).toBe('done x 5')
    expect([oracle.count('pay 5'), node.faults.counts.get('request'), node.faults.counts.get('enqueue') ?? 0]).toEqual([
      0, 1, 0,
    ])
  })

  test('[W6] where it was started before, the signal goes alone; where it is refused, none goes', async () => {
    const node = await world.node('a', [order])
    const first = await node.start(node.ref(order, 'o').run('x'), { idempotencyKey: 'one' })
    await world.advance(50)
    const other = await world.refusal(node.start(node.ref(order, 'o').run('y'), pay(1)))
    expect(other.code).toBe('KEY_CONFLICT')
    const bad = node.start(node.ref(order, 'o').run('x'), { idempotencyKey: 'one', signal: { op: 'nothing' } })
    expect((await world.refusal(bad)).code).toBe('OPERATION_UNKNOWN')
    await world.advance(1_000)
    expect(await logOf(node, 'order/o')).toEqual([])
    expect(world.db?.mailbox.get('default\u0000order/o')?.size).toBe(1)
    const second = await node.start(node.ref(order, 'o').run('x'), pay(7))
    expect([second.created, second.messageId]).toEqual([false, first.messageId])
    expect(await world.run(first.result())).toBe('done x 7')
    const third = await node.start(node.ref(order, 'o').run('x'), pay(8))
    expect(await world.run(third.result())).toBe('done x 7')
    await world.until(async () => (await logOf(node, 'order/o')).length === 2)
    expect(await logOf(node, 'order/o')).toEqual(['paid 7', 'late 8'])
  })

  test('[W6] a handle is found by its key after the node that began it is gone', async () => {
    const a = await world.node('a', [order])
    await a.start(a.ref(order, 'o').run('x'), { idempotencyKey: 'one' })
    await world.advance(50)
    a.kill()
    const b = await world.node('b', [order])
    const handle = await world.run(b.core.messenger.handle('order/o', 'one'))
    await b.call(b.send(b.ref(order, 'o').pay(3)))
    expect(await world.run(handle.result())).toBe('done x 3')
    expect((await world.refusal(b.core.messenger.handle('order/o', 'two'))).code).toBe('REQUEST_UNKNOWN')
  })

  test('[W6] a turn starts once and hears the recorded result, over crashes', async () => {
    const a = await world.node('a', [boss, order])
    await a.call(a.send(a.ref(boss, 'b').hire('one')))
    await world.until(async () => (await logOf(a, 'boss/b')).length === 1)
    a.kill()
    const b = await world.node('b', [boss, order])
    await b.call(b.send(b.ref(order, 'o').pay(9)))
    await world.until(async () => (await logOf(b, 'boss/b')).length === 2)
    expect(await logOf(b, 'boss/b')).toEqual([true, 'done x 9'])
    await b.call(b.ref(boss, 'c').hire('one'))
    expect(await logOf(b, 'boss/c')).toEqual([false, 'done x 9'])
  })

  test('[W6] without a key one follows from the turn: the start is not repeated by a replay', async () => {
    const a = await world.node('a', [boss, order])
    await a.call(a.send(a.ref(boss, 'b').anonymous()))
    await world.until(() => oracle.count('hang') === 1)
    a.kill()
    const b = await world.node('b', [boss, order])
    await world.until(() => oracle.count('hang') === 2)
    await world.advance(1_000)
    expect(world.db?.requests.size).toBe(1)
    expect(await logOf(b, 'boss/b')).toHaveLength(1)
  })
})

describe('results that are not kept', () => {
  test('[G6] whoever waits for one that was swept hears so: a handle, and a turn that slept for too long', async () => {
    const late = agent('late', {
      state: () => ({ log: [] as unknown[] }),
      on: {
        async run(ctx) {
          const started = await ctx.start(order, 'o', 'pay', 5, { idempotencyKey: 'one' })
          await ctx.sleep(HOUR)
          const heard = await started.result().catch((error: { code: string }) => error.code)
          ctx.state.log.push(heard)
        },
      },
    })
    const node = await world.node('a', [late, order])
    await node.call(node.send(node.ref(late, 'l').run()))
    const handle = await node.start(node.ref(order, 'o').pay(5), { idempotencyKey: 'one' })
    expect([handle.created, await world.run(handle.result())]).toEqual([false, 5])
    for (const row of world.db?.requests.values() ?? []) row.at -= REQUEST_MS + 1
    expect((await node.core.backend.handle.store.sweep(node.core.node, 10)).requests).toBe(1)
    expect((await world.refusal(handle.result())).code).toBe('REQUEST_UNKNOWN')
    world.jump(HOUR)
    await world.until(async () => (await logOf(node, 'late/l')).length === 1)
    expect(await logOf(node, 'late/l')).toEqual(['REQUEST_UNKNOWN'])
  })
})

describe('validators', () => {
  test('[W7] a call is refused by the committed state, and nothing is written', async () => {
    const node = await world.node('a', [order])
    await node.call(node.ref(order, 'o').pay(1))
    const rows = node.faults.committed.length
    expect((await world.refusal(node.ref(order, 'o').pay(0))).message).toContain('0 is no amount')
    await world.advance(100)
    expect(node.faults.committed.length).toBe(rows)
    await node.call(node.ref(order, 'o').close())
    expect((await world.refusal(node.ref(order, 'o').pay(2))).message).toContain('closed')
    expect([oracle.count('pay 0'), oracle.count('pay 2'), node.core.kernel.find('order/o')?.stats.failures]).toEqual([
      0, 0, 0,
    ])
  })

  test('[W7] a stored message is consumed with the refusal, and its starter hears it', async () => {
    const node = await world.node('a', [order])
    const handle = await node.start(node.ref(order, 'o').pay(-1), { idempotencyKey: 'bad' })
    expect((await world.refusal(handle.result())).code).toBe('CALL_REJECTED')
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[W7] a turn does not receive what is refused, and the next that fits is taken', async () => {
    const node = await world.node('a', [order])
    const handle = await node.start(node.ref(order, 'o').run('x'), { idempotencyKey: 'one' })
    await world.advance(50)
    expect((await world.refusal(node.ref(order, 'o').pay(0))).code).toBe('CALL_REJECTED')
    const stored = await node.start(node.ref(order, 'o').pay(-3), { idempotencyKey: 'bad' })
    expect((await world.refusal(stored.result())).code).toBe('CALL_REJECTED')
    await node.call(node.send(node.ref(order, 'o').pay(4)))
    expect(await world.run(handle.result())).toBe('done x 4')
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[W7] a replay does not ask again', async () => {
    const a = await world.node('a', [order])
    await a.call(a.send(a.ref(order, 'o').run('x')))
    await world.advance(50)
    a.kill()
    const b = await world.node('b', [order])
    await b.call(b.send(b.ref(order, 'o').pay(3)))
    await world.until(async () => (await logOf(b, 'order/o')).length === 1)
    expect([oracle.count('run x') > 1, oracle.count('validate x')]).toEqual([true, 1])
  })

  test('[W7] agents in memory ask too; a validator of no operation is refused at once', async () => {
    const node = await world.node('a', [mute])
    expect((await world.refusal(node.ref(mute, 'm').enter('nobody'))).code).toBe('CALL_REJECTED')
    expect(await node.call(node.ref(mute, 'm').enter('ana'))).toBe('welcome ana')
    const stray = { state: () => 0, on: {}, validate: { gone: () => {} } }
    expect(() => agent('stray', stray)).toThrow('which is no operation')
  })
})

test('[W8] a call to an agent in memory ends at its recorded deadline, however often its caller dies', async () => {
  const a = await world.node('a', [boss, mute])
  await a.call(a.send(a.ref(boss, 'b').poll()))
  await world.advance(6_000)
  a.kill()
  const b = await world.node('b', [boss, mute])
  await world.advance(2_000)
  b.kill()
  world.jump(1_000)
  const c = await world.node('c', [boss, mute])
  await world.until(async () => (await logOf(c, 'boss/b')).length === 2)
  const [code, at] = await logOf(c, 'boss/b')
  expect(code).toBe('CALL_TIMEOUT')
  expect(at).toBeGreaterThanOrEqual(10_000)
  expect(at).toBeLessThan(10_500)
  expect(oracle.count('asked')).toBe(3)
})
