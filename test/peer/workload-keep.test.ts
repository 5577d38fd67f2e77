/** dbos-workload on nodes over one Postgres: transactions, streams, and what retention may take away. */
import { sql as raw } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { REQUEST_MS } from '../../shared/retention.ts'
import { testDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

const database = testDatabase()
let sql: postgres.Sql
let world: World
let oracle: Oracle
let run = 0

beforeAll(async () => {
  sql = postgres({ ...database.connection, max: 4, onnotice: () => undefined })
  await sql`create table peer_orders (id text primary key, total int not null)`
  await sql`create table peer_stock (item text primary key, left_over int not null)`
})
afterAll(() => sql.end())
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
  run += 1
})
afterEach(() => world.close())

const k = (name: string | number): string => `${name}-${run}`
const orders = pgTable('peer_orders', { id: text('id').primaryKey(), total: integer('total').notNull() })

const peer = agent('peer', {
  state: () => ({ heard: [] as string[] }),
  on: { hear: (ctx, word: string) => void ctx.state.heard.push(word) },
})

test('[L3] dbos-workload: transactions execute once and only once', async () => {
  const BUYERS = 24
  await sql`insert into peer_stock values ('tea', ${BUYERS})`
  const buyer = agent('buyer', {
    state: () => ({ left: -1 }),
    on: {
      async buy(ctx) {
        ctx.send(ctx.ref(peer, 'counter').hear(ctx.key))
        const left = await ctx.transaction(
          async (tx) => {
            oracle.hit('callback')
            await tx.insert(orders).values({ id: ctx.key, total: 1 })
            const [row] = await tx.execute<{ left_over: number }>(
              raw`update peer_stock set left_over = left_over - 1 where item = 'tea' returning left_over`,
            )
            return row?.left_over ?? -1
          },
          { isolationLevel: 'serializable' },
        )
        await ctx.step('after', () => oracle.hit(`after ${ctx.key}`))
        ctx.state.left = left
      },
    },
  })
  const node = await world.node('a', [buyer, peer])
  const keys = Array.from({ length: BUYERS }, (_, i) => k(`b${i}`))
  // The answer of each third COMMIT is lost, the server is away for others, and the node dies with one just stored.
  node.faults.plan(({ method, n }) => {
    if (method !== 'transact') return undefined
    if (n === BUYERS - 2) return { kind: 'die', when: 'after' }
    if (n % 3 === 0) return { kind: 'lost' }
    return n % 5 === 0 ? { kind: 'fail', failure: 'unavailable' } : undefined
  })
  await Promise.all(keys.map((key) => node.start(node.ref(buyer, key).buy(), { idempotencyKey: 'buy' })))
  await world.until(() => node.dead, 'the death of the node')
  const next = await world.node('b', [buyer, peer])
  const handles = await Promise.all(keys.map((key) => next.core.messenger.handle(`buyer/${key}`, 'buy')))
  await world.run(Promise.all(handles.map((handle) => handle.result())))
  const rows = await sql`select id from peer_orders where id = any(${keys})`
  const [stock] = await sql`select left_over from peer_stock where item = 'tea'`
  expect([rows.length, stock?.['left_over']]).toEqual([BUYERS, 0])
  // What each transaction told its turn is what it did; no two of them saw the same stock.
  const left = await Promise.all(
    keys.map(async (key) => ((await next.stored(`buyer/${key}`)) as { left: number }).left),
  )
  expect([...left].sort((x, y) => x - y)).toEqual(Array.from({ length: BUYERS }, (_, i) => i))
  // A send before the transaction left with it: heard once, by the one it was for.
  const heard = async () => ((await next.stored('peer/counter')) as { heard: string[] }).heard
  await world.until(async () => (await heard()).length >= BUYERS)
  expect([...(await heard())].sort()).toEqual([...keys].sort())
  expect(oracle.count('callback')).toBeGreaterThanOrEqual(BUYERS)
})

test('[L3] dbos-workload: streams record each write once', async () => {
  const WORDS = 40
  let node: TestNode
  const teller = agent('teller', {
    state: () => ({ told: 0 }),
    on: {
      async tell(ctx) {
        const out = ctx.stream('out')
        for (let i = 0; i < WORDS; i++) {
          await out.write(`t${i}`)
          await ctx.step(
            `s${i}`,
            async (info) => {
              const own = info.stream('out')
              await own.write(`s${i}`)
              await own.flush()
              const runs = oracle.hit(`s${i}`)
              if (i % 10 === 4 && runs === 1) throw new Error('an attempt that failed after it wrote')
              if (i % 10 === 9 && runs === 1) {
                node.kill()
                await new Promise(() => {})
              }
            },
            { retry: { initialMs: 1, maxMs: 2 } },
          )
        }
        await out.close()
        ctx.state.told = WORDS
      },
    },
  })
  const key = k('t')
  node = await world.node('n0', [teller])
  await node.send(node.ref(teller, key).tell())
  for (let death = 1; death <= 3; death++) {
    await world.until(() => node.dead, `death ${death}`)
    node = await world.node(`n${death}`, [teller])
  }
  await world.until(() => node.dead, 'the last death')
  const last = await world.node('last', [teller])
  node = last
  let valid: { offset: number; value: unknown; turn: string; step: string | null }[] = []
  let resets = 0
  const read = async (): Promise<void> => {
    for await (const item of last.core.streams.read(`teller/${key}`, 'out')) {
      if (item.kind === 'chunk') valid.push(item)
      else {
        resets += 1
        valid = valid.filter((at) => at.turn !== item.turn || at.step !== item.step || at.offset < item.to)
      }
    }
  }
  await world.run(read())
  expect(valid.map(({ value }) => value)).toEqual(Array.from({ length: WORDS }, (_, i) => [`t${i}`, `s${i}`]).flat())
  // One for each attempt that wrote and did not count: four failed, four died.
  expect(resets).toBe(8)
})

