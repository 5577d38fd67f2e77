/** Random turns with parallel waits, cancelled and killed at random times: none diverges, each comes to one end. */
import { expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { isRuntimeError } from '../../shared/error.ts'
import { type TestNode, World } from '../support/runtime.ts'

const SEEDS = 60
/** Ms: longer than anything but the end takes. */
const LONG = 2_000

/** Mulberry32: small, seeded, good enough to vary a test. */
function seeded(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Plan = {
  kind: 'sleep' | 'step' | 'receive' | 'call' | 'all' | 'race' | 'shield' | 'catch'
  ms: number
  of: Plan[]
}

const LEAVES = ['sleep', 'step', 'receive', 'call'] as const
const NODES = ['all', 'race', 'shield', 'catch'] as const

function planOf(random: () => number, depth: number): Plan {
  const isLeaf = depth === 0 || random() < 0.3
  const kinds = isLeaf ? LEAVES : NODES
  const kind = kinds[Math.floor(random() * kinds.length)] ?? 'sleep'
  const ms = random() < 0.15 ? LONG : Math.floor(random() * 60)
  const of = isLeaf ? [] : Array.from({ length: 1 + Math.floor(random() * 3) }, () => planOf(random, depth - 1))
  return { kind, ms, of }
}

async function trial(seed: number): Promise<string> {
  const random = seeded(seed)
  const world = World.memory()
  const undone: string[] = []
  const later = (ms: number): Promise<void> => new Promise((resolve) => void world.clock.after(ms, resolve))
  const helper = agent('helper', {
    state: () => null,
    on: {
      async wait(_ctx, ms: number) {
        await later(Math.min(ms, 500))
        return 'answered'
      },
    },
  })
  const plan: Plan = { kind: 'all', ms: 0, of: [planOf(random, 3), planOf(random, 3)] }
  const runner = agent('runner', {
    state: () => ({ log: [] as string[] }),
    maxAttempts: 3,
    on: {
      async run(ctx) {
        let n = 0
        const told = (what: string): string => {
          ctx.state.log.push(what)
          return what
        }
        const walk = async ({ kind, ms, of }: Plan, path: string): Promise<unknown> => {
          switch (kind) {
            case 'sleep':
              return ctx.sleep(ms).then(() => told(`slept ${path}`))
            case 'step': {
              const name = `step ${path}`
              if (ms % 3 === 0) ctx.onRollback(name, () => void undone.push(name))
              await ctx.step(name, () => later(Math.floor(random() * 40)))
              return told(name)
            }
            case 'receive':
              return ctx.receive('never', { timeoutMs: ms }).then(() => told(`received ${path}`))
            case 'call':
              return ctx.call(ctx.ref(helper, path).wait(ms), { timeoutMs: 10_000 }).then(() => told(`called ${path}`))
            case 'all':
              return Promise.all(of.map((each, i) => walk(each, `${path}.${i}`)))
            case 'race':
              return Promise.race(of.map((each, i) => walk(each, `${path}.${i}`)))
            case 'shield':
              return ctx.shield(() => Promise.all(of.map((each, i) => walk(each, `${path}.${i}`))))
            case 'catch':
              try {
                for (const [i, each] of of.entries()) await walk(each, `${path}.${i}`)
              } catch (error) {
                told(`caught ${path} ${isRuntimeError(error) ? error.code : String(error)}`)
                await ctx.step(`clean ${path}`, () => n++)
                if (ms % 2 === 0) throw error
              }
              return null
            default:
              return kind satisfies never
          }
        }
        await walk(plan, 'p')
        return 'done'
      },
      never: () => null,
    },
  })
  try {
    let node: TestNode = await world.node('n0', [runner, helper])
    const begun = node.core.messenger.begin(node.ref(runner, 'r').run() as never, { idempotencyKey: 'k' })
    await world.run(begun)
    const cancelAt = Math.floor(random() * 80)
    let at = 0
    for (let death = 0; death < 2; death++) {
      const killAt = at + Math.floor(random() * 60)
      if (cancelAt >= at && cancelAt < killAt) {
        await world.advance(cancelAt - at)
        const handle = await world.run(node.core.messenger.handle('runner/r', 'k'))
        handle.cancel(`seed ${seed}`).catch(() => {})
        at = cancelAt
      }
      await world.advance(killAt - at)
      at = killAt
      node.kill()
      node = await world.node(`n${death + 1}`, [runner, helper])
    }
    const handle = await world.run(node.core.messenger.handle('runner/r', 'k'))
    await world.run(handle.cancel('at last'))
    const outcome = await world.run(
      handle.result().then(
        (value) => String(value),
        (error: { code: string }) => error.code,
      ),
    )
    const diverged = world.nodes.flatMap((each) => each.seen('process:diverge'))
    expect(diverged, `seed ${seed}`).toEqual([])
    expect(['done', 'CANCELLED'], `seed ${seed}: ${outcome}`).toContain(outcome)
    if (outcome === 'done') expect(undone, `seed ${seed}`).toEqual([])
    const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['runner/r'])
    expect(counts.get('runner/r') ?? 0, `seed ${seed}`).toBe(0)
    return outcome
  } finally {
    await world.close()
  }
}

test('[Y2] random turns, cancelled and killed at random times, come to one end', async () => {
  const outcomes = new Map<string, number>()
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = await trial(seed)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  expect([...outcomes.keys()].toSorted()).toEqual(['CANCELLED', 'done'])
}, 120_000)
