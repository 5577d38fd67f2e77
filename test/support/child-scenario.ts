/** Children that close with the process that spawned them, and those that do not: tests for both stores. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { SpawnOptions } from '../../server/definition/context.ts'
import { Oracle, type TestNode, type World } from './runtime.ts'

const ACT = { actor: 'test' }
const HOUR = 3_600_000

let oracle: Oracle
let run = 0

/** One database serves all tests. */
const k = (key: string): string => `${key}-${run}`
const id = (agent: string, key: string): string => `${agent}/${k(key)}`

const child = agent('child', {
  state: () => ({ heard: [] as string[] }),
  passivateAfterMs: 200,
  maxAttempts: 2,
  on: {
    ping: (ctx) => ctx.incarnation,
    trap: (ctx) => ctx.trapExit(true),
    async wait(ctx) {
      oracle.hit('waits')
      await ctx.sleep(HOUR)
    },
    fail: () => {
      throw new Error('boom')
    },
  },
  onExit: (ctx, signal) => void ctx.state.heard.push(`${signal.from} ${signal.reason.kind}`),
})
const light = agent('light', {
  durability: 'ephemeral',
  state: () => null,
  on: {
    spawn: (ctx) => {
      ctx.spawn(child, k('x'), { parentClose: 'stop' })
    },
  },
})
const parent = agent('parent', {
  state: () => null,
  maxAttempts: 3,
  on: {
    spawn: (ctx, options: SpawnOptions) => {
      ctx.spawn(child, k('c'), options)
    },
    spawnLight: (ctx) => {
      ctx.spawn(light, k('l'), { parentClose: 'stop' })
    },
    both: (ctx) => {
      ctx.spawn(child, k('c'), { parentClose: 'stop' })
      ctx.exit('normal')
    },
    leave: (ctx) => ctx.exit('normal'),
    fail: () => {
      throw new Error('boom')
    },
    ping: (ctx) => ctx.incarnation,
  },
})

const AGENTS = [parent, child, light]
const rowOf = async (node: TestNode, id: string) => node.core.backend.handle.archive.process('default', id)
const isGone = (node: TestNode, id: string) => async (): Promise<boolean> => (await rowOf(node, id))?.gone === true

export function childScenarios(where: string, open: () => World): void {
  let world: World
  beforeEach(() => {
    world = open()
    oracle = new Oracle()
    run += 1
  })
  afterEach(() => world.close())

  const family = async (options: SpawnOptions): Promise<TestNode> => {
    const node = await world.node('a', AGENTS)
    await node.call(node.ref(parent, k('p')).spawn(options))
    await node.call(node.ref(child, k('c')).ping())
    return node
  }

  describe(`children that close, on ${where}`, () => {
    test('[P9] stop: a child ends with its parent, by shutdown, though that ended normally', async () => {
      const node = await family({ parentClose: 'stop' })
      await node.send(node.ref(parent, k('p')).leave())
      await world.until(isGone(node, id('child', 'c')), 'the end of the child')
      expect(JSON.parse((await rowOf(node, id('child', 'c')))?.exit ?? '')).toMatchObject({ kind: 'shutdown' })
    })

    test('[P9] stop: a passive child too, and one in the middle of a turn', async () => {
      const node = await family({ parentClose: 'stop' })
      await node.send(node.ref(child, k('c')).wait())
      await world.until(() => oracle.count('waits') === 1)
      await world.until(() => node.core.kernel.find(id('child', 'c')) === undefined, 'parking')
      await node.send(node.ref(parent, k('p')).leave())
      await world.until(isGone(node, id('child', 'c')), 'the end of the child')
    })

    test.each(['before', 'after'] as const)('[P9] stop: the node dies %s the commit of the end', async (when) => {
      const a = await family({ parentClose: 'stop' })
      a.faults.plan(({ batch }) => (batch.some((row) => row.ends !== undefined) ? { kind: 'die', when } : undefined))
      await a.send(a.ref(parent, k('p')).leave())
      await world.until(() => a.dead, 'the death')
      const b = await world.node('b', AGENTS)
      if (when === 'before') await b.send(b.ref(parent, k('p')).leave())
      await world.until(isGone(b, id('child', 'c')), 'the end of the child')
    })

    test('[P9] stop: an operator stops the parent, and its child ends', async () => {
      const node = await family({ parentClose: 'stop' })
      await node.call(node.ref(parent, k('p')).ping())
      await node.call(node.control.stop(id('parent', 'p'), ACT))
      await world.until(isGone(node, id('child', 'c')), 'the end of the child')
    })

    test('[P9] stop: spawned by the turn that ends the parent', async () => {
      const node = await world.node('a', AGENTS)
      await node.send(node.ref(parent, k('p')).both())
      await world.until(isGone(node, id('child', 'c')), 'the end of the child')
    })

    test('[P9] lives that follow each other leave the tie alone, on both sides', async () => {
      const node = await family({ parentClose: 'stop' })
      await world.refusal(node.ref(parent, k('p')).fail())
      await world.refusal(node.ref(child, k('c')).fail())
      expect(await node.call(node.ref(parent, k('p')).ping())).toBeGreaterThan(1)
      expect(await node.call(node.ref(child, k('c')).ping())).toBeGreaterThan(1)
      expect((await rowOf(node, id('child', 'c')))?.gone).toBe(false)
      await node.send(node.ref(parent, k('p')).leave())
      await world.until(isGone(node, id('child', 'c')), 'the end of the child')
    })

    test('[P9] a child that traps exits hears of it and goes on, without the tie', async () => {
      const node = await family({ parentClose: 'stop' })
      await node.call(node.ref(child, k('c')).trap())
      await node.send(node.ref(parent, k('p')).leave())
      await world.until(async () => ((await node.stored(id('child', 'c'))) as { heard: string[] }).heard.length === 1)
      expect(await node.stored(id('child', 'c'))).toEqual({ heard: [`${id('parent', 'p')} shutdown`] })
      // The tie is gone: what begins under the same id is told nothing.
      const ties = await node.core.backend.handle.store.load(node.core.node, [
        (await rowOf(node, id('child', 'c')))?.pid ?? 0,
      ])
      expect(ties).toMatchObject([{ links: [] }])
    })

    test('[P9] detach, the default: the child goes on', async () => {
      const node = await family({})
      await node.send(node.ref(parent, k('p')).leave())
      await world.until(isGone(node, id('parent', 'p')), 'the end of the parent')
      await world.advance(300)
      expect((await rowOf(node, id('child', 'c')))?.gone).toBe(false)
      expect(await node.call(node.ref(child, k('c')).ping())).toBe(1)
    })

    test('[P9] what cannot be is refused: wait, and ends without a row', async () => {
      const node = await world.node('a', AGENTS)
      const spawn = (parentClose: string): PromiseLike<unknown> =>
        node.ref(parent, k('p')).spawn({ parentClose } as unknown as SpawnOptions)
      expect((await world.refusal(spawn('wait'))).message).toContain('does not complete')
      expect((await world.refusal(spawn('kill'))).message).toContain('use stop or detach')
      expect((await world.refusal(node.ref(parent, k('q')).spawnLight())).message).toContain('ephemeral')
      expect((await world.refusal(node.ref(light, k('l')).spawn())).message).toContain('ephemeral')
    })
  })
}
