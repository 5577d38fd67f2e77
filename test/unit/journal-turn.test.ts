/** Turns and replay: base and draft, acceptance, identity, delivery order, divergence. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { decodeEntries, type Entry } from '../../server/journal/entry.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

/** All entries the node committed for a process, in order. */
function entries(node: TestNode, id: string): Entry[] {
  return node.faults.committed.filter((row) => row.id === id).flatMap((row) => decodeEntries(row.payload))
}

const kinds = (node: TestNode, id: string): string[] => entries(node, id).map((entry) => entry.k)

describe('base and draft', () => {
  const held = gate()
  const sink = agent('sink', {
    state: () => ({ got: [] as number[] }),
    on: { take: (ctx, n: number) => ctx.state.got.push(n) },
  })
  const box = agent('box', {
    state: () => ({ n: 0 }),
    on: {
      async work(ctx, fail: boolean) {
        ctx.state.n = 1
        ctx.send(ctx.ref(sink, 's').take(1))
        await ctx.step('wait', () => held.promise)
        if (fail) throw new Reject('no')
        return ctx.state.n
      },
      async split(ctx) {
        ctx.state.n += 1
        ctx.send(ctx.ref(sink, 's').take(2))
        await ctx.checkpoint()
        ctx.state.n += 10
        oracle.hit('after')
        await ctx.step('stop', () => (oracle.count('after') === 1 ? new Promise(() => {}) : null))
        return ctx.state.n
      },
    },
    queries: { n: (state) => state.n },
  })

  test('[T1] state and sends of an open turn are seen by nobody and leave with its end', async () => {
    const node = await world.node('a', [box, sink])
    const answer = node.ref(box, 'k').work(false).run()
    await world.settle()
    expect(kinds(node, 'box/k')).toEqual(['init', 'accepted'])
    expect(await node.call(node.ref(box, 'k').n())).toBe(0)
    expect(node.core.kernel.find('sink/s')).toBeUndefined()
    held.open()
    expect(await world.run(answer)).toBe(1)
    await world.until(() => node.core.layer.committed('sink/s')?.seq === 1)
    expect(await node.stored('sink/s')).toEqual({ got: [1] })
  })

  test('[M3] a rejection ends the turn normally: draft and sends dropped, no crash, the caller hears it', async () => {
    const node = await world.node('a', [box, sink])
    const refused = await world.refusal(node.ref(box, 'k').work(true))
    expect(refused.code).toBe('CALL_REJECTED')
    await world.advance(1_000)
    expect(await node.stored('box/k')).toEqual({ n: 0 })
    expect(node.core.kernel.find('sink/s')).toBeUndefined()
    expect(node.core.kernel.find('box/k')?.stats.failures).toBe(0)
  })

  test('[M3] the detail of a rejection is heard through calls, starts and agents; only values are one', async () => {
    const shop = agent('shop', {
      state: () => ({ n: 0 }),
      on: {
        buy: (_ctx, item: string) => {
          throw new Reject('sold out', { item, at: new Date(0) })
        },
        broken: () => {
          throw new Reject('no', { fn: () => 1 })
        },
      },
    })
    const buyer = agent('buyer', {
      state: () => ({ heard: null as unknown }),
      maxAttempts: 1,
      on: {
        async buy(ctx, item: string) {
          ctx.state.heard = await ctx
            .ref(shop, 's')
            .buy(item)
            .run()
            .catch((error: { detail: unknown }) => error.detail)
          return ctx.state.heard
        },
      },
    })
    const node = await world.node('a', [shop, buyer])
    const detail = { item: 'tea', at: new Date(0), original: 'CALL_REJECTED' }
    expect((await world.refusal(node.ref(shop, 's').buy('tea'))).detail).toEqual(detail)
    const handle = await node.start(node.ref(shop, 's').buy('tea'))
    expect((await world.refusal(handle.result())).detail).toEqual(detail)
    expect(await node.call(node.ref(buyer, 'b').buy('tea'))).toEqual(detail)
    const broken = await world.refusal(node.ref(shop, 's').broken().run({ timeoutMs: 60_000 }))
    expect([broken.code, broken.message]).toEqual(['DEAD_LETTERED', expect.stringContaining('fn')])
  })

  test('[T2] a checkpoint commits state and outbox so far, once; the rest of the turn goes on from it', async () => {
    const a = await world.node('a', [box, sink])
    a.ref(box, 'k')
      .split()
      .run()
      .catch(() => {})
    await world.until(() => oracle.count('after') === 1)
    await world.advance(50)
    expect(await a.stored('box/k')).toEqual({ n: 1 })
    expect(await a.stored('sink/s')).toEqual({ got: [2] })
    a.kill()
    const b = await world.node('b', [box, sink])
    await world.until(async () => JSON.stringify(await b.stored('box/k')) === '{"n":11}')
    await world.advance(1_000)
    expect(await b.stored('sink/s')).toEqual({ got: [2] })
  })
})

