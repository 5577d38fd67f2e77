/** Parallel steps: whatever order they finish in and wherever a crash falls, a replay binds as the first run did. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import type { Entry } from '../../server/journal/entry.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'
import { StepProgram, traceOf } from '../support/step-program.ts'
import { seededRandom } from '../support/virtual-clock.ts'

const SEEDS = Number(process.env['STEP_SEEDS'] ?? 60)
/** Ms of virtual time in which a program without hanging winners is over. */
const PROGRAM_MS = 5_000
const CRASHES_MAX = 4

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const entries = (nodes: readonly TestNode[]): Entry[] => nodes.flatMap((node) => node.written())

describe('[Q8] random programs', () => {
  async function play(seed: number): Promise<number> {
    const world = World.memory()
    const program = new StepProgram(seed, world.clock)
    const runner = agent('runner', {
      state: () => ({ trace: [] as string[] }),
      on: { run: (ctx) => program.run(ctx) },
    })
    const random = seededRandom(Math.imul(seed, 0x9e3779b1))
    const crashes = Math.floor(random.next() * (CRASHES_MAX + 1))
    const nodes = [await world.node('n0', [runner])]
    await world.run(nodes[0]?.send(nodes[0].ref(runner, 'k').run()) ?? Promise.reject(new Error('no node')))
    let killed = 0
    for (; killed < crashes; killed++) {
      await world.advance(Math.floor(random.next() * 12))
      nodes.at(-1)?.kill()
      const all = entries(nodes)
      if (all.some((entry) => entry.k === 'end')) break
      const stored = all.filter((entry) => entry.k === 'step').map((entry) => (entry.k === 'step' ? entry.key : ''))
      const before = program.traces.length
      const trace = traceOf(program.traces.at(-1) ?? [], stored.length)
      const ran = program.ran.length
      nodes.push(await world.node(`n${killed + 1}`, [runner]))
      await world.until(() => program.traces.length > before)
      const again = program.traces.at(-1) ?? []
      await world.until(() => traceOf(again, stored.length).length >= trace.length, `the replay of seed ${seed}`)
      expect(traceOf(again, stored.length), `trace of seed ${seed} after crash ${killed + 1}`).toEqual(trace)
      const twice = program.ran.slice(ran).filter((key) => stored.includes(`leaf:${key}`))
      expect(twice, `steps of seed ${seed} that ran although they were stored`).toEqual([])
    }
    if (killed === crashes) {
      await world.advance(PROGRAM_MS)
      const end = entries(nodes).some((entry) => entry.k === 'end')
      // A race whose every branch can hang may wait for ever; it must then wait, not fail or diverge.
      if (!end) expect(nodes.at(-1)?.core.kernel.find('runner/k')?.wait?.kind, `seed ${seed}`).toBe('step')
      else expect(await nodes.at(-1)?.stored('runner/k')).toEqual({ trace: program.traces.at(-1) })
    }
    expect(entries(nodes).some((entry) => entry.k === 'diverged' || entry.k === 'failed')).toBe(false)
    await world.close()
    return killed
  }

  test(`[Q8] ${SEEDS} programs with crashes anywhere bind as they did`, async () => {
    let crashes = 0
    for (let seed = 1; seed <= SEEDS; seed++) crashes += await play(seed)
    expect(crashes).toBeGreaterThan(SEEDS / 2)
  }, 60_000)
})

