/** dbos-workload on nodes over one Postgres: what is recovered, repeated or retried happened once. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import { testDatabase } from '../support/database.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const database = testDatabase()
let world: World
let oracle: Oracle
let run = 0

beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
  run += 1
})
afterEach(() => world.close())

/** Keys of one test: all tests of the file share a database. */
const k = (name: string | number): string => `${name}-${run}`
const errorOf = (error: unknown) =>
  error as { code: string; message: string; detail?: Record<string, unknown>; cause?: unknown } // runtime errors only

/** Steps of which a node stored the result, as `<process> <key>`. */
const storedSteps = (node: TestNode): string[] =>
  node.faults.committed.flatMap((row) =>
    decodeEntries(row.payload).flatMap((entry) =>
      entry.k === 'step' ? [`${row.id} ${entry.key.replace(/#0$/, '')}`] : [],
    ),
  )

const flow = agent('flow', {
  state: () => ({ runs: 0 }),
  on: {
    async run(ctx, steps: number) {
      for (let i = 0; i < steps; i++) {
        await ctx.step(`s${i}`, async () => {
          oracle.hit(`${ctx.id} s${i}`)
          await world.advance((Number(ctx.key.split('-')[0]) * 7 + i * 5) % 20)
        })
      }
      ctx.state.runs += 1
      return steps
    },
  },
})

test('[L3] dbos-workload: workflows recover exactly once', async () => {
  const FLOWS = 60
  const STEPS = 6
  const a = await world.node('a', [flow])
  // Two recoverers, one of which loses the database in the middle of it.
  const [b, c] = [await world.node('b', [flow]), await world.node('c', [flow])]
  const keys = Array.from({ length: FLOWS }, (_, i) => k(i))
  await Promise.all(keys.map((key) => a.start(a.ref(flow, key).run(STEPS), { idempotencyKey: 'run' })))
  await world.until(() => storedSteps(a).length > FLOWS * 2)
  a.kill()
  const back = b.faults.outage()
  const stored = storedSteps(a)
  await world.advance(300)
  back()
  const handles = await Promise.all(keys.map((key) => c.core.messenger.handle(`flow/${key}`, 'run')))
  expect(await world.run(Promise.all(handles.map((handle) => handle.result())))).toEqual(keys.map(() => STEPS))
  expect(stored.length).toBeGreaterThan(FLOWS)
  expect(stored.filter((step) => oracle.count(step) !== 1)).toEqual([])
  for (const key of keys) {
    expect(await c.stored(`flow/${key}`)).toEqual({ runs: 1 })
    for (let i = 0; i < STEPS; i++) expect(oracle.count(`flow/${key} s${i}`)).toBeLessThanOrEqual(2)
  }
  expect(b.faults.committed.length + c.faults.committed.length).toBeGreaterThan(FLOWS)
})

test('[L3] dbos-workload: a live executor that is taken for dead', async () => {
  const hold = gate()
  const effects = new Map<string, number>()
  const slow = agent('slow', {
    state: () => ({ n: 0 }),
    on: {
      async work(ctx, name: string) {
        await ctx.step('effect', async ({ idempotencyKey }) => {
          effects.set(idempotencyKey, (effects.get(idempotencyKey) ?? 0) + 1)
          if (oracle.hit(name) === 1) await hold.promise
        })
        ctx.state.n += 1
        return ctx.state.n
      },
    },
  })
  const [a, b] = [await world.node('a', [slow]), await world.node('b', [slow])]
  const keys = Array.from({ length: 20 }, (_, i) => k(i))
  await Promise.all(keys.map((key) => a.start(a.ref(slow, key).work(key), { idempotencyKey: 'w' })))
  await world.until(() => keys.every((key) => oracle.count(key) === 1))
  const { id, epoch } = a.core.node
  expect(await b.core.backend.handle.store.buryNode(b.core.node, { id, epoch }, 'host')).toBe(true)
  await world.until(() => keys.every((key) => oracle.count(key) === 2), 'the second run of each step')
  // The first owner lives on and comes to its end too; nothing of that counts.
  hold.open()
  const handles = await Promise.all(keys.map((key) => b.core.messenger.handle(`slow/${key}`, 'w')))
  expect(await world.run(Promise.all(handles.map((handle) => handle.result())))).toEqual(keys.map(() => 1))
  await world.advance(500)
  for (const key of keys) expect([await b.stored(`slow/${key}`), oracle.count(key)]).toEqual([{ n: 1 }, 2])
  // One key outside for both runs: the service that is called can tell that it is one effect.
  expect([effects.size, new Set(effects.values())]).toEqual([keys.length, new Set([2])])
})

