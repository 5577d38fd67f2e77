/** Vercel's event-log-race scenarios on nodes over one Postgres: storms of steps, hooks and branches over deaths. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { testDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { JournalBook } from './journal-book.ts'

const database = testDatabase()
let world: World
let oracle: Oracle
let book: JournalBook

beforeAll(() => {
  book = new JournalBook(database.connection)
})
afterAll(() => book.close())
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
})
afterEach(() => world.close())

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const stored = (node: TestNode): Set<string> =>
  new Set(node.written().flatMap((entry) => (entry.k === 'step' ? [entry.key] : [])))

test('[L6] vercel event-log-race: step storm', async () => {
  const WIDTH = 2_000
  /** Results after which the order so far decides what the next step is called. */
  const VERIFY_EVERY = 100
  const leaf = async (ctx: Context<unknown>, name: string, i: number): Promise<number> => {
    oracle.hit(`${ctx.key} ${name}`)
    await world.advance((i * 37) % 250)
    return i
  }
  const storm = agent('storm', {
    state: () => ({ sum: 0, order: '' }),
    on: {
      async run(ctx, width: number) {
        let results = 0
        const order: number[] = []
        const branch = async (i: number): Promise<number> => {
          const got = await ctx.step('first', () => leaf(ctx, `first:f${i}`, i), { key: `f${i}` })
          order.push(got)
          results += 1
          // A position in the order of arrival becomes an identity: another order is another history.
          if (results % VERIFY_EVERY === 0) {
            const key = `v${results}.${got}`
            await ctx.step('verify', () => leaf(ctx, `verify:${key}`, 1), { key })
          }
          // The number of steps follows from the result.
          let sum = got
          for (let j = 0; j < got % 3; j++) {
            const key = `m${i}.${j}`
            sum += await ctx.step('more', () => leaf(ctx, `more:${key}`, (i + j) % 7), { key })
          }
          return sum
        }
        const sums = await Promise.all(range(width).map(branch))
        ctx.state.sum = sums.reduce((x, y) => x + y, 0)
        ctx.state.order = order.join(',')
      },
    },
  })
  let node = await world.node('n0', [storm])
  await node.send(node.ref(storm, 's').run(WIDTH))
  /** Stored steps, with the number of their runs until then: one that a death cut short had run before. */
  const before = new Map<string, number>()
  for (const share of [0.2, 0.5]) {
    await world.until(() => stored(node).size >= WIDTH * share, `${share} of the storm`)
    node.kill()
    for (const step of stored(node)) before.set(step, oracle.count(`s ${step}`))
    node = await world.node(`n${share}`, [storm])
  }
  const state = async () => (await node.stored('storm/s')) as { sum: number; order: string } | undefined
  await world.until(async () => (await state())?.order !== '', 'the end of the storm')
  const want = range(WIDTH).reduce((sum, i) => sum + i + range(i % 3).reduce((more, j) => more + ((i + j) % 7), 0), 0)
  const end = await state()
  expect(end?.sum).toBe(want)
  expect(new Set(end?.order.split(',')).size).toBe(WIDTH)
  const steps = (await book.expectWhole('storm')).get('storm/s') ?? []
  expect(steps).toHaveLength(WIDTH + WIDTH / VERIFY_EVERY + range(WIDTH).reduce((sum, i) => sum + (i % 3), 0))
  expect(before.size).toBeGreaterThan(WIDTH * 0.6)
  expect([...before].filter(([step, runs]) => oracle.count(`s ${step}`) !== runs)).toEqual([])
})