describe('acceptance', () => {
  const plain = agent('plain', {
    state: () => ({ n: 0 }),
    on: {
      add: (ctx) => ++ctx.state.n,
      look: (ctx) => ctx.state.n,
      async slow(ctx) {
        oracle.hit('begun')
        await ctx.step('effect', () => oracle.hit('effect'))
        ctx.state.n = 7
        await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        return ctx.state.n
      },
    },
  })

  test('[T3] a call without steps costs one row; one that changes nothing costs none', async () => {
    const node = await world.node('a', [plain])
    await node.call(node.ref(plain, 'k').add())
    await node.call(node.ref(plain, 'k').look())
    expect(kinds(node, 'plain/k')).toEqual(['init', 'end'])
  })

  test('[T3] the message is stored before the first step runs', async () => {
    const node = await world.node('a', [plain])
    const stored = gate()
    node.faults.next('commit', { kind: 'hold', until: stored.promise })
    node
      .ref(plain, 'k')
      .slow()
      .run()
      .catch(() => {})
    await world.advance(100)
    expect([oracle.count('begun'), oracle.count('effect')]).toEqual([1, 0])
    stored.open()
    await world.until(() => oracle.count('effect') === 1)
    expect(kinds(node, 'plain/k').slice(0, 2)).toEqual(['init', 'accepted'])
  })

  test('[T3] an accepted turn outlives its caller and its node; its finished steps are not run again', async () => {
    const a = await world.node('a', [plain])
    a.ref(plain, 'k')
      .slow()
      .run()
      .catch(() => {})
    await world.until(() => oracle.count('hang') === 1)
    await world.advance(50)
    a.kill()
    const b = await world.node('b', [plain])
    await world.until(async () => JSON.stringify(await b.stored('plain/k')) === '{"n":7}')
    oracle.expectStep('effect').once()
    expect(oracle.count('begun')).toBe(2)
  })

  test('[T3] a turn that is open when its node drains goes on at the next node', async () => {
    const a = await world.node('a', [plain])
    a.ref(plain, 'k')
      .slow()
      .run()
      .catch(() => {})
    await world.until(() => oracle.count('hang') === 1)
    await a.stop()
    const b = await world.node('b', [plain])
    await world.until(async () => JSON.stringify(await b.stored('plain/k')) === '{"n":7}')
    oracle.expectStep('effect').once()
  })
})

describe('identity', () => {
  const keys: string[] = []
  const ids: unknown[] = []
  const charger = agent('charger', {
    state: () => ({ done: false }),
    on: {
      async charge(ctx) {
        ids.push([ctx.now(), ctx.random(), ctx.uuid()])
        await ctx.step(
          'charge',
          ({ idempotencyKey }) => {
            keys.push(idempotencyKey)
            if (keys.length === 1) throw new Error('try again')
            if (keys.length === 2) return new Promise(() => {})
            return null
          },
          { retry: { max: 2, initialMs: 1 } },
        )
        ctx.state.done = true
      },
    },
    queries: { done: (state) => state.done },
  })

  test('[T4] idempotency key, random, uuid and now are the same over attempts, crash and move', async () => {
    keys.length = ids.length = 0
    const a = await world.node('a', [charger])
    await a.call(a.send(a.ref(charger, 'k').charge()))
    await world.until(() => keys.length === 2)
    a.kill()
    const b = await world.node('b', [charger])
    await world.until(async () => JSON.stringify(await b.stored('charger/k')) === '{"done":true}')
    expect(keys.length).toBe(3)
    expect(new Set(keys).size).toBe(1)
    expect(new Set(ids.map((item) => JSON.stringify(item))).size).toBe(1)
    await b.call(b.ref(charger, 'other').charge())
    expect(new Set(keys).size).toBe(2)
  })
})