test('[L3] dbos-workload: async workflows checkpoint deterministically', async () => {
  const WIDTH = 60
  const child = agent('child', {
    state: () => ({ n: 0 }),
    on: {
      add(ctx, by: number) {
        ctx.state.n += by
        return ctx.state.n
      },
    },
  })
  const gather = agent('gather', {
    state: () => ({ got: {} as Record<string, string> }),
    maxAttempts: 5,
    on: {
      async run(ctx) {
        const branch = async (i: number): Promise<[string, string]> => {
          const first = await ctx.step('a', () => leaf(ctx, `a${i}`), { key: `a${i}` })
          // What comes next follows from the result: branches differ in the number of their steps.
          if (i % 3 !== 0) return [`b${i}`, first]
          const second = await ctx.step('b', () => leaf(ctx, `b${i}`), { key: `b${i}` })
          return [`b${i}`, `${first} ${second} ${await ctx.call(ctx.ref(child, `${ctx.key}-${i}`).add(1))}`]
        }
        ctx.state.got = Object.fromEntries(await Promise.all(Array.from({ length: WIDTH }, (_, i) => branch(i))))
      },
    },
  })
  const leaf = async (ctx: Context<unknown>, name: string): Promise<string> => {
    oracle.hit(`${ctx.id} ${name[0]}:${name}`)
    await world.advance((Number(name.slice(1)) * 13) % 40)
    return name
  }
  const key = k('g')
  const id = `gather/${key}`
  let node = await world.node('n0', [gather, child])
  await node.send(node.ref(gather, key).run())
  const checked = new Map<string, number>()
  for (const kill of ['node', 'process', 'node'] as const) {
    const before = storedSteps(node).length
    await world.until(() => storedSteps(node).length >= before + 15 || node.seen('turn:stop').length > 0)
    if (kill === 'process') await node.control.kill(id, { actor: 'operator:ana' })
    else {
      node.kill()
      for (const step of storedSteps(node)) checked.set(step, oracle.count(step))
      node = await world.node(`n${checked.size}`, [gather, child])
    }
  }
  const want = Object.fromEntries(
    Array.from({ length: WIDTH }, (_, i) => [`b${i}`, i % 3 === 0 ? `a${i} b${i} 1` : `a${i}`]),
  )
  await world.until(async () => Object.keys(((await node.stored(id)) as { got: object }).got).length === WIDTH)
  expect(await node.stored(id)).toEqual({ got: want })
  expect(checked.size).toBeGreaterThanOrEqual(15)
  expect([...checked].filter(([step, runs]) => oracle.count(step) !== runs)).toEqual([])
  for (let i = 0; i < WIDTH; i += 3) expect(await node.stored(`child/${key}-${i}`)).toEqual({ n: 1 })
})

const job = agent('job', {
  state: () => ({ runs: 0 }),
  maxAttempts: 2,
  on: {
    async run(ctx, how: 'fine' | 'reject' | 'crash') {
      oracle.hit(`${ctx.key} body`)
      await ctx.step('work', () => oracle.hit(`${ctx.key} work`))
      if (how === 'reject') throw new Reject('no stock', { item: 'tea', left: 0 })
      if (how === 'crash') throw new TypeError('item is undefined')
      ctx.state.runs += 1
      return { runs: ctx.state.runs, at: new Date(ctx.now()) }
    },
  },
})

test('[L3] dbos-workload: workflow invocation is exactly once', async () => {
  const [a, b] = [await world.node('a', [job]), await world.node('b', [job])]
  const nodes = [a, b]
  for (const how of ['fine', 'reject', 'crash'] as const) {
    const key = k(how)
    const invoke = async (node: TestNode): Promise<unknown> => {
      const handle = await node.start(node.ref(job, key).run(how), { idempotencyKey: 'one' })
      return handle.result().catch((error: unknown) => {
        const { code, message, detail } = errorOf(error)
        return { code, message, detail }
      })
    }
    const many = await world.run(Promise.all(Array.from({ length: 16 }, (_, i) => invoke(i % 2 === 0 ? a : b))))
    const bodies = oracle.count(`${key} body`)
    const again = await world.run(Promise.all(nodes.map(invoke)))
    for (const result of [...many, ...again]) expect(result).toEqual(many[0])
    expect([oracle.count(`${key} body`) - bodies, oracle.count(`${key} work`)]).toEqual([0, 1])
    // A crash is an attempt of the message; its recorded step does not run again.
    expect(bodies).toBe(how === 'crash' ? 2 : 1)
    if (how === 'reject')
      expect(many[0]).toMatchObject({ code: 'CALL_REJECTED', message: 'no stock', detail: { item: 'tea', left: 0 } })
    if (how === 'crash')
      expect(many[0]).toMatchObject({ code: 'DEAD_LETTERED', message: expect.stringContaining('item is undefined') })
  }
})

