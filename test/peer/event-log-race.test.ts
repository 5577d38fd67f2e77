/** Vercel's event-log-race scenarios on nodes over one Postgres: races of hooks and time, loops, a step that kills. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { testDatabase } from '../support/database.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { seededRandom } from '../support/virtual-clock.ts'
import { JournalBook } from './journal-book.ts'
import { TASKS, taskPool, VICTIM, WIDTH } from './task-pool.ts'

const CHILD = fileURLToPath(new URL('./task-child.ts', import.meta.url))

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

/** Ms: a machine that does ten other things must not fail these. */
const STORM_MS_MAX = 90_000

test('[L6] vercel event-log-race: hook-sleep race', { timeout: STORM_MS_MAX }, async () => {
  const SEEDS = 300
  /** What each seed did in the world: a branch that was taken stays taken. */
  const ways = new Map<string, string[]>()
  const note = (key: string, what: string): string => {
    ways.set(key, [...(ways.get(key) ?? []), what])
    return what
  }
  const racer = agent('racer', {
    state: () => ({ log: [] as string[] }),
    passivateAfterMs: 50,
    on: {
      async run(ctx, ms: number) {
        const log: string[] = []
        const hook = ctx.receive<string>('hook').then(({ message }) => `hook ${message}`)
        const first = await Promise.race([hook, ctx.sleep(ms).then(() => 'sleep')])
        log.push(first)
        // One way has a step more than the other.
        if (first === 'sleep') await ctx.step('late', () => note(ctx.key, 'race sleep'))
        else for (const part of ['one', 'two']) await ctx.step(part, () => note(ctx.key, 'race hook'))
        const timed = await ctx.receive<string>('other', { timeoutMs: ms })
        log.push(timed === null ? 'time' : `other ${timed.message}`)
        const way = timed === null ? 'timed sleep' : 'timed hook'
        for (const part of timed === null ? ['c'] : ['d', 'e']) await ctx.step(part, () => note(ctx.key, way))
        await ctx.step('hang', () => (oracle.hit(`hang ${ctx.key}`) === 1 ? new Promise(() => {}) : null))
        ctx.state.log = log
      },
      hook: (_ctx, _word: string) => oracle.hit('hook alone'),
      other: (_ctx, _word: string) => oracle.hit('other alone'),
    },
  })
  let node = await world.node('n0', [racer])
  const next = async (name: string): Promise<void> => {
    node.kill()
    node = await world.node(name, [racer])
  }
  const send = async (key: string, op: 'hook' | 'other'): Promise<void> => {
    // Sent once to the store, by whichever node is alive; a death in the middle leaves it sent or not sent.
    const from = node
    await Promise.race([from.send(from.ref(racer, key)[op](op)), world.until(() => from.dead)]).catch(() => {})
  }
  /**
   * When a rival of a sleep is sent. Most are sent about when the sleep is over, which is the race; who wins those is
   * the machine's doing. So some are sent at once, some once the sleep has won: each branch is taken on any machine.
   */
  const moment = async (at: number, ms: number, offset: number, won: () => boolean): Promise<void> => {
    if (at < 0.1) return
    if (at < 0.2) await world.until(won, 'a sleep without a rival')
    else await world.advance(Math.max(0, ms + Math.floor(offset * 60) - 40))
  }
  const play = async (seed: number): Promise<void> => {
    const random = seededRandom(Math.imul(seed, 0x9e3779b1))
    const key = `s${seed}`
    const ms = 40 + Math.floor(random.next() * 160)
    await node.send(node.ref(racer, key).run(ms))
    await moment(random.next(), ms, random.next(), () => ways.has(key))
    await send(key, 'hook')
    await world.until(() => ways.has(key), `the first decision of ${key}`)
    await moment(random.next(), ms, random.next(), () => ways.get(key)?.at(-1) === 'timed sleep')
    await send(key, 'other')
  }
  const SHARE = SEEDS / 3
  // A third at a time, and a death in the middle of each.
  for (const part of range(3)) {
    const playing = Promise.all(range(SHARE).map((i) => play(part * SHARE + i)))
    await world.until(() => ways.size >= part * SHARE + SHARE / 2, 'half of a third')
    await next(`n${part + 1}`)
    await playing
  }
  await world.until(() => range(SEEDS).every((i) => oracle.count(`hang s${i}`) >= 1), 'all at their last step')
  await next('last')
  const log = async (i: number) => ((await node.stored(`racer/s${i}`)) as { log: string[] } | undefined)?.log ?? []
  await world.until(async () => (await Promise.all(range(SEEDS).map(log))).every((lines) => lines.length === 2))
  await book.expectWhole('racer')
  const count = { sleep: 0, hook: 0, time: 0, other: 0 }
  for (const i of range(SEEDS)) {
    const [race = '', timed = ''] = await log(i)
    const [first, second] = [race.split(' ')[0], timed.split(' ')[0]]
    const all = new Set(ways.get(`s${i}`))
    expect([i, ...all].sort()).toEqual([i, `race ${first}`, second === 'time' ? 'timed sleep' : 'timed hook'].sort())
    count[first as 'sleep' | 'hook'] += 1 // the words that the handler writes
    count[second as 'time' | 'other'] += 1 // as above
  }
  for (const [way, times] of Object.entries(count)) expect(times, way).toBeGreaterThan(SEEDS / 20)
})