test('[L6] vercel event-log-race: hook storm', async () => {
  const HOOKS = 2_000
  const order: number[][] = []
  const hooked = agent('hooked', {
    state: () => ({ got: [] as number[] }),
    passivateAfterMs: 100,
    on: {
      async gather(ctx, count: number) {
        const got: number[] = []
        order.push(got)
        await ctx.step('begin', () => oracle.hit('begin'))
        await ctx.sleep(700)
        oracle.hit('woke')
        while (got.length < count) {
          const hook = await ctx.receive<number>('hook')
          got.push(hook.message)
          oracle.hit('got')
          // Some payloads mean a step, and some the end of a part: what follows depends on what came.
          if (hook.message % 97 === 0) await ctx.step(`mark ${hook.message}`, () => oracle.hit(`mark ${hook.message}`))
        }
        ctx.state.got = got
      },
      hook: (_ctx, _n: number) => oracle.hit('handled alone'),
    },
  })
  const [a, b] = [await world.node('a', [hooked]), await world.node('b', [hooked])]
  await a.send(a.ref(hooked, 'h').gather(HOOKS))
  await world.until(() => oracle.count('begin') === 1)
  // Two nodes at once; each sends its own in order. All of it arrives while the turn sleeps, parked or not.
  const sendAll = async (node: TestNode, odd: number): Promise<void> => {
    for (let i = 0; i < HOOKS / 2; i += 50) {
      await Promise.all(range(50).map((j) => node.send(node.ref(hooked, 'h').hook((i + j) * 2 + odd))))
    }
  }
  await Promise.all([sendAll(a, 0), sendAll(b, 1)])
  await world.until(() => oracle.count('got') >= HOOKS / 3, 'a third of the hooks')
  for (const node of [a, b]) if (node.core.kernel.find('hooked/h') !== undefined) node.kill()
  const marked = new Set(oracle.log.filter((line) => line.startsWith('mark')))
  expect([a.dead, b.dead].filter(Boolean).length).toBeGreaterThan(0)
  const c = await world.node('c', [hooked])
  const state = async () => (await c.stored('hooked/h')) as { got: number[] } | undefined
  await world.until(async () => (await state())?.got.length === HOOKS, 'all hooks')
  const got = (await state())?.got ?? []
  expect([...got].sort((x, y) => x - y)).toEqual(range(HOOKS))
  const steps = (await book.expectWhole('hooked')).get('hooked/h') ?? []
  expect(steps.filter((step) => step.startsWith('mark'))).toHaveLength(Math.ceil(HOOKS / 97))
  // The replay was given what the first run was given, as far as a step that ran proves that it was stored.
  const [first = [], last = []] = [order[0], order.at(-1)]
  const proven = first.findLastIndex((message) => marked.has(`mark ${message}`))
  expect(proven).toBeGreaterThan(0)
  expect(last.slice(0, proven + 1)).toEqual(first.slice(0, proven + 1))
  await world.until(async () => (await book.waiting('hooked/h')) === 0)
  expect(oracle.count('handled alone')).toBe(0)
})

test('[L6] vercel event-log-race: blocked branch', async () => {
  const BRANCHES = 40
  const RUNS = 8
  const taken = new Map<string, Set<string>>()
  const forks = agent('forks', {
    state: () => ({ ends: [] as string[] }),
    passivateAfterMs: 60,
    on: {
      async run(ctx) {
        const branch = async (i: number): Promise<string> => {
          // Siblings are blocked here while others are already woken: a replay may hold any part of this.
          await ctx.step('launch', () => world.advance(i * 6).then(() => oracle.hit(`${ctx.key} launch ${i}`)), {
            key: `l${i}`,
          })
          const hook = ctx.receive((op, message) => op === 'done' && message === i).then(() => 'hook')
          const first = await Promise.race([hook, ctx.sleep(60 + (i % 5) * 20).then(() => 'watchdog')])
          const note = (what: string) => {
            const set = taken.get(`${ctx.key} ${i}`) ?? new Set()
            taken.set(`${ctx.key} ${i}`, set.add(what))
            return what
          }
          if (first === 'watchdog') await ctx.step('probe', () => note('watchdog'), { key: `p${i}` })
          return ctx.step('finalize', () => `${i} ${note(first)}`, { key: `z${i}` })
        }
        ctx.state.ends = await Promise.all(range(BRANCHES).map(branch))
      },
      done: (_ctx, _branch: number) => oracle.hit('late hook'),
    },
  })
  let node = await world.node('n0', [forks])
  const keys = range(RUNS).map((i) => `r${i}`)
  await Promise.all(keys.map((key) => node.send(node.ref(forks, key).run())))
  // A hook for each branch: most soon after its launch, some at its watchdog, each sent once.
  const driver = (async () => {
    const sent = new Set<string>()
    while (sent.size < RUNS * BRANCHES) {
      for (const key of keys) {
        for (const i of range(BRANCHES)) {
          if (sent.has(`${key} ${i}`) || oracle.count(`${key} launch ${i}`) === 0) continue
          sent.add(`${key} ${i}`)
          const from = node
          const late = i % 4 === 0 ? 60 + (i % 5) * 20 : i % 7
          void world
            .advance(late)
            .then(() => (from.dead ? node : from).send(node.ref(forks, key).done(i)).catch(() => {}))
        }
      }
      await world.advance(5)
    }
  })()
  for (const death of [1, 2, 3]) {
    await world.advance(90)
    node.kill()
    node = await world.node(`n${death}`, [forks])
  }
  await driver
  const ends = async (key: string) =>
    ((await node.stored(`forks/${key}`)) as { ends: string[] } | undefined)?.ends ?? []
  await world.until(async () => (await Promise.all(keys.map(ends))).every((all) => all.length === BRANCHES))
  await book.expectWhole('forks')
  const all = (await Promise.all(keys.map(ends))).flat()
  // Each branch went one way, in all its replays, and said so.
  expect([...taken].filter(([, ways]) => ways.size !== 1)).toEqual([])
  for (const key of keys) {
    for (const end of await ends(key)) {
      const [i, way] = end.split(' ')
      expect([...(taken.get(`${key} ${i}`) ?? [])]).toEqual([way])
    }
  }
  for (const way of ['hook', 'watchdog']) {
    expect(all.filter((end) => end.endsWith(way)).length, way).toBeGreaterThan(RUNS)
  }
})
