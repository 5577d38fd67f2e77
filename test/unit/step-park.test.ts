/** External steps out of memory: when their turn leaves, what brings it back, and what its code hears of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { ExternalStepInfo, ExternalStepOptions } from '../../server/definition/step.ts'
import { StepDoor, type StepOutcome } from '../../server/host/step-door.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

let world: World
let oracle: Oracle
let tokens: string[]
let options: ExternalStepOptions
let body: (info: ExternalStepInfo) => unknown
let busy: ReturnType<typeof gate>

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  tokens = []
  options = { external: true }
  body = () => null
  busy = gate()
})
afterEach(() => world.close())

const asker = agent('asker', {
  state: () => ({ log: [] as unknown[] }),
  on: {
    async ask(ctx, name: string) {
      oracle.hit('turn')
      try {
        ctx.state.log.push(await ctx.step(name, handOut, options))
      } catch (error) {
        oracle.hit('caught')
        ctx.state.log.push((error as { cause?: { message: string } }).cause?.message)
      }
      await ctx.step('after', () => oracle.hit('after'))
    },
    async race(ctx) {
      const rounds: string[] = []
      const outside = ctx.step('approve', handOut, options).then((value) => `outside ${value}`)
      while (!rounds.at(-1)?.startsWith('outside')) {
        rounds.push(await Promise.race([outside, ctx.sleep(HOUR).then(() => 'slept')]))
      }
      ctx.state.log.push(...rounds)
    },
    async beside(ctx) {
      const outside = ctx.step('approve', handOut, options)
      ctx.state.log.push(await ctx.step('work', () => busy.promise.then(() => 'worked')))
      ctx.state.log.push(await outside)
    },
    async two(ctx) {
      const both = ['a', 'b'].map((key) => ctx.step('approve', handOut, { ...options, key }))
      ctx.state.log.push(await Promise.all(both))
    },
  },
  passivateAfterMs: 2_000,
})

function handOut(info: ExternalStepInfo): unknown {
  oracle.hit('asked')
  tokens.push(info.token)
  return body(info)
}

const settle = (node: TestNode, token = '', outcome: StepOutcome = { value: 'yes' }): Promise<void> =>
  world.run(new StepDoor(node.core).settle(token, outcome))
const inMemory = (node: TestNode, id = 'asker/k'): boolean => node.core.kernel.find(id) !== undefined
const parked = (node: TestNode, id = 'asker/k'): Promise<void> => world.until(() => !inMemory(node, id), 'parking')
const logOf = async (node: TestNode, id = 'asker/k'): Promise<unknown[]> =>
  ((await node.stored(id)) as { log: unknown[] } | undefined)?.log ?? []
const timers = (): string[] => [...(world.db?.timers.values() ?? [])].flatMap((one) => [...one.keys()])
const mails = (): number => [...(world.db?.mailbox.values() ?? [])].reduce((sum, box) => sum + box.size, 0)

async function ask(op: 'ask' | 'race' | 'beside' | 'two' = 'ask', count = 1): Promise<TestNode> {
  const node = await world.node('a', [asker])
  await node.call(node.send(op === 'ask' ? node.ref(asker, 'k').ask('approve') : node.ref(asker, 'k')[op]()))
  await world.until(() => tokens.length === count)
  return node
}

describe('leaving', () => {
  test('[Q11] a step that was handed out keeps nothing in memory; its outcome wakes the turn, once', async () => {
    const node = await ask()
    await parked(node)
    await world.advance(1_000)
    expect([oracle.count('caught'), timers(), node.faults.counts.get('release')]).toEqual([0, [], 1])
    await world.advance(60_000)
    expect([oracle.count('turn'), inMemory(node)]).toEqual([1, false])
    world.jump(30 * DAY)
    await settle(node, tokens[0])
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(1_000)
    expect([await logOf(node), oracle.count('turn'), oracle.count('asked')]).toEqual([['yes'], 2, 1])
    expect([oracle.count('after'), oracle.count('caught'), mails()]).toEqual([1, 0, 0])
  })

  test('[Q11] any node gives the outcome, and any node goes on with it', async () => {
    const a = await ask()
    await parked(a)
    await world.advance(100)
    a.kill()
    const other = await world.node('other', [])
    await settle(other, tokens[0])
    await world.advance(2_000)
    const b = await world.node('b', [asker])
    await world.until(async () => (await logOf(b)).length === 1)
    expect([await logOf(b), oracle.count('asked'), oracle.count('after')]).toEqual([['yes'], 1, 1])
  })

  test('[Q12] the total time wakes it, and loses against an outcome that came before', async () => {
    options = { external: true, totalMs: HOUR }
    const node = await ask()
    await node.call(node.send(node.ref(asker, 'l').ask('approve')))
    await parked(node)
    await parked(node, 'asker/l')
    await world.advance(100)
    expect(timers()).toEqual(['$wake', '$wake'])
    await settle(node, tokens[1], { value: 'in time' })
    world.jump(HOUR)
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(5_000)
    expect(await logOf(node)).toEqual([`Step approve had ${HOUR} ms in all; they are over.`])
    expect(await logOf(node, 'asker/l')).toEqual(['in time'])
    const late = await world.refusal(new StepDoor(node.core).settle(tokens[0] ?? '', { value: 1 }))
    expect([late.code, timers(), mails()]).toEqual(['ALREADY_COMPLETED', [], 0])
  })

  test('[W3] what it waits for is in the row, in memory and out of it', async () => {
    options = { external: true, totalMs: DAY }
    const node = await ask()
    await world.advance(500)
    const inside = node.core.kernel.find('asker/k')?.wait
    expect(inside).toMatchObject({ kind: 'step', target: 'approve (from outside)', attempt: 1 })
    expect((inside?.deadline ?? 0) - (inside?.since ?? 0)).toBe(DAY)
    await parked(node)
    await world.advance(100)
    const record = await node.core.backend.handle.archive.process('default', 'asker/k')
    expect(JSON.parse(record?.wait ?? '')).toEqual(inside)
  })

  test('[W2] a drain parks it at once', async () => {
    const a = await ask()
    await world.advance(100)
    const began = world.clock.now()
    await a.stop()
    expect([world.clock.now() - began < 500, oracle.count('caught')]).toEqual([true, 0])
    const b = await world.node('b', [asker])
    await settle(b, tokens[0])
    await world.until(async () => (await logOf(b)).length === 1)
    expect([await logOf(b), oracle.count('asked')]).toEqual([['yes'], 1])
  })

  test('[W2] 1,000 of them keep rows and no memory', async () => {
    const node = await world.node('a', [asker])
    await world.run(Promise.all(Array.from({ length: 1_000 }, (_, i) => node.send(node.ref(asker, `k${i}`).ask('x')))))
    await world.until(() => tokens.length === 1_000)
    await world.until(() => ![...node.core.kernel.all()].some((one) => one.agent === 'asker' && one.kind === 'agent'))
    await world.advance(60_000)
    expect([oracle.count('turn'), oracle.count('caught'), timers(), mails()]).toEqual([1_000, 0, [], 1_000])
    await Promise.all(tokens.slice(0, 500).map((token) => settle(node, token)))
    await world.until(() => oracle.count('after') === 500)
    expect([oracle.count('turn'), oracle.count('asked')]).toEqual([1_500, 1_000])
  })
})

describe('staying', () => {
  test('[Q11] while its function runs, and while it waits to be tried again', async () => {
    options = { external: true, retry: { max: 3, initialMs: 20_000, maxMs: 20_000, jitter: 0 } }
    body = () => {
      if (tokens.length === 1) throw new Error('down')
      return tokens.length === 2 ? busy.promise : null
    }
    const node = await ask()
    await world.advance(15_000)
    expect(inMemory(node)).toBe(true)
    await world.until(() => tokens.length === 2)
    await world.advance(15_000)
    expect(inMemory(node)).toBe(true)
    busy.open()
    await parked(node)
    await settle(node, tokens[0])
    await world.until(async () => (await logOf(node)).length === 1)
    expect([oracle.count('asked'), new Set(tokens).size]).toEqual([2, 1])
  })

  test('[Q11] while another step of the turn runs', async () => {
    const node = await ask('beside')
    await world.advance(15_000)
    expect(inMemory(node)).toBe(true)
    busy.open()
    await world.advance(500)
    expect(node.core.kernel.find('asker/k')?.wait).toMatchObject({ target: 'approve (from outside)' })
    await parked(node)
    await settle(node, tokens[0])
    await world.until(async () => (await logOf(node)).length === 2)
    expect(await logOf(node)).toEqual(['worked', 'yes'])
  })

  test('[Q11] until its failure for good is stored', async () => {
    options = { external: true, retry: { max: 1 } }
    body = () => {
      throw new Error('nobody there')
    }
    const node = await world.node('a', [asker])
    const held = gate()
    node.faults.next('request', { kind: 'hold', until: held.promise })
    await node.call(node.send(node.ref(asker, 'k').ask('approve')))
    await world.advance(15_000)
    expect([inMemory(node), oracle.count('asked')]).toEqual([true, 1])
    held.open()
    await world.until(async () => (await logOf(node)).length === 1)
    expect([oracle.count('asked'), oracle.count('turn')]).toEqual([1, 1])
  })
})

describe('mixed', () => {
  test('[Q11] a race with sleeps is parked in every round and replayed as it was', async () => {
    const node = await ask('race')
    for (let i = 0; i < 3; i++) {
      await parked(node)
      await world.advance(100)
      expect(timers()).toEqual(['$wake'])
      world.jump(HOUR)
      await world.until(() => inMemory(node))
    }
    await parked(node)
    await settle(node, tokens[0])
    await world.until(async () => (await logOf(node)).length === 4)
    await world.advance(2_000)
    expect(await logOf(node)).toEqual(['slept', 'slept', 'slept', 'outside yes'])
    expect([oracle.count('asked'), timers(), mails()]).toEqual([1, [], 0])
  })

  test('[Q11] two of one turn: each outcome wakes it', async () => {
    const node = await ask('two', 2)
    await parked(node)
    await settle(node, tokens[1], { value: 'second' })
    await world.advance(100)
    await parked(node)
    await settle(node, tokens[0], { value: 'first' })
    await world.until(async () => (await logOf(node)).length === 1)
    expect([await logOf(node), oracle.count('asked')]).toEqual([[['first', 'second']], 2])
  })
})

describe('crashes', () => {
  test.each(['before', 'after'] as const)('[Q11] the node dies %s it is given up', async (when) => {
    const a = await world.node('a', [asker])
    a.faults.next('release', { kind: 'die', when })
    await a.call(a.send(a.ref(asker, 'k').ask('approve')))
    await world.until(() => a.dead)
    await ends(await world.node('b', [asker]))
  })

  test.each(['before', 'after'] as const)('[Q11] the node dies %s the outcome is stored', async (when) => {
    const a = await ask()
    await parked(a)
    await world.advance(100)
    a.faults.next('request', { kind: 'die', when })
    void new StepDoor(a.core).settle(tokens[0] ?? '', { value: 'yes' }).catch(() => {})
    await world.until(() => a.dead)
    await ends(await world.node('b', [asker]), when === 'after')
  })

  test.each(['claim', 'load'] as const)('[Q11] the node dies with the %s that the outcome woke', async (method) => {
    const a = await ask()
    await parked(a)
    await world.advance(100)
    a.faults.next(method, { kind: 'die', when: 'after' })
    await settle(a, tokens[0])
    await world.until(() => a.dead)
    await ends(await world.node('b', [asker]), true)
  })

  test('[Q11] an outcome that meets the parking is not lost', async () => {
    const node = await ask()
    const held = gate()
    node.faults.next('release', { kind: 'hold', until: held.promise })
    await parked(node)
    await settle(node, tokens[0])
    await world.advance(100)
    expect(await logOf(node)).toEqual([])
    held.open()
    await ends(node, true)
  })

  /** Exactly once, whoever goes on. */
  async function ends(node: TestNode, settled = false): Promise<void> {
    if (!settled) {
      await world.advance(3_000)
      await settle(node, tokens[0])
    }
    await world.until(async () => (await logOf(node)).length === 1)
    await world.advance(2_000)
    expect([await logOf(node), oracle.count('asked'), oracle.count('after'), mails()]).toEqual([['yes'], 1, 1, 0])
  }
})