test('[L6] vercel event-log-race: wake loop', { timeout: STORM_MS_MAX }, async () => {
  const LOOPS = 12
  const WAKES = 40
  const BEAT_MS = 60
  const loop = agent('loop', {
    state: () => ({ log: [] as string[], wakes: 0, late: 0 }),
    passivateAfterMs: 40,
    on: {
      async run(ctx) {
        const log: string[] = []
        let [seen, wakes, cycle] = [0, 0, 0]
        const work = async (): Promise<number> => {
          cycle += 1
          await ctx.step('verify', () => oracle.hit('verify'))
          const drained = await ctx.step('drain', () => (oracle.hit('drain') * 7 + cycle) % 5)
          await ctx.step('verify', () => oracle.hit('verify'))
          await ctx.step('sync', () => oracle.hit('sync'))
          return drained
        }
        while (seen < WAKES) {
          oracle.hit(`${ctx.key} at ${seen}`)
          const wake = await ctx.receive<number>('wake', { timeoutMs: BEAT_MS })
          if (wake !== null) wakes += 1
          // A stale wake emits no step at all.
          if (wake !== null && wake.message <= seen) continue
          seen = wake?.message ?? seen
          log.push(wake === null ? 'beat' : `wake ${seen}`)
          // Now and then a cycle follows at once: the result of a step decides it.
          if ((await work()) === 0) log.push(`again ${await work()}`)
          if (wake === null) await ctx.step('verify', () => oracle.hit('verify'))
        }
        ctx.state.log = log
        ctx.state.wakes += wakes
      },
      wake(ctx, _n: number) {
        ctx.state.late += 1
      },
    },
  })
  let node = await world.node('n0', [loop])
  const keys = range(LOOPS).map((i) => `l${i}`)
  await Promise.all(keys.map((key) => node.send(node.ref(loop, key).run())))
  const sent = new Map<string, number>()
  /** Sends until the store has it: a repeat after a death is a wake more, and stale. */
  const wake = async (key: string, n: number): Promise<void> => {
    for (;;) {
      await world.until(() => !node.dead, 'a node')
      const from = node
      const id = await Promise.race([from.send(from.ref(loop, key).wake(n)), world.until(() => from.dead)]).catch(
        () => undefined,
      )
      if (id !== undefined) return void sent.set(key, (sent.get(key) ?? 0) + 1)
    }
  }
  const drive = async (key: string, seed: number): Promise<void> => {
    const random = seededRandom(Math.imul(seed + 1, 0x85ebca6b))
    for (let n = 1; n <= WAKES; ) {
      const kind = random.next()
      // Single, in bursts with stale ones among them, and aimed at the heartbeat.
      if (kind < 0.4) await wake(key, n++)
      else if (kind < 0.7) {
        const burst = range(4).map((i) => Math.min(WAKES, n + (i % 3)))
        await Promise.all(burst.map((at) => wake(key, at)))
        n = Math.min(WAKES, n + 2) + 1
      } else {
        await world.until(() => oracle.count(`${key} at ${n - 1}`) > 0, `wake ${n - 1} of ${key}`)
        await world.advance(BEAT_MS - 8 + Math.floor(random.next() * 16))
        await wake(key, n++)
      }
      await world.advance(Math.floor(random.next() * 10))
    }
    await wake(key, WAKES)
  }
  const driving = Promise.all(keys.map(drive))
  for (const death of [1, 2, 3]) {
    const cycles = oracle.count('sync')
    await world.until(() => oracle.count('sync') > cycles + LOOPS * 6)
    node.kill()
    node = await world.node(`n${death}`, [loop])
  }
  await driving
  type State = { log: string[]; wakes: number; late: number }
  const states = async () =>
    Promise.all(keys.map(async (key) => (await node.stored(`loop/${key}`)) as State | undefined))
  await world.until(async () => (await states()).every((state) => state !== undefined && state.log.length > 0))
  for (const key of keys) await world.until(async () => (await book.waiting(`loop/${key}`)) === 0)
  const steps = await book.expectWhole('loop')
  let beats = 0
  for (const [i, state] of (await states()).entries()) {
    const key = `l${i}`
    const { log = [], wakes = 0, late = 0 } = state ?? {}
    // Every wake was received or handled, once; those that count came in their order.
    const unsure = world.nodes.length
    expect(wakes + late).toBeGreaterThanOrEqual(sent.get(key) ?? 0)
    expect(wakes + late).toBeLessThanOrEqual((sent.get(key) ?? 0) + unsure * 4)
    const seen = log.flatMap((line) => (line.startsWith('wake') ? [Number(line.split(' ')[1])] : []))
    expect([...seen].sort((x, y) => x - y)).toEqual(seen)
    expect(seen.at(-1)).toBe(WAKES)
    const cycles = log.length
    const own = log.filter((line) => line === 'beat').length
    beats += own
    expect(steps.get(`loop/${key}`)?.length).toBe(cycles * 4 + own)
  }
  expect(beats).toBeGreaterThan(LOOPS)
})