test('[L3] dbos-workload: decorated functions replay durably', async () => {
  type Fn<A extends unknown[], R> = (...args: A) => R
  const decorated =
    <A extends unknown[], R>(name: string, fn: Fn<A, R>): Fn<A, R> =>
    (...args) => {
      oracle.hit(name)
      return fn(...args)
    }
  const hang = decorated('around hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
  const shop = agent('shop', {
    state: () => ({ sold: 0 }),
    on: {
      sell: decorated('around handler', async (ctx: Context<{ sold: number }>, n: number) => {
        await ctx.step(
          'charge',
          decorated('around step', () => decorated('inside step', () => n)()),
        )
        await ctx.step('hang', hang)
        ctx.state.sold += n
        return ctx.state.sold
      }),
    },
  })
  const key = k('s')
  const a = await world.node('a', [shop])
  await a.start(a.ref(shop, key).sell(3), { idempotencyKey: 'one' })
  await world.until(() => oracle.count('hang') === 1)
  a.kill()
  const b = await world.node('b', [shop])
  const handle = await b.start(b.ref(shop, key).sell(3), { idempotencyKey: 'one' })
  expect(await world.run(handle.result())).toBe(3)
  const counts = () => ['around handler', 'around step', 'inside step', 'around hang'].map((name) => oracle.count(name))
  // The handler is entered once per delivery; what is inside a recorded step is not entered again.
  expect(counts()).toEqual([2, 1, 1, 2])
  for (let i = 0; i < 3; i++) {
    const again = await b.start(b.ref(shop, key).sell(3), { idempotencyKey: 'one' })
    expect([again.created, await again.result()]).toEqual([false, 3])
  }
  expect(counts()).toEqual([2, 1, 1, 2])
})

test('[L3] dbos-workload: errors keep their meaning', async () => {
  class OutOfStock extends Error {
    readonly code = 'OUT_OF_STOCK'
    readonly retryable = false
  }
  const heard: unknown[] = []
  const shop = agent('shop', {
    state: () => ({ log: [] as string[] }),
    on: {
      async buy(ctx, text: string) {
        try {
          await ctx.step('reserve', () => {
            oracle.hit('reserve')
            throw new OutOfStock(text)
          })
        } catch (error) {
          const { code, cause } = errorOf(error)
          const { code: inner, message } = errorOf(cause)
          heard.push([code, inner, message])
          ctx.state.log.push(`${code} ${inner} ${message}`)
        }
        await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
        throw new Reject('ask later', { text })
      },
    },
  })
  // A text that no database column takes as it is.
  const text = 'no \u0000 tea \ud800 left'
  const key = k('e')
  const a = await world.node('a', [shop])
  await a.start(a.ref(shop, key).buy(text), { idempotencyKey: 'one' })
  await world.until(() => oracle.count('hang') === 1)
  a.kill()
  const [b, c] = [await world.node('b', [shop]), await world.node('c', [shop])]
  for (const node of [b, c]) {
    const handle = await node.start(node.ref(shop, key).buy(text), { idempotencyKey: 'one' })
    const error = errorOf(await world.run(handle.result().catch((thrown: unknown) => thrown)))
    expect(error).toMatchObject({ code: 'CALL_REJECTED', message: 'ask later', detail: { text } })
  }
  expect(oracle.count('reserve')).toBe(1)
  expect(heard).toHaveLength(2)
  expect(heard[1]).toEqual(heard[0])
  expect(heard[0]).toEqual(['STEP_FAILED', expect.any(String), expect.stringContaining('tea')])
})

test('[L3] dbos-workload: system-db retries stay exactly once', async () => {
  const child = agent('child', {
    state: () => ({ n: 0 }),
    on: {
      add(ctx, by: number) {
        oracle.hit(`${ctx.key} add`)
        ctx.state.n += by
        return ctx.state.n
      },
    },
  })
  const parent = agent('parent', {
    state: () => ({ log: [] as unknown[] }),
    on: {
      async run(ctx) {
        const got = await ctx.receive<string>('word')
        const started = await ctx.start(child, ctx.key, 'add', 5)
        const result = await started.result()
        const called = await ctx.call(ctx.ref(child, ctx.key).add(2))
        const step = await ctx.step('effect', () => oracle.hit(`${ctx.key} effect`))
        ctx.state.log = [got.message, result, called, step]
        return ctx.state.log
      },
      word: (ctx, word: string) => void ctx.state.log.push(word),
    },
  })
  const node = await world.node('a', [parent, child])
  // Each second statement that writes is executed, and its answer is lost.
  let lost = 0
  node.faults.plan(({ method, n }) => {
    if (!['commit', 'request', 'enqueue', 'claim', 'release', 'transact'].includes(method) || n % 2 !== 0)
      return undefined
    if (method === 'request' || method === 'enqueue') return undefined
    lost += 1
    return { kind: 'lost' }
  })
  const keys = Array.from({ length: 15 }, (_, i) => k(i))
  const results = await world.run(
    Promise.all(
      keys.map(async (key) => {
        const signal = { op: 'word', message: key }
        const handle = await node.start(node.ref(parent, key).run(), { idempotencyKey: 'one', signal })
        return handle.result()
      }),
    ),
  )
  expect(results).toEqual(keys.map((key) => [key, 5, 7, 1]))
  expect(lost).toBeGreaterThan(5)
  for (const key of keys) {
    expect([await node.stored(`child/${key}`), oracle.count(`${key} add`), oracle.count(`${key} effect`)]).toEqual([
      { n: 7 },
      2,
      1,
    ])
  }
})
