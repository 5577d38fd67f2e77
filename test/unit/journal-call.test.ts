/** Calls, sends, started operations and timers of durable agents: one outcome each, in order, over crashes. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Ref } from '../../server/definition/ref.ts'
import { Reject } from '../../server/definition/reject.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const target = agent('target', {
  state: () => ({ seen: [] as string[] }),
  on: {
    take(ctx, name: string) {
      oracle.hit(name)
      ctx.state.seen.push(name)
      return `took ${name}`
    },
    refuse(_ctx, name: string) {
      throw new Reject(`not ${name}`)
    },
    crash(_ctx, name: string) {
      oracle.hit(`crash ${name}`)
      throw new Error(`never ${name}`)
    },
    async slow(ctx, ms: number) {
      await ctx.step('sleep', () => new Promise<void>((resolve) => void world.clock.after(ms, () => resolve())))
      ctx.state.seen.push('slow')
      return 'late'
    },
  },
  mailbox: { limit: 5 },
})

const caller = agent('caller', {
  state: () => ({ got: [] as unknown[] }),
  on: {
    async ask(ctx, name: string) {
      ctx.state.got.push(await ctx.ref(target, 't').take(name))
      return ctx.state.got.length
    },
    async mixed(ctx) {
      const t = ctx.ref(target, 't')
      ctx.send(t.take('1'))
      ctx.send(t.take('2'))
      await t.take('3')
      ctx.send(t.take('4'))
    },
    async fails(ctx, op: 'refuse' | 'crash') {
      try {
        await ctx.ref(target, 't')[op]('x')
      } catch (error) {
        ctx.state.got.push((error as { code: string }).code)
        throw new Error('again')
      }
    },
    async impatient(ctx) {
      try {
        await ctx.call(ctx.ref(target, 't').slow(5_000), { timeoutMs: 1_000 })
      } catch (error) {
        ctx.state.got.push((error as { code: string }).code, ctx.now() >= deadline(ctx.message.at))
      }
    },
    async race(ctx) {
      const slow = ctx.ref(target, 't').slow(500).run()
      ctx.state.got.push(await Promise.race([slow, ctx.step('quick', () => 'quick')]))
    },
    async hopeless(ctx) {
      if (ctx.message.attempt === 1)
        ctx
          .ref(target, 't')
          .slow(100)
          .run()
          .catch(() => {})
      throw new Error(`attempt ${ctx.message.attempt}`)
    },
    async flood(ctx) {
      for (let i = 0; i < 3; i++) {
        try {
          ctx.send(ctx.ref(target, 't').take(`f${i}`))
        } catch (error) {
          ctx.state.got.push((error as { code: string }).code)
        }
      }
      await ctx.ref(target, 't').take('call')
    },
    async coping(ctx, how: 'send' | 'call') {
      const t = ctx.ref(target, 't')
      await ctx.step('before', () => null)
      try {
        if (how === 'send') ctx.send(t.take('coped'))
        else await t.take('coped')
        ctx.state.got.push('room')
      } catch (error) {
        ctx.state.got.push((error as { code: string }).code)
      }
      await ctx.step(`after ${ctx.state.got}`, () => oracle.hit('after'))
      await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise<null>(() => {}) : null))
      if (how === 'send') ctx.send(t.take('late'))
      else await t.take('late')
    },
    async stubborn(ctx) {
      await ctx.step('once', () => null)
      ctx.send(ctx.ref(target, 't').take('at last'))
    },
    async unused(ctx) {
      void ctx.ref(target, 't').take('never')
    },
  },
})
const deadline = (at: number): number => at + 900
const ask = (node: TestNode, key = 'c'): Ref<typeof caller> => node.ref(caller, key)

describe('calls between durable agents', () => {
  test('[M2] request and reply rows leave with the commits of their turns; none stays behind', async () => {
    const node = await world.node('a', [caller, target])
    expect(await node.call(ask(node).ask('x'))).toBe(1)
    await world.advance(100)
    expect(world.db?.mailbox.size).toBe(0)
    const rows = node.faults.committed.map((row) => decodeEntries(row.payload).map((entry) => entry.k))
    expect(rows.flat().filter((k) => k === 'called' || k === 'reply')).toEqual(['called', 'reply'])
    oracle.expectStep('x').once()
  })

  test('[M5] sends and calls of one turn to one receiver arrive in the order of the code', async () => {
    const node = await world.node('a', [caller, target])
    await node.call(ask(node).mixed())
    await world.until(() => oracle.count('4') === 1)
    expect(oracle.log).toEqual(['1', '2', '3', '4'])
  })

  test('[M3] a rejection is one outcome, final over all attempts of the caller', async () => {
    const node = await world.node('a', [caller, target])
    const refused = await world.refusal(ask(node).fails('refuse'))
    expect(refused.code).toBe('DEAD_LETTERED')
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(5_000)
  })

  test('[M3] a dead letter tells its caller; restarts of the callee are invisible until then', async () => {
    const node = await world.node('a', [caller, target])
    const refused = await world.refusal(ask(node).fails('crash'))
    expect(refused.code).toBe('DEAD_LETTERED')
    expect(oracle.count('crash x')).toBe(3)
    const letters = await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })
    expect(letters.map((letter) => letter.process).sort()).toEqual(['caller/c', 'target/t'])
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[M7] a call to oneself, or to a caller up the chain, fails at once', async () => {
    const node = await world.node('a', [left])
    const refused = await world.refusal(node.ref(left, 'x').round(['y', 'x']))
    expect(refused.message).toContain('CALL_CYCLE')
  })

  test('[M7] the deadline of a call survives a crash of the caller; the late answer is consumed', async () => {
    const a = await world.node('a', [caller, target])
    await a.call(a.send(ask(a).impatient()))
    await world.advance(400)
    a.kill()
    const b = await world.node('b', [caller, target])
    await world.until(async () => ((await b.stored('caller/c')) as { got: unknown[] }).got.length === 2)
    expect(await b.stored('caller/c')).toEqual({ got: ['CALL_TIMEOUT', true] })
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(2_000)
    await world.advance(8_000)
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[M2] the answer to a call whose turn went on without it is consumed', async () => {
    const node = await world.node('a', [caller, target])
    await node.call(ask(node).race())
    await world.advance(3_000)
    expect(await node.stored('caller/c')).toEqual({ got: ['quick'] })
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[M2] an answer that waits for a turn which is buried is consumed with it', async () => {
    const node = await world.node('a', [caller, target])
    expect((await world.refusal(ask(node).hopeless())).code).toBe('DEAD_LETTERED')
    await world.until(async () => JSON.stringify(await node.stored('target/t')) === '{"seen":["slow"]}')
    await world.advance(3_000)
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[M2] an answer that came while its caller was down and done is consumed at the next activation', async () => {
    const a = await world.node('a', [caller, target])
    await a.call(ask(a).race())
    a.kill()
    const b = await world.node('b', [target])
    await world.until(async () => JSON.stringify(await b.stored('target/t')) === '{"seen":["slow"]}')
    await b.stop()
    await world.node('c', [caller, target])
    await world.until(() => world.db?.mailbox.size === 0)
  })

  test('[M6] a full mailbox is refused at the verb, for sends and calls; the turn goes on', async () => {
    const node = await world.node('a', [caller, target])
    const hold = node.ref(target, 't').slow(2_000).run()
    await world.advance(10)
    for (let i = 0; i < 5; i++)
      node
        .ref(target, 't')
        .take(`q${i}`)
        .run()
        .catch(() => {})
    await world.advance(10)
    const outside = await world.refusal(node.ref(target, 't').take('one too many'))
    expect(outside.code).toBe('MAILBOX_FULL')
    expect((await world.refusal(node.send(node.ref(target, 't').take('x')))).code).toBe('MAILBOX_FULL')
    const refused = await world.refusal(ask(node).flood())
    expect(refused.message).toContain('MAILBOX_FULL')
    await world.run(hold)
    expect(oracle.count('one too many') + oracle.count('f0') + oracle.count('call')).toBe(0)
  })

  const full = async (node: TestNode, ms: number): Promise<void> => {
    const t = node.ref(target, 't')
    for (const call of [t.slow(ms), ...[0, 1, 2, 3, 4].map((i) => t.take(`q${i}`))]) {
      call.run().catch(() => {})
      await world.advance(10)
    }
  }

  test.each(['send', 'call'] as const)(
    '[M6] a %s refused for a full mailbox is refused again on replay',
    async (how) => {
      const a = await world.node('a', [caller, target])
      await full(a, 60_000)
      await a.call(a.send(ask(a).coping(how)))
      await world.until(() => oracle.count('hang') === 1)
      a.kill()
      const b = await world.node('b', [caller, target])
      await world.until(() => oracle.count('late') === 1, 'the end of the replayed turn')
      expect(await b.stored('caller/c')).toEqual({ got: ['MAILBOX_FULL'] })
      expect([oracle.count('coped'), oracle.count('after')]).toEqual([0, 1])
      expect(b.seen('process:diverge')).toEqual([])
    },
  )

  test.each(['send', 'call'] as const)('[M6] a %s that had room is not refused on replay', async (how) => {
    const a = await world.node('a', [caller, target])
    await a.call(a.send(ask(a).coping(how)))
    await world.until(() => oracle.count('hang') === 1)
    await full(a, 90)
    await world.run(a.control.kill('caller/c', { actor: 'ana' }))
    await world.until(() => oracle.count('late') === 1, 'the end of the replayed turn')
    expect(await a.stored('caller/c')).toEqual({ got: ['room'] })
    expect([oracle.count('coped'), oracle.count('after')]).toEqual([1, 1])
  })

  test('[M6] a refusal with which an attempt crashed is judged anew', async () => {
    const node = await world.node('a', [caller, target])
    await full(node, 160)
    await node.call(ask(node).stubborn())
    await world.until(() => oracle.count('at last') === 1)
    expect(node.seen('failure').length).toBeGreaterThan(0)
  })

  test('[J2] a call that is neither awaited nor sent fails the turn', async () => {
    const node = await world.node('a', [caller, target])
    expect((await world.refusal(ask(node).unused())).message).toContain('CALL_NOT_USED')
  })

  type Rounds = typeof target & { on: { round(ctx: never, path: string[]): Promise<string> } }
  const left = agent('left', {
    state: () => ({ got: '' }),
    on: {
      async go(ctx, other: string): Promise<string> {
        await ctx.step('meet', () => bothStarted(ctx.key))
        try {
          await ctx.ref(left as never as typeof target, other).take('x')
          ctx.state.got = 'answered'
        } catch (error) {
          ctx.state.got = (error as { code: string }).code
        }
        return ctx.state.got
      },
      /** Waits for a call that has begun, gives it up, and is busy for a while. */
      async tired(ctx, [first, ...rest]: string[]): Promise<string> {
        const call = ctx.ref(left as never as Rounds, String(first)).round(rest)
        const code = await ctx.call(call, { timeoutMs: 100 }).catch((error: { code: string }) => error.code)
        await ctx.step('meet', () => bothStarted(ctx.key))
        await ctx.step('rest', () => new Promise<void>((resolve) => void world.clock.after(4_000, () => resolve())))
        return code
      },
      take: (_ctx, _name: string): string => 'ok',
      async round(ctx, path: string[]): Promise<string> {
        const [next, ...rest] = path
        if (next === undefined) return 'end'
        return ctx.ref(left as never as Rounds, next).round(rest)
      },
    },
  })
  let meeting = gate()
  beforeEach(() => {
    meeting = gate()
  })
  const bothStarted = (key: string): Promise<void> => {
    if (oracle.hit('meet') === 2 || key === 'alone') meeting.open()
    return meeting.promise
  }

  test('[M7] the youngest call of a cycle of waiting calls fails with DEADLOCK, the others go on', async () => {
    const node = await world.node('a', [left])
    const one = node.ref(left, 'one').go('two').run()
    await world.advance(3)
    const two = node.ref(left, 'two').go('one').run()
    const outcomes = await world.run(Promise.all([one, two]))
    expect(outcomes.toSorted()).toEqual(['DEADLOCK', 'answered'])
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(4_900)
    expect(node.faults.counts.get('waitEdges')).toBeUndefined()
    await world.until(() => world.db?.mailbox.size === 0)
  })

  test('[M7] the same over nodes: one victim, the youngest call, failed by the node of its caller', async () => {
    const [a, b] = [await world.node('a', [left]), await world.node('b', [left])]
    const one = a.ref(left, 'one').go('two').run()
    await world.advance(20)
    const two = b.ref(left, 'two').go('one').run()
    expect((await world.run(Promise.all([one, two]))).toSorted()).toEqual(['DEADLOCK', 'answered'])
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(10_000)
    expect([a, b].map(({ core }) => core.layer.deadlocks.broken).toSorted()).toEqual([0, 1])
    await world.until(() => world.db?.mailbox.size === 0)
  })

  test('[M7] a caller of another node that does not wait any more is no part of a cycle', async () => {
    const [a, b] = [await world.node('a', [left]), await world.node('b', [left])]
    const three = b.ref(left, 'three').go('one').run()
    await world.advance(20)
    // one -> two is given up, but two is at it: it waits for three, and three for one.
    const one = a.ref(left, 'one').tired(['two', 'three']).run()
    expect(await world.run(Promise.all([one, three]))).toEqual(['CALL_TIMEOUT', 'answered'])
    await world.until(() => world.db?.mailbox.size === 0)
  })
})

