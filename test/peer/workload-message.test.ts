/** dbos-workload on nodes over one Postgres: messages, events, timers and the values they carry. */
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Value } from '../../shared/value.ts'
import { testDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { seededRandom } from '../support/virtual-clock.ts'

const database = testDatabase()
let sql: postgres.Sql
let world: World
let oracle: Oracle
let run = 0

beforeAll(() => {
  sql = postgres({ ...database.connection, max: 2 })
})
afterAll(() => sql.end())
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
  run += 1
})
afterEach(() => world.close())

const k = (name: string | number): string => `${name}-${run}`
const waiting = async (id: string): Promise<number> =>
  (await sql`select 1 from vivarium.mailbox where target = ${id}`).length

test('[L4] dbos-workload: notifications deliver exactly once', async () => {
  const NOTES = 200
  const inbox = agent('inbox', {
    state: () => ({ log: [] as string[], empty: 0 }),
    passivateAfterMs: 100,
    on: {
      async collect(ctx, count: number) {
        while (ctx.state.log.length < count) {
          const got = await ctx.receive<string>('note', { timeoutMs: 150 })
          if (got === null) ctx.state.empty += oracle.hit('empty') > 0 ? 1 : 0
          else if (!ctx.state.log.includes(got.message)) ctx.state.log.push(got.message)
          if (ctx.state.log.length % 20 === 0) await ctx.checkpoint()
        }
        return ctx.state.log.length
      },
      note: (ctx, text: string) => void ctx.state.log.push(text),
    },
  })
  const key = k('i')
  let a = await world.node('a', [inbox])
  const b = await world.node('b', [inbox])
  const handle = await a.start(a.ref(inbox, key).collect(NOTES), { idempotencyKey: 'collect' })
  // Each note is begun under its name by two nodes: it is one note, whoever was first.
  const note = (from: TestNode, i: number) =>
    from.start(from.ref(inbox, key).note(`n${i}`), { idempotencyKey: `n${i}` })
  for (let i = 0; i < NOTES; i += 50) {
    const both = await Promise.all(Array.from({ length: 50 }, (_, j) => Promise.all([note(a, i + j), note(b, i + j)])))
    for (const pair of both) expect(pair.filter(({ created }) => created)).toHaveLength(1)
    if (i === 50) await world.until(() => oracle.count('empty') > 0, 'a receive in vain')
    if (i === 100) {
      a.kill()
      a = await world.node('c', [inbox])
    }
  }
  expect(handle.created).toBe(true)
  expect(await world.run((await b.core.messenger.handle(`inbox/${key}`, 'collect')).result())).toBe(NOTES)
  const stored = (await b.stored(`inbox/${key}`)) as { log: string[]; empty: number }
  expect([...stored.log].sort()).toEqual(Array.from({ length: NOTES }, (_, i) => `n${i}`).sort())
  expect(stored.empty).toBeGreaterThan(0)
  // Nobody waits and nothing is left: the next note is heard by its own handler.
  await world.until(async () => (await waiting(`inbox/${key}`)) === 0)
  await b.ref(inbox, key).note('after')
  expect(((await b.stored(`inbox/${key}`)) as { log: string[] }).log.at(-1)).toBe('after')
})

test('[L4] dbos-workload: events of a broker process exactly once', async () => {
  const EVENTS = 120
  const consumer = agent('consumer', {
    state: () => ({ sum: 0, seen: [] as number[] }),
    on: {
      async take(ctx, event: { offset: number; by: number }) {
        await ctx.step('effect', () => oracle.hit(`effect ${event.offset}`))
        ctx.state.sum += event.by
        ctx.state.seen.push(event.offset)
      },
    },
  })
  const key = k('c')
  // A broker's log with a committed offset: what follows it is delivered again after each death, in batches.
  let committed = 0
  const poll = async (node: TestNode, dieBefore: boolean): Promise<void> => {
    while (committed < EVENTS && !node.dead) {
      const batch = Array.from({ length: Math.min(15, EVENTS - committed) }, (_, i) => committed + i)
      for (const offset of batch) {
        await node.start(node.ref(consumer, key).take({ offset, by: offset }), { idempotencyKey: `p0-${offset}` })
      }
      // The death between the last start and the commit of its offset is the one that delivers twice.
      if (dieBefore && committed >= 30) return node.kill()
      committed += batch.length
      if (committed >= 60 && dieBefore === false && world.nodes.length < 3) return node.kill()
    }
  }
  await poll(await world.node('a', [consumer]), true)
  expect(committed).toBe(30)
  await poll(await world.node('b', [consumer]), false)
  expect(committed).toBe(60)
  const c = await world.node('c', [consumer])
  await poll(c, false)
  const state = async () => (await c.stored(`consumer/${key}`)) as { sum: number; seen: number[] }
  await world.until(async () => (await state()).seen.length >= EVENTS)
  expect(await state()).toEqual({
    sum: (EVENTS * (EVENTS - 1)) / 2,
    seen: Array.from({ length: EVENTS }, (_, i) => i),
  })
  for (let i = 0; i < EVENTS; i++) expect(oracle.count(`effect ${i}`)).toBeLessThanOrEqual(2)
})