describe('same tick', () => {
  const twins = agent('twins', {
    state: () => ({ order: [] as string[] }),
    on: {
      async run(ctx) {
        const seen: string[] = []
        const go = gate()
        const branch = async (key: string, hops: number): Promise<void> => {
          await ctx.step('leaf', () => go.promise.then(() => key), { key })
          for (let i = 0; i < hops; i++) await null
          seen.push(key)
        }
        const both = [branch('long', 20), branch('short', 0)]
        if (oracle.hit('run') === 1) await world.settle()
        go.open()
        await Promise.all(both)
        oracle.log.push(seen.join())
        await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        ctx.state.order = seen
      },
    },
  })

  test('[Q8] results of one tick do not overtake each other in user code', async () => {
    const a = await world.node('a', [twins])
    await a.call(a.send(a.ref(twins, 'k').run()))
    await world.until(() => oracle.count('hang') === 1)
    await world.advance(50)
    a.kill()
    const b = await world.node('b', [twins])
    await world.until(async () => ((await b.stored('twins/k')) as { order: string[] }).order.length === 2)
    const orders = oracle.log.filter((line) => line.includes(','))
    expect(orders).toEqual(['long,short', 'long,short'])
  })
})

describe('results of every kind', () => {
  type Ctx = Context<{ order: string[] }>
  const KINDS: Record<string, (ctx: Ctx) => Promise<unknown>> = {
    'a sleep': (ctx) => ctx.sleep(5),
    'a receive': (ctx) => ctx.receive('wake'),
    'a receive in vain': (ctx) => ctx.receive('never', { timeoutMs: 5 }),
    'a checkpoint': (ctx) => ctx.checkpoint(),
    'a call': (ctx) => ctx.call(ctx.ref(echo, 'e').say()),
  }
  const echo = agent('echo', { state: () => ({}), on: { say: () => 'said' } })

  const pairOf = (first: (ctx: Ctx) => Promise<unknown>, open: 'after' | 'beside') =>
    agent('pair', {
      state: () => ({ order: [] as string[] }),
      on: {
        async run(ctx: Ctx) {
          const seen: string[] = []
          const go = gate()
          const one = async (): Promise<void> => {
            const result = first(ctx)
            if (open === 'beside') go.open()
            await result
            go.open()
            for (let i = 0; i < 20; i++) await null
            seen.push('one')
          }
          const other = async (): Promise<void> => {
            await ctx.step('leaf', () => go.promise.then(() => null))
            seen.push('other')
          }
          const later = other()
          if (oracle.hit('run') === 1) await world.settle()
          await Promise.all([one(), later])
          oracle.log.push(seen.join())
          await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
          ctx.state.order = seen
        },
        wake: () => {},
        never: () => {},
      },
    })

  test.for(Object.keys(KINDS).flatMap((kind) => (['after', 'beside'] as const).map((open) => [kind, open] as const)))(
    '[T5] %s binds on replay as it did when a step ends %s it',
    async ([kind, open]) => {
      const pair = pairOf(KINDS[kind] as (ctx: Ctx) => Promise<unknown>, open)
      const a = await world.node('a', [pair, echo])
      await a.call(a.send(a.ref(pair, 'k').run()))
      await a.call(a.send(a.ref(pair, 'k').wake()))
      await world.until(() => oracle.count('hang') === 1)
      await world.advance(50)
      a.kill()
      const b = await world.node('b', [pair, echo])
      await world.until(async () => ((await b.stored('pair/k')) as { order: string[] }).order.length === 2)
      const orders = oracle.log.filter((line) => line.includes(','))
      expect(orders).toHaveLength(2)
      expect(orders[1]).toBe(orders[0])
    },
  )
})

