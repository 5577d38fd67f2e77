/** Turns and replay: base and draft, acceptance, identity, delivery order, divergence, hooks, kill. */
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

describe('hooks and kill', () => {
  const log: string[] = []
  const hooked = (v: number, activated = true) =>
    agent('hooked', {
      version: v,
      state: () => ({ log: ['init'] as string[] }),
      on: {
        async work(ctx) {
          ctx.state.log.push(`work${v}`)
          await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        },
        note: (ctx, text: string) => void ctx.state.log.push(text),
      },
      ...(activated ? { activated: (ctx: { state: { log: string[] } }) => void ctx.state.log.push(`active${v}`) } : {}),
      upgrade: {
        1: (old: { log: string[] }) => ({ log: [...old.log, 'up2'] }),
        2: (old: { log: string[] }) => ({ log: [...old.log, 'up3'] }),
      },
    })

  test('[T8] activated runs before the first message, as a turn of its own', async () => {
    const one = hooked(1)
    const node = await world.node('a', [one])
    await node.call(node.ref(one, 'k').note('first'))
    expect(await node.stored('hooked/k')).toEqual({ log: ['init', 'active1', 'first'] })
  })

  test('[T8][V2] an open turn is replayed first, on its upgraded base; then activated, then messages', async () => {
    const one = hooked(1)
    const three = hooked(3)
    const a = await world.node('a', [one])
    await a.call(a.send(a.ref(one, 'k').work()))
    await a.call(a.send(a.ref(one, 'k').note('later')))
    await world.until(() => oracle.count('hang') === 1)
    a.kill()
    const b = await world.node('b', [three])
    await world.until(async () => ((await b.stored('hooked/k')) as { log: string[] }).log.includes('later'))
    expect(await b.stored('hooked/k')).toEqual({ log: ['init', 'active1', 'up2', 'up3', 'work3', 'active3', 'later'] })
  })

  test('[V1] a state newer than the code is not claimed by it', async () => {
    const three = hooked(3, false)
    const two = hooked(2, false)
    const a = await world.node('a', [three])
    await a.call(a.ref(three, 'k').note('x'))
    await a.stop()
    const b = await world.node('b', [two])
    const refused = await world.refusal(b.ref(two, 'k').note('y'))
    expect(refused.message).toContain('version 3')
    expect(await b.stored('hooked/k')).toEqual({ log: ['init', 'x'] })
  })

  const started = gate()
  const other = agent('other', { state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })
  const killed = agent('killed', {
    state: () => ({ n: 0 }),
    on: {
      async work(ctx): Promise<void> {
        if (oracle.hit('work') > 1) {
          ctx.state.n += 1
          return
        }
        started.open()
        const verb = async (run: () => unknown): Promise<void> => {
          try {
            await run()
            log.push('worked')
          } catch (error) {
            log.push((error as { code: string }).code)
          }
        }
        await verb(() => ctx.step('s', () => new Promise((resolve) => void world.clock.after(100, () => resolve(1)))))
        await verb(() => {
          ctx.state.n = 99
        })
        await verb(() => ctx.send(ctx.ref(other, 'x').add()))
        await verb(() => ctx.ref(other, 'x').add())
        await verb(() => ctx.after(1, 'add'))
        await verb(() => ctx.exit())
        await verb(() => ctx.now())
        await verb(() => ctx.spawn(other))
        await verb(() => ctx.checkpoint())
        await verb(() => ctx.step('t', () => log.push('ran')))
      },
      add: (ctx): number => ++ctx.state.n,
    },
  })

  test('[T9] a killed turn goes on nowhere: every verb of its ctx is closed', async () => {
    log.length = 0
    const node = await world.node('a', [killed, other])
    await node.call(node.send(node.ref(killed, 'k').work()))
    await world.run(started.promise)
    await world.advance(10)
    await node.call(node.control.kill('killed/k', { actor: 'test' }))
    await world.advance(2_000)
    expect(log).toEqual(Array.from({ length: 10 }, () => 'CONTEXT_CLOSED'))
    expect(await node.stored('killed/k')).toEqual({ n: 1 })
  })

  test('[T9] a turn that ended before a kill is committed and answered', async () => {
    const node = await world.node('a', [killed, other])
    await node.call(node.ref(killed, 'k').add())
    const stored = gate()
    node.faults.next('commit', { kind: 'hold', until: stored.promise })
    const answer = node.ref(killed, 'k').add().run()
    await world.settle()
    const kill = node.control.kill('killed/k', { actor: 'test' })
    await world.settle()
    stored.open()
    await world.run(kill)
    expect(await world.run(answer)).toBe(2)
    expect(await node.call(node.ref(killed, 'k').add())).toBe(3)
    expect(node.core.kernel.find('killed/k')?.incarnation).toBe(2)
  })
})

describe('what a row tells later', () => {
  const second = agent('second', { state: () => ({ n: 0 }), on: { take: (ctx) => ++ctx.state.n } })
  const first = agent('first', {
    state: () => ({ n: 0 }),
    on: {
      go(ctx) {
        ctx.state.n += 1
        ctx.send(ctx.ref(second, 's').take())
        ctx.publish('news', 'yes')
      },
      fail(ctx) {
        ctx.publish('news', 'no')
        throw new Reject('no')
      },
      listen: (ctx) => ctx.subscribe('news', 'heard'),
      heard: (_ctx, text: string) => void oracle.hit(`heard ${text}`),
    },
  })

  test('[V3] a row names turn, cause, root, actor, state and code version', async () => {
    const node = await world.node('a', [first, second], { codeVersion: 'c7' })
    const { messageId } = await node.call(node.control.send('first/f', 'go', null, { actor: 'operator:ana' }))
    await world.until(() => node.core.layer.committed('second/s')?.seq === 1)
    const [one, two] = node.faults.committed
    expect(one?.meta).toMatchObject({ turnIds: [messageId], root: messageId, actor: 'operator:ana', codeVersion: 'c7' })
    expect(two?.meta).toMatchObject({ turnIds: [`${messageId}.1`], cause: messageId, root: messageId, stateVersion: 1 })
    expect(two?.meta.actor).toBe('operator:ana')
  })

  test('[M8] what a turn publishes leaves with its commit, and not at all without one', async () => {
    const node = await world.node('a', [first, second])
    await node.call(node.ref(first, 'listener').listen())
    const stored = gate()
    node.faults.next('commit', { kind: 'hold', until: stored.promise })
    const answer = node.ref(first, 'f').go().run()
    await world.settle()
    expect(oracle.count('heard yes')).toBe(0)
    stored.open()
    await world.run(answer)
    await world.settle()
    oracle.expectStep('heard yes').once()
    await world.refusal(node.ref(first, 'f').fail())
    await world.settle()
    oracle.expectStep('heard no').times(0)
  })
})