const debouncer = agent('debouncer', {
  state: () => ({ latest: null as string | null, log: [] as string[] }),
  on: {
    bounce(ctx, text: string) {
      ctx.state.latest = text
      ctx.state.log.push(`bounce ${text}`)
      ctx.after(30, 'fire', text, { name: 'quiet' })
    },
    fire(ctx, text: string) {
      ctx.state.log.push(`fire ${text} ${ctx.state.latest}`)
      ctx.state.latest = null
    },
  },
})

/** What debouncing promises of a log of bounces and fires. */
function checkDebounce(log: readonly string[]): { fires: number } {
  let open: string | null = null
  let fires = 0
  for (const line of log) {
    const [what, text, latest] = line.split(' ')
    if (what === 'bounce') open = text ?? null
    else {
      // A fire without a bounce before it, or with older input than the last one, has broken the promise.
      expect([text, latest], line).toEqual([open, open])
      open = null
      fires += 1
    }
  }
  expect(open, 'a bounce that was dropped').toBeNull()
  return { fires }
}

test('[L4] dbos-workload: debounced work coalesces exactly once', async () => {
  const BOUNCES = 40
  const KEYS = 12
  const [a, b] = [await world.node('a', [debouncer]), await world.node('b', [debouncer])]
  const random = seededRandom(7)
  const bounce = async (key: string): Promise<void> => {
    for (let i = 0; i < BOUNCES; i++) {
      const node = i % 2 === 0 || a.dead ? b : a
      await node
        .ref(debouncer, key)
        .bounce(`${i}`)
        .run({ timeoutMs: 15_000 })
        .catch(() => node.send(b.ref(debouncer, key).bounce(`${i}`)).catch(() => {}))
      // Around the moment in which the timer fires.
      if (random.next() < 0.5) await world.advance(25 + Math.floor(random.next() * 12))
    }
  }
  const keys = Array.from({ length: KEYS }, (_, i) => k(`d${i}`))
  await Promise.all(keys.map(bounce))
  const log = async (key: string) => ((await b.stored(`debouncer/${key}`)) as { log: string[] }).log
  await world.until(async () => (await Promise.all(keys.map(log))).every((lines) => lines.at(-1)?.startsWith('fire')))
  let all = 0
  for (const key of keys) {
    const lines = await log(key)
    const { fires } = checkDebounce(lines)
    expect(lines.filter((line) => line.startsWith('bounce'))).toHaveLength(BOUNCES)
    expect(fires).toBeLessThan(BOUNCES)
    all += fires
  }
  // Many cycles ended and many bounces were taken in by one: both sides of the race were met.
  expect(all).toBeGreaterThan(KEYS * 3)
})

test('[L4] dbos-workload: a schedule is applied atomically', async () => {
  const plan = agent('plan', {
    state: () => ({ fired: [] as string[] }),
    on: {
      apply(ctx, { name, ms }: { name: string; ms: number }) {
        ctx.after(ms, 'fire', name, { name: 'daily' })
        return name
      },
      fire: (ctx, name: string) => void ctx.state.fired.push(name),
    },
  })
  const [a, b] = [await world.node('a', [plan]), await world.node('b', [plan])]
  const key = k('s')
  // Eight appliers of one name, from two nodes, all of which succeed; one row is left, of the one that came last.
  const apply = (ms: number) =>
    Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const node = i % 2 === 0 ? a : b
        return node
          .ref(plan, key)
          .apply({ name: `v${i}`, ms })
          .run({ timeoutMs: 15_000 })
      }),
    )
  expect(await apply(60_000)).toHaveLength(8)
  const rows = await sql`select name, arm, args from vivarium.timers where target = ${`plan/${key}`}`
  expect(rows).toHaveLength(1)
  await apply(100)
  await world.until(async () => ((await a.stored(`plan/${key}`)) as { fired: string[] }).fired.length > 0)
  await world.advance(300)
  expect(((await a.stored(`plan/${key}`)) as { fired: string[] }).fired).toHaveLength(1)
  expect(await sql`select 1 from vivarium.timers where target = ${`plan/${key}`}`).toHaveLength(0)
})