describe('started operations', () => {
  test('[M4] the same key starts once; other arguments are refused; any node may wait for the result', async () => {
    const a = await world.node('a', [target])
    const b = await world.node('b', [target])
    const first = await a.start(a.ref(target, 't').take('x'), { idempotencyKey: 'key' })
    const again = await b.start(b.ref(target, 't').take('x'), { idempotencyKey: 'key' })
    expect([first.created, again.created]).toEqual([true, false])
    const other = await world.refusal(b.start(b.ref(target, 't').take('y'), { idempotencyKey: 'key' }))
    expect(other.code).toBe('KEY_CONFLICT')
    expect(await world.run(again.result())).toBe('took x')
    expect(await world.run(first.result())).toBe('took x')
    oracle.expectStep('x').once()
  })

  test('[M4] an operation survives its node and whoever started it; failures are results too', async () => {
    const a = await world.node('a', [target])
    await a.start(a.ref(target, 't').slow(2_000), { idempotencyKey: 'slow' })
    await a.start(a.ref(target, 't').crash('x'), { idempotencyKey: 'bad' })
    await world.advance(100)
    a.kill()
    const b = await world.node('b', [target])
    const slow = await b.start(b.ref(target, 't').slow(2_000), { idempotencyKey: 'slow' })
    expect(slow.created).toBe(false)
    expect(await world.run(slow.result())).toBe('late')
    const bad = await b.start(b.ref(target, 't').crash('x'), { idempotencyKey: 'bad' })
    expect((await world.refusal(bad.result())).code).toBe('DEAD_LETTERED')
  })
})

