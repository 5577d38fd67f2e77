/** Turns that only wait leave memory: what brings them back, what does not, and what rows say meanwhile. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
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

const inMemory = (node: TestNode, id: string): boolean => node.core.kernel.find(id) !== undefined
const parked = (node: TestNode, id: string): Promise<void> => world.until(() => !inMemory(node, id), `parking of ${id}`)
const logOf = async (node: TestNode, id: string): Promise<string[]> =>
  ((await node.stored(id)) as { log: string[] } | undefined)?.log ?? []

const helper = agent('helper', {
  state: () => ({ n: 0 }),
  on: {
    async slow(ctx, ms: number) {
      await ctx.sleep(ms)
      return `after ${ms}`
    },
  },
  passivateAfterMs: 2_000,
})

const sleeper = agent('sleeper', {
  state: () => ({ log: [] as string[] }),
  on: {
    async nap(ctx, ms: number) {
      oracle.hit('nap')
      const a = await ctx.step('before', () => oracle.hit('before'))
      await ctx.sleep(ms)
      oracle.hit('woke')
      ctx.state.log.push(`slept ${a}`)
      return 'rested'
    },
    note(ctx, text: string) {
      oracle.hit(`note ${text}`)
      ctx.state.log.push(text)
      return text
    },
    async ask(ctx, ms: number) {
      oracle.hit('ask')
      ctx.state.log.push(await ctx.call(ctx.ref(helper, ctx.key).slow(ms), { timeoutMs: DAY }))
    },
    async doomed(ctx, ms: number) {
      await ctx.call(ctx.ref(helper, ctx.key).slow(ms), { timeoutMs: DAY })
      throw new Error('on purpose')
    },
    async tied(ctx) {
      ctx.monitor(`helper/${ctx.key}`)
      await ctx.checkpoint()
      await ctx.sleep(HOUR)
    },
    async mixed(ctx) {
      await Promise.race([ctx.sleep(DAY), ctx.step('work', () => new Promise(() => {}))])
    },
  },
  passivateAfterMs: 2_000,
})

describe('parking', () => {
  test('[W2] a turn that only sleeps leaves memory, comes back by its timer and replays to where it was', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').nap(HOUR)))
    await parked(node, 'sleeper/k')
    expect(world.clock.now() - 1_700_000_000_000).toBeLessThan(6_000)
    world.jump(HOUR - 20_000)
    await world.advance(5_000)
    expect([oracle.count('nap'), oracle.count('woke')]).toEqual([1, 0])
    await world.advance(20_000)
    expect([oracle.count('nap'), oracle.count('before'), oracle.count('woke')]).toEqual([2, 1, 1])
    expect(await logOf(node, 'sleeper/k')).toEqual(['slept 1'])
    await world.advance(10_000)
    expect([world.db?.mailbox.size, [...(world.db?.timers.values() ?? [])].flatMap((t) => [...t.keys()])]).toEqual([
      0,
      [],
    ])
  })

  test('[W2] one that is buried after it came back leaves no timer behind', async () => {
    const node = await world.node('a', [sleeper, helper])
    const answered = node.ref(sleeper, 'k').doomed(10_000).run({ timeoutMs: HOUR })
    await parked(node, 'sleeper/k')
    const timers = (): string[] => [...(world.db?.timers.values() ?? [])].flatMap((t) => [...t.keys()])
    expect(timers()).toContain('$wake')
    expect((await world.refusal(answered)).code).toBe('DEAD_LETTERED')
    expect([world.db?.mailbox.size, timers()]).toEqual([0, []])
  })

  test('[W2] nothing wakes it before: no recovery, no message behind it, stored or called', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').nap(HOUR)))
    await node.call(node.send(node.ref(sleeper, 'k').note('one')))
    await parked(node, 'sleeper/k')
    await node.call(node.send(node.ref(sleeper, 'k').note('two')))
    const late = node.ref(sleeper, 'k').note('three').run()
    late.catch(() => {})
    await world.advance(20_000)
    expect([oracle.count('nap'), inMemory(node, 'sleeper/k')]).toEqual([1, false])
    expect((await world.refusal(late)).code).toBe('CALL_TIMEOUT')
    world.jump(HOUR)
    await world.until(async () => (await logOf(node, 'sleeper/k')).length === 3)
    await world.until(() => world.db?.mailbox.size === 0)
    // The third call was given up long before it could begin.
    expect(await logOf(node, 'sleeper/k')).toEqual(['slept 1', 'one', 'two'])
    expect(oracle.count('nap')).toBe(2)
  })

  test('[W2] messages in memory behind the turn get rows when it leaves, and their callers hear', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').nap(10_000)))
    const behind = node.ref(sleeper, 'k').note('behind').run({ timeoutMs: 30_000 })
    await parked(node, 'sleeper/k')
    expect(world.db?.mailbox.get('default\u0000sleeper/k')?.size).toBe(2)
    expect(await world.run(behind)).toBe('behind')
    expect(await logOf(node, 'sleeper/k')).toEqual(['slept 1', 'behind'])
  })

  test('[W2] who called a turn that was parked hears its answer', async () => {
    const node = await world.node('a', [sleeper])
    const call = node.ref(sleeper, 'k').nap(20_000).run({ timeoutMs: 60_000 })
    await parked(node, 'sleeper/k')
    expect(await world.run(call)).toBe('rested')
  })

  test('[W2] the hook of its life stays in memory when it leaves again, and runs behind the turn', async () => {
    const guest = agent('guest', {
      state: () => ({}),
      activated: () => void oracle.hit('activated'),
      passivateAfterMs: 2_000,
      on: {
        async stay(ctx) {
          await ctx.sleep(HOUR)
          await ctx.sleep(HOUR)
          oracle.hit('leaves')
        },
      },
    })
    const a = await world.node('a', [guest])
    await world.run(a.send(a.ref(guest, 'k').stay()))
    await parked(a, 'guest/k')
    await world.advance(HOUR)
    await parked(a, 'guest/k')
    // The message of the turn, and nothing of this node's own.
    expect(world.db?.mailbox.get('default\u0000guest/k')?.size).toBe(1)
    await world.advance(HOUR + 10_000)
    expect([oracle.count('leaves'), oracle.count('activated')]).toEqual([1, 2])
    expect(a.seen('dead-letter')).toEqual([])
  })

  test('[W2] a turn that waits for a durable call is parked and woken by the answer', async () => {
    const node = await world.node('a', [sleeper, helper])
    await node.call(node.send(node.ref(sleeper, 'k').ask(HOUR)))
    await parked(node, 'sleeper/k')
    await parked(node, 'helper/k')
    world.jump(HOUR)
    await world.until(async () => (await logOf(node, 'sleeper/k')).length === 1)
    expect(await logOf(node, 'sleeper/k')).toEqual([`after ${HOUR}`])
    expect(oracle.count('ask')).toBe(2)
    await world.advance(2 * 60_000)
    expect([...(world.db?.timers.values() ?? [])].flatMap((t) => [...t.keys()])).toEqual([])
  })

  test('[P5] a claim is given up only when ties whose end was missed have been looked for', async () => {
    const node = await world.node('a', [sleeper, helper])
    const looked = gate()
    node.faults.next('sweepTies', { kind: 'hold', until: looked.promise })
    await node.call(node.send(node.ref(sleeper, 'k').tied()))
    await parked(node, 'sleeper/k')
    await world.advance(5_000)
    expect(node.faults.counts.get('release')).toBeUndefined()
    looked.open()
    await world.until(() => node.faults.counts.get('release') === 1)
  })

  test('[W2] a turn with anything in memory stays', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').mixed()))
    await world.advance(30_000)
    expect(inMemory(node, 'sleeper/k')).toBe(true)
  })

  test('[W2] killed before, while and after it is given up: it wakes once, on time', async () => {
    for (const when of ['before', 'after'] as const) {
      const key = `k-${when}`
      const a = await world.node(`a-${when}`, [sleeper])
      a.faults.next('release', { kind: 'die', when })
      await a.call(a.send(a.ref(sleeper, key).nap(HOUR)))
      await world.until(() => a.dead)
      const b = await world.node(`b-${when}`, [sleeper])
      await world.advance(5_000)
      world.jump(HOUR)
      await world.until(async () => (await logOf(b, `sleeper/${key}`)).length === 1)
      await world.advance(5_000)
      expect(await logOf(b, `sleeper/${key}`)).toHaveLength(1)
      await b.stop()
    }
  })

  test('[W2] a store that is away while it leaves, or loses the answer, delays and forgets nothing', async () => {
    const node = await world.node('a', [sleeper])
    node.faults.next('release', { kind: 'fail', failure: 'unavailable' }, 2)
    await node.call(node.send(node.ref(sleeper, 'x').nap(HOUR)))
    await parked(node, 'sleeper/x')
    await world.advance(2_000)
    expect([oracle.count('nap'), node.faults.counts.get('release')]).toEqual([1, 3])
    node.faults.next('release', { kind: 'lost' })
    await node.call(node.send(node.ref(sleeper, 'y').nap(HOUR)))
    await parked(node, 'sleeper/y')
    await world.advance(2_000)
    world.jump(HOUR)
    await world.until(
      async () => (await logOf(node, 'sleeper/x')).length + (await logOf(node, 'sleeper/y')).length === 2,
    )
  })

  test('[W2] a drain parks what only waits at once; the next node is woken by the timer alone', async () => {
    const a = await world.node('a', [sleeper])
    for (let i = 0; i < 5; i++) await a.call(a.send(a.ref(sleeper, `k${i}`).nap(HOUR)))
    await world.advance(100)
    const began = world.clock.now()
    await a.stop()
    expect(world.clock.now() - began).toBeLessThan(500)
    const b = await world.node('b', [sleeper])
    await world.advance(5_000)
    expect(oracle.count('nap')).toBe(5)
    world.jump(HOUR)
    await world.until(async () => (await logOf(b, 'sleeper/k4')).length === 1)
    await world.advance(1_000)
    expect([oracle.count('nap'), oracle.count('before'), oracle.count('woke')]).toEqual([10, 5, 5])
  })

  test('[W2] other code replays it: the turn goes on on the upgraded state', async () => {
    const a = await world.node('a', [sleeper])
    await a.call(a.send(a.ref(sleeper, 'k').nap(HOUR)))
    await parked(a, 'sleeper/k')
    await a.stop()
    const newer = agent('sleeper', {
      version: 2,
      state: () => ({ log: [] as string[], more: 0 }),
      upgrade: { 1: (old: { log: string[] }) => ({ ...old, more: 7 }) },
      on: {
        async nap(ctx, ms: number) {
          const a = await ctx.step('before', () => oracle.hit('before'))
          await ctx.sleep(ms)
          ctx.state.log.push(`new ${a} ${ctx.state.more}`)
        },
      },
    })
    const b = await world.node('b', [newer])
    world.jump(HOUR)
    await world.until(async () => (await logOf(b, 'sleeper/k')).length === 1)
    expect(await b.stored('sleeper/k')).toEqual({ log: ['new 1 7'], more: 7 })
  })

  test('[W2] 1,000 turns that sleep for a day keep nothing in memory and one timer each', async () => {
    const node = await world.node('a', [sleeper])
    await world.run(
      Promise.all(Array.from({ length: 1_000 }, (_, i) => node.send(node.ref(sleeper, `k${i}`).nap(DAY)))),
    )
    await world.until(
      () =>
        ![...node.core.kernel.all()].some(
          (process) => process.agent === 'sleeper' && process.durable && process.kind === 'agent',
        ),
    )
    expect([...(world.db?.timers.values() ?? [])].reduce((sum, timers) => sum + timers.size, 0)).toBe(1_000)
    const before = oracle.count('nap')
    await world.advance(60_000)
    expect([before, oracle.count('nap')]).toEqual([1_000, 1_000])
  })

  test('[W2] an operator reaches a parked turn: a stop does not wait, it goes on at the restart', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').nap(HOUR)))
    await parked(node, 'sleeper/k')
    const began = world.clock.now()
    expect(await node.call(node.control.stop('sleeper/k', { actor: 'ana' }))).toMatchObject({ outcome: 'stopped' })
    expect(world.clock.now() - began).toBeLessThan(1_000)
    world.jump(2 * HOUR)
    await world.advance(5_000)
    expect(await logOf(node, 'sleeper/k')).toEqual([])
    await node.call(node.control.restart('sleeper/k', { actor: 'ana' }))
    await world.until(async () => (await logOf(node, 'sleeper/k')).length === 1)
    expect([oracle.count('before'), oracle.count('woke')]).toEqual([1, 1])
  })

  test('[W3] the wait is in the row, in memory and out of it', async () => {
    const node = await world.node('a', [sleeper])
    const inspect = new RuntimeInspect(node.core)
    await node.call(node.send(node.ref(sleeper, 'k').nap(HOUR)))
    await world.advance(1_000)
    const inside = await world.run(inspect.process('sleeper/k'))
    expect(inside).toMatchObject({ status: 'waiting', wait: { kind: 'sleep', target: null } })
    const { since = 0, deadline = 0 } = inside?.wait ?? {}
    expect((deadline ?? 0) - since).toBe(HOUR)
    await parked(node, 'sleeper/k')
    await world.advance(100)
    const outside = await world.run(inspect.processes({ status: 'passive' }))
    expect(outside.items).toMatchObject([
      { id: 'sleeper/k', status: 'passive', wait: { kind: 'sleep', since, deadline } },
    ])
    inspect.close()
  })
})
