/** Results of started operations: how a turn waits for one, in memory and out of it, and who is told when it comes. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const work = agent('work', {
  maxAttempts: 1,
  state: () => ({ n: 0 }),
  on: {
    async slow(ctx, ms: number) {
      oracle.hit('work')
      await ctx.sleep(ms)
      return `after ${ms}`
    },
    refuse() {
      throw new Reject('not today')
    },
    break() {
      throw new Error('broken')
    },
    quick: () => 'quick',
  },
  passivateAfterMs: 2_000,
})

const boss = agent('boss', {
  maxAttempts: 3,
  state: () => ({ log: [] as unknown[] }),
  on: {
    async hire(ctx, [key, ms]: [string, number]) {
      oracle.hit('hire')
      const started = await ctx.start(work, key, 'slow', ms, { idempotencyKey: key })
      ctx.state.log.push(await started.result())
      await ctx.step('after', () => oracle.hit('after'))
      return 'paid'
    },
    async late(ctx, key: string) {
      const started = await ctx.start(work, key, 'quick', null, { idempotencyKey: key })
      await ctx.sleep(10_000)
      ctx.state.log.push(await started.result(), await started.result())
    },
    async fail(ctx, op: 'refuse' | 'break') {
      const started = await ctx.start(work, 'w', op, null, { idempotencyKey: op })
      try {
        await started.result()
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        ctx.state.log.push(`${code}: ${message}`)
        if (oracle.hit('caught') === 1) throw new Error('once')
      }
    },
    async race(ctx, ms: number) {
      const started = await ctx.start(work, 'w', 'slow', ms, { idempotencyKey: 'race' })
      for (let i = 1; ; i++) {
        const won = await Promise.race([started.result(), ctx.sleep(HOUR).then(() => null)])
        if (won !== null) return void ctx.state.log.push(`${won} in round ${i}`)
      }
    },
    async leave(ctx, ms: number) {
      const started = await ctx.start(work, 'w', 'slow', ms, { idempotencyKey: 'leave' })
      await Promise.race([started.result(), ctx.sleep(1_000)])
      ctx.state.log.push('left')
    },
    async rest(ctx, ms: number) {
      oracle.hit('rest')
      const started = await ctx.start(work, 'w', 'slow', ms, { idempotencyKey: 'rest' })
      await started.result()
      await ctx.sleep(HOUR)
    },
    async beside(ctx) {
      const started = await ctx.start(work, 'w', 'slow', DAY, { idempotencyKey: 'beside' })
      await Promise.race([started.result(), ctx.step('work', () => new Promise(() => {}))])
    },
    note: (ctx, text: string) => void ctx.state.log.push(text),
  },
  passivateAfterMs: 2_000,
})

const agents = [work, boss]
const inMemory = (node: TestNode, id: string): boolean => node.core.kernel.find(id) !== undefined
const parked = (node: TestNode, id: string): Promise<void> => world.until(() => !inMemory(node, id), `parking of ${id}`)
const logOf = async (node: TestNode, id = 'boss/b'): Promise<unknown[]> =>
  ((await node.stored(id)) as { log: unknown[] } | undefined)?.log ?? []
const waiters = (): number =>
  [...(world.db?.requests.values() ?? [])].reduce((sum, { waiters }) => sum + waiters.length, 0)
const mails = (): number => [...(world.db?.mailbox.values() ?? [])].reduce((sum, box) => sum + box.size, 0)

async function hired(node: TestNode, ms = HOUR): Promise<void> {
  await node.call(node.send(node.ref(boss, 'b').hire(['w', ms])))
  await world.until(() => waiters() === 1)
}

describe('a turn that waits for a result', () => {
  test('[W2] leaves memory and is woken by the commit that stores it, without a look meanwhile', async () => {
    const node = await world.node('a', agents)
    await hired(node)
    await parked(node, 'boss/b')
    await parked(node, 'work/w')
    await node.call(node.send(node.ref(boss, 'b').note('behind')))
    await world.advance(60_000)
    expect([oracle.count('hire'), inMemory(node, 'boss/b')]).toEqual([1, false])
    world.jump(HOUR)
    await world.until(async () => (await logOf(node)).length === 2)
    expect(await logOf(node)).toEqual([`after ${HOUR}`, 'behind'])
    await world.advance(1_000)
    expect([oracle.count('hire'), oracle.count('work'), oracle.count('after'), mails()]).toEqual([2, 2, 1, 0])
    // Once when it began to wait; its replay found the answer in its mailbox.
    expect([node.faults.counts.get('awaitResult'), node.faults.counts.get('requestRow') ?? 0]).toEqual([1, 0])
  })

  test('[W2] leaves at once when its node drains, and goes on where the next node runs it', async () => {
    const a = await world.node('a', agents)
    await hired(a)
    const began = world.clock.now()
    await a.stop()
    expect(world.clock.now() - began).toBeLessThan(500)
    const b = await world.node('b', agents)
    world.jump(HOUR)
    await world.until(async () => (await logOf(b)).length === 1)
    expect([oracle.count('hire'), oracle.count('after')]).toEqual([2, 1])
  })

  test('[W2] stays in memory while anything else of it runs', async () => {
    const node = await world.node('a', agents)
    await node.call(node.send(node.ref(boss, 'b').beside()))
    await world.advance(30_000)
    expect(inMemory(node, 'boss/b')).toBe(true)
  })

  test('[W3] shows for what it waits, in memory and out of it', async () => {
    const node = await world.node('a', agents)
    await hired(node)
    const wait = { kind: 'call', target: 'work/w w', deadline: null }
    expect(node.core.kernel.find('boss/b')?.wait).toMatchObject(wait)
    await parked(node, 'boss/b')
    await world.advance(100)
    const record = await node.core.backend.handle.archive.process('default', 'boss/b')
    expect(JSON.parse(record?.wait ?? '')).toMatchObject(wait)
  })

  test('[W9] what ended before is answered at once, as often as it is asked, and leaves no row', async () => {
    const node = await world.node('a', agents)
    await node.call(node.send(node.ref(boss, 'b').late('w')))
    await world.until(async () => (await logOf(node)).length === 2)
    expect(await logOf(node)).toEqual(['quick', 'quick'])
    await world.advance(1_000)
    expect([waiters(), mails()]).toEqual([0, 0])
  })

  test.each([
    ['refuse', 'CALL_REJECTED: not today'],
    ['break', 'broken'],
  ] as const)('[W9] a failure (%s) is typed, and the same for the next attempt of the turn', async (op, text) => {
    const node = await world.node('a', agents)
    await node.call(node.send(node.ref(boss, 'b').fail(op)))
    await world.until(async () => (await logOf(node)).length === 1)
    expect(String(await logOf(node))).toContain(text)
    expect(oracle.count('caught')).toBe(2)
    expect(node.written().filter((entry) => entry.k === 'reply')).toHaveLength(1)
  })

  test('[W9] many turns on two nodes hear of one operation', async () => {
    const nodes = [await world.node('a', agents), await world.node('b', agents)] as const
    for (let i = 0; i < 20; i++) {
      const node = nodes[i % 2 === 0 ? 0 : 1]
      await node.call(node.send(node.ref(boss, `b${i}`).hire(['w', HOUR])))
    }
    await world.until(() => waiters() === 20)
    await world.until(() => nodes.every((node) => ![...node.core.kernel.all()].some(({ agent }) => agent === 'boss')))
    world.jump(HOUR)
    await world.until(() => oracle.count('after') === 20)
    await world.advance(5_000)
    expect([oracle.count('after'), mails()]).toEqual([20, 0])
    for (let i = 0; i < 20; i++) expect(await logOf(nodes[0], `boss/b${i}`)).toEqual([`after ${HOUR}`])
  })

  test('[W9] a turn in memory of another node is told', async () => {
    const [a, b] = [await world.node('a', agents), await world.node('b', agents)]
    await b.call(b.ref(work, 'w').quick())
    await hired(a, 1_500)
    await world.until(async () => (await logOf(a)).length === 1)
    expect([a.faults.counts.get('awaitResult'), a.faults.counts.get('requestRow') ?? 0]).toEqual([1, 0])
  })

  test('[W9] a loop that races it waits for it once; all rounds are replayed as they were', async () => {
    const node = await world.node('a', agents)
    await node.call(node.send(node.ref(boss, 'b').race(3.5 * HOUR)))
    await world.until(() => waiters() === 1)
    for (let i = 0; i < 5; i++) {
      await parked(node, 'boss/b')
      world.jump(HOUR / 2)
      await world.advance(10_000)
    }
    world.jump(2 * HOUR)
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(5_000)
    expect([waiters(), mails()]).toEqual([1, 0])
    expect(String(await logOf(node))).toMatch(/^after 12600000 in round [34]$/)
  })

  test('[W9] a result that comes after its turn is consumed', async () => {
    const node = await world.node('a', agents)
    await node.call(node.send(node.ref(boss, 'b').leave(20_000)))
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(40_000)
    expect([waiters(), mails(), await logOf(node)]).toEqual([1, 0, ['left']])
  })
})

describe('whoever dies', () => {
  test.each(['before', 'after'] as const)('[W9] the waiting node dies %s it is put down as waiting', async (when) => {
    const a = await world.node('a', agents)
    a.faults.next('awaitResult', { kind: 'die', when })
    await a.call(a.send(a.ref(boss, 'b').hire(['w', 30_000])))
    await world.until(() => a.dead)
    await once(await world.node('b', agents))
  })

  test.each(['before', 'after'] as const)('[W9] the node dies %s the result is stored', async (when) => {
    const a = await world.node('a', agents)
    await hired(a)
    await parked(a, 'boss/b')
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.requests !== undefined) ? { kind: 'die', when } : undefined,
    )
    world.jump(HOUR)
    await world.until(() => a.dead)
    await once(await world.node('b', agents))
  })

  test.each(['before', 'after'] as const)('[W9] the node dies %s the turn has recorded it', async (when) => {
    const a = await world.node('a', agents)
    await hired(a)
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"k":"reply"'))
        ? { kind: 'die', when }
        : undefined,
    )
    world.jump(HOUR)
    await world.until(() => a.dead)
    await once(await world.node('b', agents))
  })

  test('[W9] a store that is away is asked again; a lost answer to the asking or the result is no loss', async () => {
    const node = await world.node('a', agents)
    node.faults.next('awaitResult', { kind: 'fail', failure: 'unavailable' }, 3)
    node.faults.next('awaitResult', { kind: 'lost' })
    node.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.requests !== undefined) && oracle.hit('lost') === 1
        ? { kind: 'lost' }
        : undefined,
    )
    await node.call(node.send(node.ref(boss, 'b').hire(['w', 30_000])))
    await once(node)
    expect([waiters(), node.faults.counts.get('awaitResult')]).toEqual([1, 5])
  })

  async function once(node: TestNode): Promise<void> {
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(5_000)
    expect([(await logOf(node)).length, oracle.count('after'), mails()]).toEqual([1, 1, 0])
  }
})

describe('a caller outside', () => {
  test('[W9] on any node is told, and does not look meanwhile', async () => {
    const [a, b] = [await world.node('a', agents), await world.node('b', agents)]
    await a.start(a.ref(work, 'w').slow(20_000), { idempotencyKey: 'k' })
    await world.advance(100)
    const handle = await world.run(b.core.messenger.handle('work/w', 'k'))
    const looks = (): number => (b.faults.counts.get('requestRow') ?? 0) + (b.faults.counts.get('awaitResult') ?? 0)
    const before = looks()
    const results = Promise.all([handle.result(), handle.result()])
    await world.advance(19_000)
    const began = world.clock.now()
    expect(await world.run(results)).toEqual(['after 20000', 'after 20000'])
    expect(world.clock.now() - began).toBeLessThan(1_500)
    // Each looked once before, and once when it was told.
    expect([looks() - before, waiters(), mails()]).toEqual([4, 1, 0])
  })

  test('[W9] costs an operation that is over soon no row', async () => {
    const node = await world.node('a', agents)
    const handle = await node.start(node.ref(work, 'w').slow(200))
    expect(await world.run(handle.result())).toBe('after 200')
    expect(node.faults.counts.get('awaitResult')).toBeUndefined()
  })

  test('[W9] finds by itself what it was told and did not hear', async () => {
    const [a, b] = [await world.node('a', agents), await world.node('b', agents)]
    await a.start(a.ref(work, 'w').slow(20_000), { idempotencyKey: 'k' })
    const handle = await world.run(b.core.messenger.handle('work/w', 'k'))
    const result = handle.result()
    await world.advance(1_000)
    b.faults.plan(({ method }) => (method === 'take' ? { kind: 'hold', until: new Promise(() => {}) } : undefined))
    expect(await world.run(result)).toBe('after 20000')
  })

  test('[W9] may give up at any moment', async () => {
    const node = await world.node('a', agents)
    const handle = await node.start(node.ref(work, 'w').slow(HOUR))
    const abort = new AbortController()
    const result = handle.result({ signal: abort.signal })
    result.catch(() => {})
    await world.advance(5_000)
    abort.abort(new Error('enough'))
    await expect(result).rejects.toThrow('enough')
  })

  test('[W9] hears when the result is not kept any more', async () => {
    const node = await world.node('a', agents)
    const handle = await node.start(node.ref(work, 'w').quick(), { idempotencyKey: 'k' })
    expect(await world.run(handle.result())).toBe('quick')
    world.db?.requests.clear()
    expect((await world.refusal(handle.result())).code).toBe('REQUEST_UNKNOWN')
  })

  test('[W9] is told under the epoch that its node has now', async () => {
    const [a, b] = [await world.node('a', agents), await world.node('b', agents)]
    await a.start(a.ref(work, 'w').slow(60_000), { idempotencyKey: 'k' })
    const handle = await world.run(b.core.messenger.handle('work/w', 'k'))
    const result = handle.result()
    await world.advance(1_000)
    await world.run(a.core.backend.handle.store.buryNode(a.core.node, b.core.node, 'host'))
    expect(await world.run(result)).toBe('after 60000')
    await world.advance(1_000)
    expect(mails()).toBe(0)
  })
})

test('[W9] a reply for a turn that heard the result by itself is consumed, and wakes nobody again', async () => {
  const node = await world.node('a', agents)
  const held = gate()
  // It is put down as waiting and does not hear so; when it asks again the result is there, and the reply on its way.
  node.faults.next('awaitResult', { kind: 'lost' })
  node.faults.next('messages', { kind: 'hold', until: held.promise })
  await node.call(node.send(node.ref(boss, 'b').rest(50)))
  await world.until(() => node.faults.counts.get('awaitResult') === 2)
  await world.advance(50)
  held.open()
  await parked(node, 'boss/b')
  await world.advance(60_000)
  expect([oracle.count('rest'), inMemory(node, 'boss/b'), mails()]).toEqual([1, false, 1])
})