describe('replay', () => {
  let order: string[] = []
  let version = 1
  const racer = agent('racer', {
    state: () => ({ won: '', order: [] as string[] }),
    on: {
      async race(ctx) {
        const slow = ctx.step('p', () => hits('p', 30), { key: 'slow' })
        const fast = ctx.step('p', () => hits('p2', 5), { key: 'fast' })
        const note = (name: string) => (value: string) => {
          order.push(name)
          return value
        }
        const winner = await Promise.race([slow.then(note('slow')), fast.then(note('fast'))])
        await Promise.all([slow, fast])
        ctx.state.won = winner
        await ctx.step('stop', () => (oracle.hit('stop') === 1 ? new Promise(() => {}) : null))
        ctx.state.order = order.slice(-2)
      },
      async twins(ctx) {
        await Promise.all([ctx.step('same', () => 1), ctx.step('same', () => 2)])
      },
      async coded(ctx) {
        const a = await ctx.step(version === 1 ? 'one' : 'two', () => oracle.hit(`step${version}`))
        await ctx.step('stop', () => (oracle.hit('stop') === 1 ? new Promise(() => {}) : null))
        ctx.state.won = `v${version}:${a}`
      },
      async short(ctx) {
        await ctx.step('one', () => oracle.hit('one'))
        if (version === 2) throw new Reject('the new code knows better')
        await ctx.step('stop', () => (oracle.hit('stop') === 1 ? new Promise(() => {}) : null))
        ctx.state.won = 'done'
      },
    },
  })
  const hits = async (name: string, ms: number): Promise<string> => {
    oracle.hit(name)
    await new Promise<void>((resolve) => void world.clock.after(ms, resolve))
    return name
  }
  beforeEach(() => {
    order = []
    version = 1
  })

  test('[T5] parallel steps are handed over in the order in which they came first', async () => {
    const a = await world.node('a', [racer])
    await a.call(a.send(a.ref(racer, 'k').race()))
    await world.until(() => oracle.count('stop') === 1)
    await world.advance(50)
    a.kill()
    const b = await world.node('b', [racer])
    await world.until(async () => ((await b.stored('racer/k')) as { won: string }).won !== '')
    expect(order).toEqual(['fast', 'slow', 'fast', 'slow'])
    expect(((await b.stored('racer/k')) as { won: string }).won).toBe('p2')
    expect([oracle.count('p'), oracle.count('p2')]).toEqual([1, 1])
  })

  test('[T5] a second step of one name while the first is open needs a key of its own', async () => {
    const a = await world.node('a', [racer])
    const refused = await world.refusal(a.ref(racer, 'k').twins())
    expect(refused.message).toContain('STEP_KEY_REQUIRED')
  })

  test('[T5] a replay that asks for something else parks; with the right code it goes on', async () => {
    const a = await world.node('a', [racer])
    await a.call(a.send(a.ref(racer, 'k').coded()))
    await world.until(() => oracle.count('stop') === 1)
    a.kill()
    version = 2
    const b = await world.node('b', [racer])
    await world.until(() => b.core.kernel.find('racer/k')?.status === 'diverged')
    const [event] = b.seen('process:diverge')
    expect(event).toMatchObject({ expected: 'one#0', found: 'two#0' })
    expect(kinds(a, 'racer/k').concat(kinds(b, 'racer/k'))).toContain('diverged')
    oracle.expectStep('step2').times(0)
    version = 1
    await b.call(b.control.resume('racer/k', { actor: 'test' }))
    await world.until(async () => ((await b.stored('racer/k')) as { won: string }).won === 'v1:1')
    oracle.expectStep('step1').once()
    const record = await b.core.backend.handle.archive.process('default', 'racer/k')
    expect(record?.diverged).toBe(false)
  })

  test('[T5] a turn that ends before everything recorded was asked for diverged', async () => {
    const a = await world.node('a', [racer])
    await a.call(a.send(a.ref(racer, 'k').coded()))
    await a.call(a.send(a.ref(racer, 'l').short()))
    await world.until(() => oracle.count('stop') === 2)
    await world.advance(10)
    a.kill()
    oracle.hit('stop')
    version = 2
    const b = await world.node('b', [racer])
    await world.until(() => b.core.kernel.find('racer/k')?.status === 'diverged')
    await world.advance(2_000)
    // Everything recorded was asked for: an ordinary rejection.
    expect(b.core.kernel.find('racer/l')?.status).toBe('idle')
  })

  test('[T5] a turn that ends at once without what is recorded is parked, and says so', async () => {
    let asks = true
    const hasty = agent('hasty', {
      state: () => ({}),
      on: { work: (ctx) => (asks ? ctx.step('s', () => 1).then(() => new Promise(() => {})) : 'done') },
    })
    const a = await world.node('a', [hasty])
    await a.call(a.send(a.ref(hasty, 'k').work()))
    await world.until(async () => (await a.journal('hasty/k')).some((entry) => entry.k === 'step'))
    a.kill()
    asks = false
    const b = await world.node('b', [hasty])
    await world.until(() => b.core.kernel.find('hasty/k')?.status === 'diverged')
  })

  const flaky = agent('flaky', {
    state: () => ({ got: '' }),
    on: {
      async work(ctx) {
        const got = await ctx.step('s', () => ok(oracle.hit('s')), { retry: { max: 1 } })
        if (oracle.hit('after') === 1) throw new Error('crash after the step came good')
        ctx.state.got = got
      },
    },
  })
  const ok = (n: number): string => {
    if (n === 1) throw new Error('not yet')
    return `at ${n}`
  }

  test('[J1] a failed step runs again in the next attempt; once it came good it is never run again', async () => {
    const a = await world.node('a', [flaky])
    await a.call(a.send(a.ref(flaky, 'k').work()))
    await world.until(async () => ((await a.stored('flaky/k')) as { got: string } | undefined)?.got === 'at 2')
    oracle.expectStep('s').times(2)
  })

  test('[T5] the state is read-only while a step runs', async () => {
    const cheat = agent('cheat', {
      state: () => ({ n: 0 }),
      on: {
        async work(ctx) {
          await ctx.step(
            's',
            () => {
              ctx.state.n = 5
            },
            { retry: { max: 1 } },
          )
        },
      },
    })
    const a = await world.node('a', [cheat])
    const refused = await world.refusal(a.ref(cheat, 'k').work())
    expect(refused.message).toMatch(/read.only/)
    expect(await a.stored('cheat/k')).toEqual({ n: 0 })
  })
})