test('[L3] dbos-workload: garbage collection preserves live workflow effects', async () => {
  const child = agent('child', {
    state: () => ({ n: 0 }),
    on: {
      async add(ctx, by: number) {
        await ctx.step('effect', () => oracle.hit(`effect ${ctx.key}`))
        if (by === 2) await ctx.receive('go')
        ctx.state.n += by
        return ctx.state.n
      },
      go: () => null,
    },
  })
  const parent = agent('parent', {
    state: () => ({ log: [] as unknown[] }),
    retention: { maxAgeMs: 1, maxRows: 1 },
    on: {
      warm: (ctx, text: string) => void ctx.state.log.splice(0, 1, text),
      async run(ctx) {
        const soon = await ctx.start(child, `${ctx.key}-soon`, 'add', 1)
        const late = await ctx.start(child, `${ctx.key}-late`, 'add', 2)
        await soon.result()
        const kept = await ctx.step('effect', () => oracle.hit(`effect ${ctx.key}`))
        const go = await ctx.receive<string>('go')
        const gone = await soon.result().catch((error: { code: string }) => error.code)
        ctx.state.log = [kept, go.message, gone, await late.result()]
      },
      go: (_ctx, _word: string) => null,
    },
  })
  const { age, sweep } = keeper()
  const a = await world.node('a', [parent, child])
  const key = k('p')
  for (let i = 0; i < 60; i++) await a.ref(parent, key).warm(`${i} ${'x'.repeat(2_000)}`)
  await a.send(a.ref(parent, key).run())
  await world.until(() => oracle.count(`effect ${key}`) === 1 && oracle.count(`effect ${key}-late`) === 1)
  await world.advance(50)
  // A month passes: the first child's result goes, the second child has none yet, and the parent's turn is open.
  await age(REQUEST_MS + 60_000)
  await sweep(a)
  a.kill()
  const b = await world.node('b', [parent, child])
  await b.send(b.ref(child, `${key}-late`).go())
  await world.until(async () => ((await b.stored(`child/${key}-late`)) as { n: number }).n === 2)
  // Begun a month ago, done now: kept from now on.
  await sweep(b)
  await b.send(b.ref(parent, key).go('on'))
  const log = async () => ((await b.stored(`parent/${key}`)) as { log: unknown[] }).log
  await world.until(async () => (await log()).length === 4)
  expect(await log()).toEqual([1, 'on', 'REQUEST_UNKNOWN', 2])
  // An id whose outcome was collected is begun afresh; it does not answer with what is dead.
  const first = await b.start(b.ref(child, k('again')).add(1), { idempotencyKey: 'one' })
  expect(await first.result()).toBe(1)
  await age(REQUEST_MS + 60_000)
  await sweep(b)
  const second = await b.start(b.ref(child, k('again')).add(1), { idempotencyKey: 'one' })
  expect([second.created, await second.result(), oracle.count(`effect ${k('again')}`)]).toEqual([true, 2, 2])
})

/** Makes everything older, and takes away what may go. */
function keeper() {
  const age = async (ms: number): Promise<void> => {
    const by = sql`${`${ms} ms`}::interval`
    await sql`update vivarium.requests set at = at - ${by}`
    await sql`update vivarium.journal set at = at - ${by}`
    await sql`update vivarium.snapshots set at = at - ${by}`
  }
  const sweep = async (node: TestNode): Promise<void> => {
    const { store } = node.core.backend.handle
    const policies = [{ agent: 'parent', maxAgeMs: 1, maxRows: 1 }]
    for (let over = false; !over; ) {
      // Another node may hold the lease of the chore; this one is asked until it has it.
      const pruned = await store.prune(node.core.node, { policies, processes: 1_000, rows: 1_000, leaseMs: 1 })
      over = pruned?.over ?? false
      if (pruned === null) await sql`delete from vivarium.chores`
    }
    await store.sweep(node.core.node, 1_000)
  }
  return { age, sweep }
}