describe('results that are there at once', () => {
  type Ctx = Context<{ order: string[] }>
  const KINDS: Record<string, (ctx: Ctx) => Promise<unknown>> = {
    'a message that is there': (ctx) => ctx.receive('wake'),
    'a receive in vain': (ctx) => ctx.receive('never', { timeoutMs: 0 }),
    'a sleep of 0 ms': (ctx) => ctx.sleep(0),
    // In the second life it is the first thing that is not recorded.
    'a step after a replay': (ctx) => ctx.step('next', () => (oracle.hit('next') === 1 ? new Promise(() => {}) : null)),
  }
  const rival = (kind: string) =>
    agent('rival', {
      state: () => ({ order: [] as string[] }),
      on: {
        async run(ctx: Ctx) {
          const seen: string[] = []
          const first = ctx.step('first', () => world.settle())
          const one = async (): Promise<void> => {
            await first
            await KINDS[kind]?.(ctx)
            seen.push('one')
          }
          const other = async (): Promise<void> => {
            await first
            for (let i = 0; i < 200; i++) await null
            seen.push('other')
          }
          await Promise.all([one(), other()])
          oracle.log.push(seen.join())
          await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
          ctx.state.order = seen
        },
        wake: () => {},
        never: () => {},
      },
    })

  test.for(Object.keys(KINDS))('[T5] %s comes no sooner than a replay would bring it', async (kind) => {
    const nodes: TestNode[] = []
    const next = async (): Promise<TestNode> => {
      nodes.at(-1)?.kill()
      const node = await world.node(`n${nodes.length}`, [rival(kind)])
      nodes.push(node)
      return node
    }
    const a = await next()
    await a.call(a.send(a.ref(rival(kind), 'k').run()))
    await a.call(a.send(a.ref(rival(kind), 'k').wake()))
    await world.until(() => oracle.count('hang') + oracle.count('next') === 1)
    if (oracle.count('next') === 1) await next()
    await world.until(() => oracle.count('hang') === 1)
    await world.advance(50)
    const b = await next()
    await world.until(async () => ((await b.stored('rival/k')) as { order: string[] }).order.length === 2)
    const orders = oracle.log.filter((line) => line.includes(','))
    expect(orders).toEqual(['other,one', 'other,one'])
  })
})

describe('losers', () => {
  const kept = { signal: null as AbortSignal | null, end: null as unknown, late: gate() }
  const racer = agent('racer', {
    state: () => ({ won: '' }),
    on: {
      async race(ctx) {
        const slow = ctx.step('slow', async ({ signal }) => {
          kept.signal = signal
          await kept.late.promise
          oracle.hit('late')
          return 'slow'
        })
        slow.catch((error: unknown) => {
          kept.end = error
        })
        ctx.state.won = await Promise.race([slow, ctx.step('fast', () => 'fast')])
      },
      add: (ctx) => {
        ctx.state.won += '!'
      },
    },
  })
  beforeEach(() => {
    kept.signal = null
    kept.end = null
    kept.late = gate()
  })

  test('[Q9] a step that still runs when its turn ends is aborted, given up and never recorded', async () => {
    const node = await world.node('a', [racer])
    await node.call(node.ref(racer, 'k').race())
    expect(kept.signal?.reason).toMatchObject({ code: 'STEP_ABANDONED' })
    await world.settle()
    expect(kept.end).toMatchObject({ code: 'STEP_ABANDONED', message: expect.stringContaining('"race" of racer/k') })
    kept.late.open()
    await node.call(node.ref(racer, 'k').add())
    expect(oracle.count('late')).toBe(1)
    expect(await node.stored('racer/k')).toEqual({ won: 'fast!' })
    expect(entries([node]).filter((entry) => entry.k === 'step')).toHaveLength(1)
    expect(node.core.kernel.find('racer/k')).toMatchObject({ wait: null, incarnation: 1 })
  })

  test('[Q9] a loser nobody looks at is no floating rejection', async () => {
    const quiet = agent('quiet', {
      state: () => ({ n: 0 }),
      on: {
        async go(ctx) {
          void ctx.step('forgotten', () => kept.late.promise)
          ctx.state.n = await ctx.step('one', () => 1)
        },
      },
    })
    const node = await world.node('a', [quiet])
    const rejections: unknown[] = []
    const hear = (error: unknown): void => void rejections.push(error)
    process.on('unhandledRejection', hear)
    await node.call(node.ref(quiet, 'k').go())
    await world.advance(100)
    process.off('unhandledRejection', hear)
    expect(rejections).toEqual([])
    expect(node.core.kernel.find('quiet/k')?.incarnation).toBe(1)
  })
})