test('[L6] vercel event-log-race: inline hang', { timeout: STORM_MS_MAX }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'vivarium-peer-'))
  const effects = join(dir, 'effects')
  const proxy = await PostgresProxy.make(() => database.connection)
  await proxy.open()
  const pool = taskPool(effects)
  // A real process, whose victim task ends it by SIGKILL in the middle of a full pool.
  const child = fork(CHILD, [proxy.url, effects], {
    execArgv: ['--conditions=vivarium-source'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const [, signal] = await once(child, 'exit')
  expect(signal, errors).toBe('SIGKILL')
  const lines = async (): Promise<string[]> => (await readFile(effects, 'utf8')).trim().split('\n')
  const before = await lines()
  const storedSteps = [...(await book.entries('tasks')).values()]
    .flat()
    .flatMap((entry) => (entry.k === 'step' ? [entry.key] : []))
  expect(before.length - storedSteps.length).toBeGreaterThan(0)
  const node: TestNode = await world.node('next', [pool])
  const handle = await node.start(node.ref(pool, 'p').run(), { idempotencyKey: 'run' })
  expect(handle.created).toBe(false)
  expect(await world.run(handle.result())).toBe(range(TASKS).reduce((x, y) => x + y, 0))
  await book.expectWhole('tasks')
  const after = await lines()
  const times = (task: string): number => after.filter((line) => line === task).length
  // What was stored ran once; what was in flight when the process died ran again, and nothing else.
  expect(storedSteps.length).toBeGreaterThan(VICTIM - WIDTH)
  for (const step of storedSteps) expect([step, times(step.split(':')[1] ?? step)]).toEqual([step, 1])
  expect(times(`t${VICTIM}`)).toBe(2)
  for (const i of range(TASKS)) expect([1, 2]).toContain(times(`t${i}`))
  expect(after.length).toBeLessThanOrEqual(TASKS + WIDTH)
  await proxy.cut()
  await rm(dir, { recursive: true, force: true })
})
