/** Sleeping inside a turn: recorded due times, crashes, the order of waking, and bounds. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Oracle, World } from '../support/runtime.ts'

const START = 1_700_000_000_000
const HOUR = 3_600_000
const YEAR = 365 * 24 * HOUR

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const elapsed = (): number => world.clock.now() - START

const sleeper = agent('sleeper', {
  state: () => ({ at: [] as number[], log: [] as string[] }),
  on: {
    async nap(ctx, ms: number) {
      ctx.state.at.push(ctx.now() - START)
      await ctx.sleep(ms)
      oracle.hit('woke')
      ctx.state.at.push(ctx.now() - START)
      await ctx.step('after', () => oracle.hit('after'))
    },
    async until(ctx, at: number) {
      await ctx.sleepUntil(new Date(at))
      ctx.state.at.push(ctx.now() - START)
    },
    async race(ctx) {
      for (let i = 0; i < 3; i++) {
        const winner = await Promise.race([
          ctx.sleep(50).then(() => 'slept'),
          ctx.step(
            'work',
            () => new Promise<string>((done) => void world.clock.after(20 + i * 20, () => done('worked'))),
          ),
        ])
        ctx.state.log.push(`${winner} ${i}`)
        await ctx.sleep(100)
      }
    },
    async bad(ctx, ms: string) {
      await ctx.sleep(Number(ms))
    },
    async badUntil(ctx, at: number) {
      await ctx.sleepUntil(at)
    },
    async forever(ctx, ms: string) {
      ctx.after(Number(ms), 'nap', 1)
    },
  },
})

describe('sleep', () => {
  test('[W1] a sleep ends at its time, not before; now is then the time of waking', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.send(node.ref(sleeper, 'k').nap(1_000)))
    await world.advance(995)
    expect(oracle.count('woke')).toBe(0)
    await world.advance(50)
    expect(oracle.count('woke')).toBe(1)
    expect(node.core.layer.committed('sleeper/k')?.value).toMatchObject({
      at: [expect.any(Number), expect.any(Number)],
    })
    const [begun = 0, ended = 0] = ((await node.stored('sleeper/k')) as { at: number[] }).at
    expect(ended - begun).toBeGreaterThanOrEqual(1_000)
    expect(ended - begun).toBeLessThan(1_010)
  })

  test('[W1] a short sleep makes no timer row, and a turn of sleeps costs one row per pause', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.ref(sleeper, 'k').nap(5))
    const rows = node.faults.committed.filter((row) => row.id === 'sleeper/k')
    expect(rows.flatMap((row) => row.timers ?? [])).toEqual([])
    expect(rows.length).toBeLessThanOrEqual(3)
  })

  test('[W1] a crash waits for the rest only; the waking is handed over with the same now', async () => {
    const a = await world.node('a', [sleeper])
    await a.call(a.send(a.ref(sleeper, 'k').nap(10_000)))
    await world.advance(6_000)
    a.kill()
    const b = await world.node('b', [sleeper])
    await world.until(() => oracle.count('after') === 1)
    expect(elapsed()).toBeLessThan(10_200)
    expect(elapsed()).toBeGreaterThanOrEqual(10_000)
    await world.advance(100)
    const [begun = 0, ended = 0] = ((await b.stored('sleeper/k')) as { at: number[] }).at
    expect(ended - begun).toBeGreaterThanOrEqual(10_000)
  })

  test('[W1] a crash in each commit of a sleeping turn changes nothing of what it did', async () => {
    for (let nth = 1; nth <= 3; nth++) {
      const at = world.clock.now()
      const a = await world.node(`a${nth}`, [sleeper])
      let seen = 0
      a.faults.plan(({ method, batch }) => {
        if (method !== 'commit' || !batch.some((row) => row.id === `sleeper/k${nth}`)) return undefined
        seen += 1
        return seen === nth ? { kind: 'die', when: 'after' } : undefined
      })
      await a.call(a.send(a.ref(sleeper, `k${nth}`).nap(2_000)))
      await world.until(() => a.dead)
      const b = await world.node(`b${nth}`, [sleeper])
      await world.until(async () => (await length(b, `sleeper/k${nth}`)) === 2)
      expect(world.clock.now() - at).toBeLessThan(2_600)
      await b.stop()
    }
  })

  test('[W1] one that was due for a year while no node ran ends once when the next is up', async () => {
    const a = await world.node('a', [sleeper])
    await a.call(a.send(a.ref(sleeper, 'k').nap(HOUR)))
    await world.advance(100)
    a.kill()
    world.jump(YEAR)
    const b = await world.node('b', [sleeper])
    await world.until(async () => (await length(b, 'sleeper/k')) === 2)
    expect([oracle.count('woke'), oracle.count('after')]).toEqual([1, 1])
    const [, ended = 0] = ((await b.stored('sleeper/k')) as { at: number[] }).at
    expect(ended).toBeGreaterThanOrEqual(YEAR)
  })

  test('[W1] until an instant: past ends at once, a date years ahead is kept exactly', async () => {
    const node = await world.node('a', [sleeper])
    await node.call(node.ref(sleeper, 'past').until(START - 5))
    expect(elapsed()).toBeLessThan(100)
    await node.call(node.send(node.ref(sleeper, 'far').until(START + 20 * YEAR)))
    await world.advance(2 * HOUR)
    expect(await length(node, 'sleeper/far')).toBe(0)
    const timers = [...(world.db?.timers.values() ?? [])].flatMap((byName) => [...byName.values()])
    expect(timers.map(({ due }) => due)).toEqual([START + 20 * YEAR])
  })

  test('[W1] sleeps race with steps in a loop, and a replay sees the same winners', async () => {
    const a = await world.node('a', [sleeper])
    await a.call(a.send(a.ref(sleeper, 'k').race()))
    await world.advance(330)
    a.kill()
    const b = await world.node('b', [sleeper])
    await world.until(async () => ((await b.stored('sleeper/k')) as { log: string[] }).log.length === 3)
    expect(await b.stored('sleeper/k')).toMatchObject({ log: ['worked 0', 'worked 1', 'slept 2'] })
    expect(b.seen('process:diverge')).toEqual([])
  })

  test('[W1] what is no duration is refused at the verb, for sleeps and timers', async () => {
    const node = await world.node('a', [sleeper])
    const refused = async (call: PromiseLike<unknown>): Promise<string> => (await world.refusal(call)).message
    // As text: a message holds no number that is none.
    for (const ms of ['-1', 'Infinity', 'NaN', String(101 * 366 * 24 * HOUR)]) {
      expect(await refused(node.ref(sleeper, 'x').bad(ms))).toContain('REQUEST_INVALID')
      expect(await refused(node.ref(sleeper, 'z').forever(ms))).toContain('REQUEST_INVALID')
    }
    expect(await refused(node.ref(sleeper, 'y').badUntil(START + 200 * YEAR))).toContain('REQUEST_INVALID')
  })
})

async function length(node: { stored(id: string): Promise<unknown> }, id: string): Promise<number> {
  return ((await node.stored(id)) as { at: number[] } | undefined)?.at.length ?? 0
}