describe('timers', () => {
  const clock = agent('clock', {
    state: () => ({ fired: [] as string[] }),
    on: {
      arm: (ctx, { ms, name }: { ms: number; name: string }) => ctx.after(ms, 'fire', name, { name }),
      rearm(ctx, { ms, text }: { ms: number; text: string }) {
        ctx.after(ms, 'fire', text, { name: 't' })
      },
      cancel: (ctx, name: string) => ctx.cancel(name),
      async busy(ctx, ms: number) {
        await ctx.step('wait', () => new Promise<void>((resolve) => void world.clock.after(ms, () => resolve())))
        ctx.cancel('t')
      },
      async part(ctx, ms: number) {
        await ctx.step('wait', () => new Promise<void>((resolve) => void world.clock.after(ms, () => resolve())))
        ctx.cancel('t')
        await ctx.checkpoint()
      },
      fire(ctx, name: string) {
        if (oracle.hit(`fire ${name}`) === 1 && name === 'flaky') throw new Error('first attempt')
        ctx.state.fired.push(name)
      },
    },
  })

  test('[V5] a timer fires once, also after a crash of its first attempt', async () => {
    const node = await world.node('a', [clock])
    await node.call(node.ref(clock, 'k').arm({ ms: 50, name: 'flaky' }))
    await world.advance(5_000)
    expect(await node.stored('clock/k')).toEqual({ fired: ['flaky'] })
    expect(oracle.count('fire flaky')).toBe(2)
  })

  test('[V5] arming again replaces; cancelling before the time stops it', async () => {
    const node = await world.node('a', [clock])
    await node.call(node.ref(clock, 'k').rearm({ ms: 50, text: 'one' }))
    await node.call(node.ref(clock, 'k').rearm({ ms: 100, text: 'two' }))
    await node.call(node.ref(clock, 'k').arm({ ms: 60, name: 'gone' }))
    expect(await node.call(node.ref(clock, 'k').cancel('gone'))).toBe(true)
    expect(await node.call(node.ref(clock, 'k').cancel('gone'))).toBe(false)
    await world.advance(5_000)
    expect(await node.stored('clock/k')).toEqual({ fired: ['two'] })
  })

  test('[V5] one that fired and was cancelled before it was handled is dropped', async () => {
    const node = await world.node('a', [clock])
    await node.call(node.ref(clock, 'k').rearm({ ms: 50, text: 'late' }))
    await node.call(node.ref(clock, 'k').busy(500))
    await world.advance(5_000)
    expect(await node.stored('clock/k')).toEqual({ fired: [] })
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[V5] the same, when the node dies between the cancelling and the dropping', async () => {
    const a = await world.node('a', [clock])
    await a.call(a.ref(clock, 'k').rearm({ ms: 50, text: 'late' }))
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"k":"end"') && row.cancelTimers !== undefined)
        ? { kind: 'die', when: 'after' }
        : undefined,
    )
    a.ref(clock, 'k')
      .busy(500)
      .run()
      .catch(() => {})
    await world.until(() => a.dead)
    const b = await world.node('b', [clock])
    await world.advance(5_000)
    expect(await b.stored('clock/k')).toEqual({ fired: [] })
    expect(world.db?.mailbox.size).toBe(0)
  })

  test.each([
    ['cancelled', (node: TestNode) => node.ref(clock, 'k').cancel('t'), []],
    ['armed again', (node: TestNode) => node.ref(clock, 'k').rearm({ ms: 20_000, text: 'new' }), ['new']],
  ] as const)('[V5] one that fired unheard and was then %s never counts, on no node', async (_how, act, fired) => {
    const a = await world.node('a', [clock])
    await a.call(a.ref(clock, 'k').rearm({ ms: 50, text: 'old' }))
    const due = world.clock.now() + 40
    a.faults.plan(({ method }) => (method === 'fireTimers' && world.clock.now() >= due ? { kind: 'lost' } : undefined))
    await world.until(() => world.db?.mailbox.size === 1)
    await a.call<unknown>(act(a))
    a.kill()
    const b = await world.node('b', [clock])
    await world.advance(30_000)
    expect(await b.stored('clock/k')).toEqual({ fired })
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[V5] a cancel that a checkpoint stored holds at once', async () => {
    const node = await world.node('a', [clock])
    await node.call(node.ref(clock, 'k').rearm({ ms: 50, text: 'late' }))
    await node.call(node.ref(clock, 'k').part(500))
    await world.advance(5_000)
    expect(await node.stored('clock/k')).toEqual({ fired: [] })
    expect(world.db?.mailbox.size).toBe(0)
  })

  test('[V5] one that was due while no node ran fires once when the next is up', async () => {
    const a = await world.node('a', [clock])
    await a.call(a.ref(clock, 'k').arm({ ms: 1_000, name: 'overdue' }))
    a.kill()
    await world.advance(60_000)
    const b = await world.node('b', [clock])
    await world.until(async () => ((await b.stored('clock/k')) as { fired: string[] }).fired.length > 0)
    await world.advance(5_000)
    expect(await b.stored('clock/k')).toEqual({ fired: ['overdue'] })
  })

  test('[V5] two nodes fire each timer once', async () => {
    const a = await world.node('a', [clock])
    await world.node('b', [clock])
    for (let i = 0; i < 10; i++) await a.call(a.ref(clock, `k${i}`).arm({ ms: 100, name: `n${i}` }))
    await world.advance(10_000)
    for (let i = 0; i < 10; i++) oracle.expectStep(`fire n${i}`).once()
  })
})
