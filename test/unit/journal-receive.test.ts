/** Selective receive: what is taken, what stays, what goes back, and who is answered. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const flow = agent('flow', {
  state: () => ({ log: [] as string[] }),
  on: {
    async wait(ctx, ops: string[]) {
      oracle.hit('begun')
      const got = await ctx.receive<string>(ops)
      oracle.hit(`got ${got.message}`)
      ctx.state.log.push(`${got.op} ${got.message}`)
      await ctx.step('after', () => (oracle.hit('after') === 1 && oracle.count('hang') > 0 ? new Promise(() => {}) : 0))
      return got.message
    },
    async order(ctx) {
      for (const op of ['b', 'a', 'b']) ctx.state.log.push(`got ${(await ctx.receive<string>(op)).message}`)
    },
    async big(ctx) {
      const got = await ctx.receive<string>((op, text) => op === 'a' && String(text).length > 2)
      ctx.state.log.push(`long ${got.message}`)
    },
    async timed(ctx, ms: number) {
      oracle.hit('timed')
      const got = await ctx.receive<string>('a', { timeoutMs: ms })
      ctx.state.log.push(got === null ? 'nothing' : got.message)
      await ctx.step('after', () => oracle.hit('after'))
    },
    async answer(ctx, how: 'reply' | 'silent' | 'checkpoint' | 'reject' | 'crash') {
      const got = await ctx.receive<string>('a')
      if (how !== 'silent') got.reply(`re ${got.message}`)
      ctx.state.log.push(`received ${got.message}`)
      if (how === 'checkpoint') {
        await ctx.checkpoint()
        await ctx.sleep(HOUR)
      }
      if (how === 'reject') throw new Reject('no')
      if (how === 'crash') throw new Error('broken')
    },
    async throwing(ctx) {
      await ctx.receive(() => {
        throw new Error('impure')
      })
    },
    async unknownOp(ctx) {
      await ctx.receive('nothing')
    },
    async timer(ctx) {
      ctx.after(50, 'a', 'tick', { name: 't' })
      await ctx.checkpoint()
      const got = await ctx.receive<string>('a')
      ctx.state.log.push(`${got.kind} ${got.message}`)
    },
    a(ctx, text: string) {
      oracle.hit(`a ${text}`)
      ctx.state.log.push(`a ${text}`)
      return `handled ${text}`
    },
    b(ctx, text: string) {
      ctx.state.log.push(`b ${text}`)
    },
  },
  passivateAfterMs: 5_000,
})

const logOf = async (node: TestNode, key = 'k'): Promise<string[]> =>
  ((await node.stored(`flow/${key}`)) as { log: string[] } | undefined)?.log ?? []
const rows = (key = 'k'): number => world.db?.mailbox.get(`default\u0000flow/${key}`)?.size ?? 0
const has = (node: TestNode, length: number, key = 'k') =>
  world.until(async () => (await logOf(node, key)).length >= length, `${length} lines`)

describe('receive', () => {
  test('[W4] it takes the first that fits, wherever it is, and leaves the others in their order', async () => {
    const node = await world.node('a', [flow])
    const f = node.ref(flow, 'k')
    for (const call of [f.order(), f.a('1'), f.a('2'), f.b('3'), f.a('4'), f.b('5')]) await node.call(node.send(call))
    await has(node, 5)
    expect(await logOf(node)).toEqual(['got 3', 'got 1', 'got 5', 'a 2', 'a 4'])
    expect(rows()).toBe(0)
  })

  test('[W4] it waits for what comes later, called or sent, and a predicate is asked about each', async () => {
    const node = await world.node('a', [flow])
    const f = node.ref(flow, 'k')
    await node.call(node.send(f.big()))
    await world.advance(100)
    await node.call(node.send(f.a('x')))
    const call = f.a('long').run({ timeoutMs: 60_000 })
    call.catch(() => {})
    await has(node, 2)
    expect(await logOf(node)).toEqual(['long long', 'a x'])
    expect((await world.refusal(call)).code).toBe('CALL_UNANSWERED')
  })

  test('[W4] crash and move: the replay is given the same message, once; it is consumed with the end', async () => {
    oracle.hit('hang')
    const a = await world.node('a', [flow])
    await a.call(a.send(a.ref(flow, 'k').wait(['a'])))
    await a.call(a.send(a.ref(flow, 'k').b('behind')))
    await a.call(a.send(a.ref(flow, 'k').a('one')))
    await a.call(a.send(a.ref(flow, 'k').a('two')))
    await world.until(() => oracle.count('after') === 1)
    await world.advance(50)
    expect(rows()).toBe(4)
    a.kill()
    const b = await world.node('b', [flow])
    await has(b, 3)
    expect(await logOf(b)).toEqual(['a one', 'b behind', 'a two'])
    expect([oracle.count('got one'), oracle.count('a one')]).toEqual([2, 0])
    await world.advance(1_000)
    expect(rows()).toBe(0)
  })

  test('[W4] killed in each of its commits, a message is received once and by one', async () => {
    for (let nth = 1; nth <= 4; nth++) {
      const key = `n${nth}`
      const a = await world.node(`a${nth}`, [flow])
      let seen = 0
      a.faults.plan(({ method, batch }) => {
        if (method !== 'commit' || !batch.some((row) => row.id === `flow/${key}`)) return undefined
        seen += 1
        return seen === nth ? { kind: 'die', when: nth % 2 === 0 ? 'before' : 'after' } : undefined
      })
      a.send(a.ref(flow, key).wait(['a'])).catch(() => {})
      a.send(a.ref(flow, key).a('one')).catch(() => {})
      a.send(a.ref(flow, key).a('two')).catch(() => {})
      await world.until(async () => a.dead || (await logOf(a, key)).length === 2)
      a.kill()
      const b = await world.node(`b${nth}`, [flow])
      await has(b, 2, key)
      await world.advance(2_000)
      expect(await logOf(b, key)).toEqual(['a one', 'a two'])
      expect(oracle.count('a one')).toBe(0)
      expect(rows(key)).toBe(0)
      await b.stop()
    }
  })

  test('[W4] in time it is null; the deadline survives crashes and the wait leaves memory', async () => {
    const a = await world.node('a', [flow])
    await a.call(a.send(a.ref(flow, 'k').timed(HOUR)))
    await world.until(() => a.core.kernel.find('flow/k') === undefined)
    world.jump(HOUR / 2)
    await world.advance(1_000)
    a.kill()
    const b = await world.node('b', [flow])
    await world.advance(2_000)
    expect(oracle.count('timed')).toBe(1)
    world.jump(HOUR / 2)
    await has(b, 1)
    expect(await logOf(b)).toEqual(['nothing'])
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(HOUR + 30_000)
  })

  test('[W2] a parked receive is woken by what it can take and by nothing else', async () => {
    const node = await world.node('a', [flow])
    await node.call(node.send(node.ref(flow, 'k').wait(['a'])))
    await world.until(() => node.core.kernel.find('flow/k') === undefined)
    await node.call(node.send(node.ref(flow, 'k').b('no')))
    await world.advance(5_000)
    expect(oracle.count('begun')).toBe(1)
    await node.call(node.send(node.ref(flow, 'k').a('yes')))
    await has(node, 2)
    expect(await logOf(node)).toEqual(['a yes', 'b no'])
    expect(oracle.count('begun')).toBe(2)
  })

  test('[W2] what was offered and not taken wakes nobody for long', async () => {
    const node = await world.node('a', [flow])
    await node.call(node.send(node.ref(flow, 'k').big()))
    await node.call(node.send(node.ref(flow, 'k').a('x')))
    const away = () => world.until(() => node.core.kernel.find('flow/k') === undefined)
    await away()
    await world.advance(20_000)
    await away()
    const activations = node.seen('process:activate').length
    await world.advance(60_000)
    expect(node.seen('process:activate')).toHaveLength(activations)
    await node.call(node.send(node.ref(flow, 'k').a('long')))
    await has(node, 2)
    expect(await logOf(node)).toEqual(['long long', 'a x'])
  })

  test('[W2] a call to a parked receive wakes it and is answered when the turn says so', async () => {
    const node = await world.node('a', [flow])
    await node.call(node.send(node.ref(flow, 'k').answer('reply')))
    await world.until(() => node.core.kernel.find('flow/k') === undefined)
    expect(await node.call(node.ref(flow, 'k').a('x'))).toBe('re x')
  })

  test.each(['ended', 'was stopped'] as const)('[W4] nothing listens for a turn that %s', async (how) => {
    const node = await world.node('a', [flow])
    await node.call(node.send(node.ref(flow, 'k').wait(['a'])))
    await world.until(() => node.core.kernel.find('flow/k')?.wait?.kind === 'receive')
    const ties = node.core.kernel.find('flow/k')?.ties ?? expect.fail()
    expect(ties.arrived).not.toBeNull()
    if (how === 'ended') await node.call(node.send(node.ref(flow, 'k').a('x')))
    else await world.run(node.control.stop('flow/k', { actor: 'ana' }))
    await world.advance(100)
    expect(ties.arrived).toBeNull()
  })

  test('[W4] a timer of its own can be received', async () => {
    const node = await world.node('a', [flow])
    await node.call(node.send(node.ref(flow, 'k').timer()))
    await has(node, 1)
    expect(await logOf(node)).toEqual(['timer tick'])
  })

  test('[W4] a predicate that throws and an operation nobody defined fail the turn', async () => {
    const node = await world.node('a', [flow])
    const call = node.ref(flow, 'p').throwing().run({ timeoutMs: 60_000 })
    call.catch(() => {})
    await world.advance(10)
    await node.call(node.send(node.ref(flow, 'p').a('kept')))
    expect((await world.refusal(call)).message).toContain('impure')
    await has(node, 1, 'p')
    expect(await logOf(node, 'p')).toEqual(['a kept'])
    expect((await world.refusal(node.ref(flow, 'u').unknownOp())).message).toContain('OPERATION_UNKNOWN')
  })
})

describe('what becomes of received messages', () => {
  test('[M8] a turn that is buried puts them back in their place; their own handlers get them', async () => {
    const node = await world.node('a', [flow])
    const f = node.ref(flow, 'k')
    for (const call of [f.answer('crash'), f.b('1'), f.a('2'), f.b('3')]) await node.call(node.send(call))
    await has(node, 3)
    expect(await logOf(node)).toEqual(['b 1', 'a 2', 'b 3'])
    await world.advance(1_000)
    expect(rows()).toBe(0)
  })

  test('[M8] so does one that rejects, also when it received calls from memory', async () => {
    const node = await world.node('a', [flow])
    const f = node.ref(flow, 'k')
    const turn = f.answer('reject').run({ timeoutMs: 60_000 })
    turn.catch(() => {})
    const first = f.b('1').run()
    const call = f.a('2').run()
    const last = f.b('3').run()
    expect((await world.refusal(turn)).code).toBe('CALL_REJECTED')
    expect(await world.run(call)).toBe('handled 2')
    await world.run(Promise.all([first, last]))
    expect(await logOf(node)).toEqual(['b 1', 'a 2', 'b 3'])
  })

  test('[M8] a row that is refused takes the receipt back with it', async () => {
    const node = await world.node('a', [flow])
    const f = node.ref(flow, 'k')
    let refused = 0
    node.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"k":"received"')) && refused++ < 1
        ? { kind: 'fail', failure: 'rejected' }
        : undefined,
    )
    for (const call of [f.b('0'), f.wait(['a']), f.b('1'), f.a('2'), f.a('3')]) await node.call(node.send(call))
    await has(node, 4)
    expect(await logOf(node)).toEqual(['b 0', 'a 2', 'b 1', 'a 3'])
    expect(refused).toBeGreaterThan(0)
    await world.advance(1_000)
    expect(rows()).toBe(0)
  })

  test('[W5] a call is answered with the end of the turn, by reply or typed', async () => {
    const node = await world.node('a', [flow])
    for (const how of ['reply', 'silent'] as const) {
      const f = node.ref(flow, how)
      await node.call(node.send(f.answer(how)))
      await world.advance(10)
      if (how === 'reply') expect(await node.call(f.a('x'))).toBe('re x')
      else expect((await world.refusal(f.a('x'))).code).toBe('CALL_UNANSWERED')
      expect(await logOf(node, how)).toEqual(['received x'])
    }
  })

  test('[W5] a checkpoint makes it count: the caller hears, the row goes, a crash later changes nothing', async () => {
    const a = await world.node('a', [flow])
    await a.call(a.send(a.ref(flow, 'k').answer('checkpoint')))
    const handle = await a.start(a.ref(flow, 'k').a('x'), { idempotencyKey: 'one' })
    expect(await world.run(handle.result())).toBe('re x')
    expect([await logOf(a), rows()]).toEqual([['received x'], 1])
    a.kill()
    const b = await world.node('b', [flow])
    await world.advance(1_000)
    world.jump(HOUR)
    await world.until(() => rows() === 0)
    expect(await logOf(b)).toEqual(['received x'])
    const again = await b.start(b.ref(flow, 'k').a('x'), { idempotencyKey: 'one' })
    expect(await world.run(again.result())).toBe('re x')
  })

  test('[W5] the answer of a stored call survives the node that received it', async () => {
    const a = await world.node('a', [flow])
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some((row) => row.payload.includes('"k":"end"'))
        ? { kind: 'die', when: 'before' }
        : undefined,
    )
    await a.call(a.send(a.ref(flow, 'k').answer('reply')))
    await a.start(a.ref(flow, 'k').a('x'), { idempotencyKey: 'one' })
    await world.until(() => a.dead)
    const b = await world.node('b', [flow])
    const handle = await b.start(b.ref(flow, 'k').a('x'), { idempotencyKey: 'one' })
    expect(handle.created).toBe(false)
    expect(await world.run(handle.result())).toBe('re x')
    expect(oracle.count('a x')).toBe(0)
  })
})