test('[L4] dbos-workload: scheduled work fires predictably', async () => {
  /** Ms that a machine under load may be late; early is never right. */
  const LATE_MS_MAX = 5_000
  /** Ms by which two nodes may judge the time of the database differently. */
  const SKEW_MS_MAX = 20
  const TICKS = 300
  const alarm = agent('alarm', {
    state: () => ({ fired: [] as { due: number; at: number; n: number }[] }),
    on: {
      set(ctx, { ms, n }: { ms: number; n: number }) {
        ctx.after(ms, 'ring', { due: ctx.now() + ms, n }, { name: `${n}` })
      },
      ring: (ctx, { due, n }: { due: number; n: number }) => void ctx.state.fired.push({ due, at: ctx.now(), n }),
    },
  })
  const a = await world.node('a', [alarm])
  const random = seededRandom(11)
  const keys = Array.from({ length: 10 }, (_, i) => k(`w${i}`))
  const sets = keys.flatMap((key, i) =>
    Array.from({ length: TICKS / keys.length }, (_, j) => ({
      key,
      n: i * 100 + j,
      ms: Math.floor(random.next() * 1_500),
    })),
  )
  await Promise.all(sets.map(({ key, n, ms }) => a.ref(alarm, key).set({ ms, n })))
  await world.advance(300)
  a.kill()
  const b = await world.node('b', [alarm])
  const fired = async () =>
    (
      await Promise.all(
        keys.map(
          async (key) =>
            ((await b.stored(`alarm/${key}`)) as { fired: { due: number; at: number; n: number }[] }).fired,
        ),
      )
    ).flat()
  await world.until(async () => (await fired()).length >= TICKS)
  await world.advance(100)
  const all = await fired()
  expect(all.map(({ n }) => n).sort((x, y) => x - y)).toEqual(sets.map(({ n }) => n).sort((x, y) => x - y))
  for (const { due, at } of all) {
    expect(at - due).toBeGreaterThanOrEqual(-SKEW_MS_MAX)
    expect(at - due).toBeLessThan(LATE_MS_MAX)
  }
})

test('[L4] dbos-workload: inputs keep their types', async () => {
  const at = new Date('2026-02-29T12:00:00.001Z')
  const day = new Date(Date.UTC(2026, 1, 28, 23, 59, 59, 999))
  expect(at.getTime()).toBe(Date.UTC(2026, 2, 1, 12, 0, 0, 1))
  const input: Record<string, Value> = {
    day,
    bytes: new Uint8Array([0, 255, 7]),
    map: new Map<string, Value>([
      ['a', day],
      ['$date', [1, null]],
    ]),
    set: new Set(['x', 3, null]),
    text: '\u0000 \ud800 é😀',
    odd: { $date: 'mine', $n: 1, '': -0 },
    numbers: [Number.MAX_SAFE_INTEGER, 0.1 + 0.2, -0, 5e-324],
  }
  const seen: unknown[] = []
  const box = agent('box', {
    state: () => ({ all: [] as Value[] }),
    on: {
      put(ctx, value: Record<string, Value>) {
        seen.push(value)
        ctx.state.all.push(value)
        return value
      },
      later: (ctx, value: Record<string, Value>) => void ctx.after(1, 'put', value),
      async through(ctx, value: Record<string, Value>) {
        const stepped = await ctx.step('step', () => (oracle.hit('step') === 1 ? value : {}))
        await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        ctx.state.all.push(await ctx.call(ctx.ref(box2, ctx.key).put(stepped)))
      },
    },
  })
  const box2 = agent('box2', { state: () => ({}), on: { put: (_ctx, value: Record<string, Value>) => value } })
  const key = k('b')
  const a = await world.node('a', [box, box2])
  expect(await a.ref(box, key).put(input)).toEqual(input)
  await a.send(a.ref(box, key).put(input))
  const handle = await a.start(a.ref(box, key).put(input), { idempotencyKey: 'one' })
  expect(await handle.result()).toEqual(input)
  await a.ref(box, key).later(input)
  await a.send(a.ref(box, key).through(input))
  await world.until(() => oracle.count('hang') === 1)
  await world.advance(50)
  a.kill()
  const b = await world.node('b', [box, box2])
  const all = async () => ((await b.stored(`box/${key}`)) as { all: Value[] }).all
  await world.until(async () => (await all()).length === 5)
  for (const value of [...seen, ...(await all())]) expect(value).toEqual(input)
  expect([seen.length, oracle.count('step')]).toEqual([4, 1])
  // What has no type here fails as itself and at the verb, not later and not as something else.
  for (const [bad, path] of [
    [{ a: [1, Number.NaN] }, 'a'],
    [{ f: () => 1 }, 'f'],
    [{ d: new Date(Number.NaN) }, 'd'],
  ] as const) {
    const refused = await b.send(b.ref(box, key).put(bad as never)).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'VALUE_UNSUPPORTED', message: expect.stringContaining(path) })
  }
})
