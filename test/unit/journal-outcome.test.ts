/** M3: one outcome per call, and honest words about one that was given up. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const START = 1_700_000_000_000

const desk = agent('desk', {
  state: () => ({ seen: [] as string[] }),
  on: {
    async hold(ctx, ms: number) {
      oracle.hit('hold')
      await ctx.step('sleep', () => new Promise<void>((resolve) => void world.clock.after(ms, () => resolve())))
      return 'held'
    },
    take(ctx, name: string) {
      oracle.hit(name)
      ctx.state.seen.push(name)
      return name
    },
    leave: (ctx) => ctx.exit('normal'),
  },
  passivateAfterMs: 1_000,
})

type Ask = { op: 'take' | 'hold'; timeoutMs: number }

const guest = agent('guest', {
  state: () => ({ got: [] as unknown[] }),
  on: {
    async ask(ctx, { op, timeoutMs }: Ask) {
      const d = ctx.ref(desk, 'd')
      try {
        ctx.state.got.push(await ctx.call(op === 'take' ? d.take('asked') : d.hold(5_000), { timeoutMs }))
      } catch (error) {
        const { code, detail } = error as { code: string; detail: { outcome?: string } }
        ctx.state.got.push(detail.outcome === undefined ? code : `${code} ${detail.outcome}`)
      }
      return ctx.state.got.at(-1)
    },
    async race(ctx) {
      const lost = ctx.ref(desk, 'd').take('lost').run()
      lost.catch(() => {})
      return await Promise.race([lost, ctx.step('quick', () => world.clock.after(50, () => {}) && 'quick')])
    },
    async poison(ctx) {
      ctx
        .ref(desk, 'd')
        .take('poisoned')
        .run()
        .catch(() => {})
      await ctx.step('pause', () => new Promise<void>((resolve) => void world.clock.after(20, () => resolve())))
      throw new Error('always')
    },
  },
})

async function held(node: TestNode, ms: number): Promise<void> {
  node
    .ref(desk, 'd')
    .hold(ms)
    .run()
    .catch(() => {})
  await world.until(() => oracle.count('hold') === 1)
}

async function emptied(): Promise<void> {
  await world.until(() => world.db?.mailbox.size === 0, 'an empty mailbox')
}

describe('withdrawn', () => {
  test('[M3] a call that had not begun at its deadline is taken back, and its caller told so in time', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 3_000)
    expect(await node.call(node.ref(guest, 'c').ask({ op: 'take', timeoutMs: 500 }))).toBe('CALL_TIMEOUT withdrawn')
    expect(world.clock.now() - START).toBeLessThan(700)
    await emptied()
    await world.advance(5_000)
    expect(oracle.count('asked')).toBe(0)
  })

  test('[M3] one that had begun is unknown, at once, and its late answer is consumed', async () => {
    const node = await world.node('a', [guest, desk])
    expect(await node.call(node.ref(guest, 'c').ask({ op: 'hold', timeoutMs: 500 }))).toBe('CALL_TIMEOUT unknown')
    expect(world.clock.now() - START).toBeLessThan(700)
    await world.advance(10_000)
    await emptied()
  })

  test('[M3] without a verdict the outcome is unknown soon after the deadline; it is never begun later', async () => {
    const b = await world.node('b', [desk])
    await held(b, 3_000)
    const a = await world.node('a', [guest, desk])
    const back = gate()
    b.faults.plan(({ method }) => (method === 'commit' ? { kind: 'hold', until: back.promise } : undefined))
    expect(await a.call(a.ref(guest, 'c').ask({ op: 'take', timeoutMs: 500 }))).toBe('CALL_TIMEOUT unknown')
    expect(world.clock.now() - START).toBeLessThan(900)
    back.open()
    await world.advance(5_000)
    await emptied()
    expect(oracle.count('asked')).toBe(0)
  })

  test('[M3] the verdict comes from the node that owns the receiver', async () => {
    const b = await world.node('b', [desk])
    await held(b, 3_000)
    const a = await world.node('a', [guest, desk])
    expect(await a.call(a.ref(guest, 'c').ask({ op: 'take', timeoutMs: 500 }))).toBe('CALL_TIMEOUT withdrawn')
    await world.advance(5_000)
    expect(oracle.count('asked')).toBe(0)
    await emptied()
  })

  test('[M3] a turn that ends withdraws what it did not wait for', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 3_000)
    expect(await node.call(node.ref(guest, 'c').race())).toBe('quick')
    await world.advance(5_000)
    expect(oracle.count('lost')).toBe(0)
    await emptied()
  })

  test('[M3] a turn that is buried withdraws its calls, also where it never ran here', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 60_000)
    expect((await world.refusal(node.ref(guest, 'c').poison())).code).toBe('DEAD_LETTERED')
    await world.advance(500)
    expect([...(world.db?.mailbox.values() ?? [])].flatMap((box) => [...box.values()]).length).toBe(0)
    await world.advance(60_000)
    expect(oracle.count('poisoned')).toBe(0)
  })

  test('[M3] the withdrawal survives the node: it is posted again by whoever replays the caller', async () => {
    const b = await world.node('b', [desk])
    await held(b, 10_000)
    const a = await world.node('a', [guest, desk])
    await a.send(a.ref(guest, 'c').ask({ op: 'take', timeoutMs: 500 }))
    await world.advance(400)
    a.kill()
    const c = await world.node('c', [guest, desk])
    await world.until(async () => ((await c.stored('guest/c')) as { got: unknown[] }).got.length === 1)
    expect(await c.stored('guest/c')).toEqual({ got: ['CALL_TIMEOUT withdrawn'] })
    await world.advance(15_000)
    expect(oracle.count('asked')).toBe(0)
    await emptied()
  })

  test('[M3] callers outside hear the same, and a withdrawn call is never begun', async () => {
    const node = await world.node('a', [desk])
    await held(node, 3_000)
    const early = await world.refusal(
      node.core.messenger.call(node.ref(desk, 'd').take('x') as never, { timeoutMs: 300 }),
    )
    expect([early.code, early.detail['outcome']]).toEqual(['CALL_TIMEOUT', 'withdrawn'])
    await world.advance(5_000)
    expect(oracle.count('x')).toBe(0)
    const late = await world.refusal(node.control.call('desk/d', 'hold', 4_000, { actor: 'ana', timeoutMs: 300 }))
    expect([late.code, late.detail['outcome']]).toEqual(['CALL_TIMEOUT', 'unknown'])
    expect(late.message).toContain('may still be carried out')
  })

  test('[M3] a withdrawn call is out of the visible mailbox and is no turn', async () => {
    const node = await world.node('a', [desk])
    const act = { actor: 'operator:ana' }
    await node.call(node.ref(desk, 'd').take('first'))
    await node.call(node.control.suspend('desk/d', act))
    const call = node.control.call('desk/d', 'take', 'x', { ...act, timeoutMs: 100 })
    expect((await world.refusal(call)).detail['outcome']).toBe('withdrawn')
    const process = node.core.kernel.find('desk/d')
    expect(process?.mailboxLength).toBe(0)
    const turns = process?.stats.turns
    await node.call(node.control.resume('desk/d', act))
    await world.advance(1_000)
    expect(process?.stats.turns).toBe(turns)
    expect(oracle.count('x')).toBe(0)
  })

  test('[M3] a call past its deadline that nobody withdrew is taken off without a turn', async () => {
    const b = await world.node('b', [desk])
    const act = { actor: 'operator:ana' }
    await b.call(b.ref(desk, 'd').take('first'))
    await b.call(b.control.suspend('desk/d', act))
    const a = await world.node('a', [desk])
    await world.refusal(a.core.messenger.call(a.ref(desk, 'd').take('x') as never, { timeoutMs: 300 }))
    await world.until(() => b.core.kernel.find('desk/d')?.mailboxLength === 1)
    await world.advance(1_000)
    const turns = b.core.kernel.find('desk/d')?.stats.turns
    await b.call(b.control.resume('desk/d', act))
    await emptied()
    expect(b.core.kernel.find('desk/d')?.stats.turns).toBe(turns)
  })

  test('[M3] a call from outside to another node is unknown, and not begun after its deadline', async () => {
    const b = await world.node('b', [desk])
    await held(b, 3_000)
    const a = await world.node('a', [desk])
    const late = await world.refusal(a.core.messenger.call(a.ref(desk, 'd').take('x') as never, { timeoutMs: 300 }))
    expect([late.code, late.detail['outcome']]).toEqual(['CALL_TIMEOUT', 'unknown'])
    await world.advance(10_000)
    expect(oracle.count('x')).toBe(0)
    await emptied()
  })
})

describe('receiver stopped', () => {
  const waiting = (node: TestNode): Promise<unknown> =>
    node.ref(guest, 'c').ask({ op: 'take', timeoutMs: 30_000 }).run() as Promise<unknown>

  test('[M3] an operator stops the receiver: calls hear it with the end, sends wait for the restart', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 1_000)
    const asked = waiting(node)
    await node.call(node.send(node.ref(desk, 'd').take('sent')))
    await world.advance(100)
    await world.run(node.control.stop('desk/d', { actor: 'ana' }))
    expect(await world.run(asked)).toBe('PROCESS_EXITED')
    expect(world.clock.now() - START).toBeLessThan(2_000)
    const end = node.faults.committed.find((row) => row.id === 'desk/d' && row.payload.includes('"k":"exit"'))
    expect([end?.consumed?.length, end?.messages?.length]).toEqual([1, 1])
    expect(oracle.count('sent')).toBe(0)
    await world.run(node.control.restart('desk/d', { actor: 'ana' }))
    await world.until(() => oracle.count('sent') === 1)
    expect(oracle.count('asked')).toBe(0)
    await emptied()
  })

  test('[M3] a call to a receiver that is stopped already hears it at once', async () => {
    const node = await world.node('a', [guest, desk])
    await node.call(node.ref(desk, 'd').take('first'))
    await world.run(node.control.stop('desk/d', { actor: 'ana' }))
    const before = world.clock.now()
    expect(await world.run(waiting(node))).toBe('PROCESS_EXITED')
    expect(world.clock.now() - before).toBeLessThan(1_000)
    await emptied()
  })

  test('[M3] a receiver that ends by itself for good answers its calls the same way', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 500)
    await node.call(node.send(node.ref(desk, 'd').leave()))
    const asked = waiting(node)
    expect(await world.run(asked)).toBe('PROCESS_EXITED')
    await emptied()
  })

  test('[M3] a kill that is followed by a restart is invisible to the caller', async () => {
    const node = await world.node('a', [guest, desk])
    await held(node, 300)
    const asked = waiting(node)
    await world.advance(100)
    await world.run(node.control.kill('desk/d', { actor: 'ana' }))
    expect(await world.run(asked)).toBe('asked')
  })
})
