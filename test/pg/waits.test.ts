/** Timers and parked turns on a real server: plans that use the index, processes that die, many at once. */
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { StepDoor } from '../../server/host/step-door.ts'
import { migrate } from '../../server/store/migrate.ts'
import { fireSql, nextTimerSql } from '../../server/store/postgres/fire-timers.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'
import { message, StoreBench } from '../support/store-world.ts'

let database: TestDatabase
let handle: StoreHandle
let sql: postgres.Sql
let world: World
let oracle: Oracle

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  handle = openPostgres({ connection: database.connection, clock: realClock() })
  sql = postgres({ ...database.connection, max: 1 })
})
afterAll(async () => {
  await Promise.all([handle.close(), sql.end()])
  await database.drop()
})
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
})
afterEach(() => world.close())

const TIMERS = 100_000
const Q = '"vivarium".'

test('[V5] of 100,000 armed timers the due ones are found by the index, and each fires once', async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => handle })
  const node = await bench.node()
  const owned = await bench.own(node, 'a')
  await sql`
    insert into vivarium.timers (process, namespace, target, name, arm, due, op, args)
    select ${owned.record.pid}, ${bench.namespace}, 'cart/a', 'timer ' || i, i,
      case when i <= 700 then now() - interval '1 day' else now() + i * interval '1 minute' end, 'tick', i::text
    from generate_series(1, ${TIMERS}) i`
  await sql`analyze vivarium.timers`
  for (const [text, values] of [
    [fireSql(Q), [String(node.id), String(node.epoch), node.namespace, 500]],
    [nextTimerSql(Q), [node.namespace]],
  ] as const) {
    const plan = (await sql.unsafe(`explain ${text}`, [...values])).map((row) => String(row['QUERY PLAN'])).join('\n')
    expect(plan).toContain('timers_due')
    expect(plan).not.toContain('Seq Scan on timers')
  }
  const fired = [
    ...(await bench.store.fireTimers(node, 500)),
    ...(await bench.store.fireTimers(node, 500)),
    ...(await bench.store.fireTimers(node, 500)),
  ]
  expect(new Set(fired.map((row) => row.timer?.name)).size).toBe(700)
  expect(fired).toHaveLength(700)
  expect(await bench.store.nextTimer(bench.namespace)).toBeGreaterThan(Date.now())
  await sql`delete from vivarium.timers where namespace = ${bench.namespace}`
})

test('[W2] on Postgres a message that was offered before wakes a parked turn only while it is young', async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => handle })
  const node = await bench.node()
  const { enqueue, release, orphans } = bench.store
  const [ord = 0] = await enqueue(node, [message('m', 'cart/a')])
  const { record, claim } = await bench.own(node, 'a')
  const park = { wait: '{}', takes: ['*'], judged: ord, timer: null }
  await release(node, [{ process: record.pid, claim, park }])
  expect(await orphans(node, 10)).toHaveLength(1)
  await sql`update vivarium.mailbox set at = at - interval '1 minute' where namespace = ${bench.namespace}`
  expect(await orphans(node, 10)).toEqual([])
  await sql`update vivarium.processes set judged = judged - 1 where namespace = ${bench.namespace}`
  expect(await orphans(node, 10)).toHaveLength(1)
})

const sleeper = agent('sleeper', {
  state: () => ({ woke: 0 }),
  on: {
    async nap(ctx, ms: number) {
      oracle.hit('nap')
      await ctx.sleep(ms)
      ctx.state.woke += 1
      oracle.hit('woke')
    },
  },
  passivateAfterMs: 100,
})

const parked = async (): Promise<number> => {
  const [row] =
    await sql`select count(*)::int as n from vivarium.processes where takes is not null and namespace = 'default'`
  return row?.['n'] as number // count(*) is one row
}
const gone = (node: TestNode): boolean => ![...node.core.kernel.all()].some(({ agent: name }) => name === 'sleeper')

test('[W2] a parked turn outlives its node, and wakes once on another, on time', async () => {
  const a = await world.node('a', [sleeper])
  const began = Date.now()
  await a.send(a.ref(sleeper, 'k').nap(4_000))
  await world.until(async () => (await parked()) === 1)
  const [timer] = await sql`select name, op, due from vivarium.timers where namespace = 'default'`
  expect(timer).toMatchObject({ name: '$wake', op: '$wake' })
  a.kill()
  const b = await world.node('b', [sleeper])
  await world.until(() => oracle.count('woke') === 1)
  expect(Date.now() - began).toBeGreaterThanOrEqual(3_995)
  await world.until(async () => JSON.stringify(await b.stored('sleeper/k')) === '{"woke":1}')
  await world.until(async () => (await sql`select 1 from vivarium.mailbox where namespace = 'default'`).length === 0)
  expect([oracle.count('nap'), await parked()]).toEqual([2, 0])
})

test('[W2] many turns leave in few statements and stay away while recovery goes on', async () => {
  const a = await world.node('a', [sleeper])
  await Promise.all(Array.from({ length: 400 }, (_, i) => a.send(a.ref(sleeper, `m${i}`).nap(600_000))))
  await world.until(async () => gone(a) && (await parked()) === 400)
  expect(a.faults.counts.get('release')).toBeLessThan(60)
  const naps = oracle.count('nap')
  const rounds = a.faults.counts.get('orphans') ?? 0
  await world.until(() => (a.faults.counts.get('orphans') ?? 0) >= rounds + 3)
  expect([naps, oracle.count('nap'), await parked()]).toEqual([400, 400, 400])
})

const worker = agent('worker', {
  state: () => ({}),
  on: {
    async slow(ctx, ms: number) {
      await ctx.sleep(ms)
      return `after ${ms}`
    },
  },
  passivateAfterMs: 100,
})

const boss = agent('boss', {
  state: () => ({ got: null as unknown }),
  on: {
    async hire(ctx, key: string) {
      oracle.hit('hire')
      const started = await ctx.start(worker, key, 'slow', 3_000, { idempotencyKey: key })
      ctx.state.got = await started.result()
    },
    async ask(ctx) {
      oracle.hit('ask')
      ctx.state.got = await ctx.step('approve', ({ token }) => void tokens.push(token), { external: true })
    },
  },
  passivateAfterMs: 100,
})
let tokens: string[] = []
const gotten = async (node: TestNode, key: string): Promise<unknown> =>
  ((await node.stored(`boss/${key}`)) as { got: unknown } | undefined)?.got ?? null

test('[W9] parked turns of two nodes are told by the commit of a third, and so is a caller outside', async () => {
  const [a, b, c] = [
    await world.node('a', [boss, worker]),
    await world.node('b', [boss, worker]),
    await world.node('c', [worker]),
  ]
  for (let i = 0; i < 10; i++) await a.send(a.ref(boss, `r${i}`).hire(`w${i % 2}`))
  for (let i = 10; i < 20; i++) await b.send(b.ref(boss, `r${i}`).hire(`w${i % 2}`))
  await world.until(async () => (await parked()) >= 20)
  const handle = await c.core.messenger.handle('worker/w0', 'w0')
  expect(await world.run(handle.result())).toBe('after 3000')
  for (let i = 0; i < 20; i++) await world.until(async () => (await gotten(a, `r${i}`)) === 'after 3000')
  expect(oracle.count('hire')).toBe(40)
  await world.until(async () => {
    const left = await sql`select 1 from vivarium.mailbox where namespace = 'default' and target not like 'sleeper/%'`
    return left.length === 0
  })
  const [row] = await sql`select sum(cardinality(waiters))::int as n from vivarium.requests where scope like 'worker/%'`
  expect(row?.['n']).toBeLessThanOrEqual(21)
})

test('[W9] a result that is stored while its waiter is nowhere wakes it at the next node', async () => {
  const a = await world.node('a', [boss, worker])
  await a.send(a.ref(boss, 'n').hire('wn'))
  await world.until(async () => (await parked()) >= 2)
  const c = await world.node('c', [worker])
  a.kill()
  await world.until(
    async () => (await c.core.backend.handle.store.requestRow('default', 'worker/wn', 'wn'))?.status === 'done',
  )
  const b = await world.node('b', [boss, worker])
  await world.until(async () => (await gotten(b, 'n')) === 'after 3000')
})

test('[Q11] external steps are parked, and outcomes from any node bring them back', async () => {
  tokens = []
  const [a, b] = [await world.node('a', [boss, worker]), await world.node('b', [boss, worker])]
  const keys = Array.from({ length: 50 }, (_, i) => `x${i}`)
  await Promise.all(keys.map((key) => a.send(a.ref(boss, key).ask())))
  await world.until(async () => (await parked()) >= 50)
  await world.until(
    () => ![...a.core.kernel.all()].some(({ agent: name, kind }) => name === 'boss' && kind === 'agent'),
  )
  const door = new StepDoor(b.core)
  await Promise.all(tokens.map((token, i) => door.settle(token, { value: i })))
  for (const key of keys) await world.until(async () => (await gotten(a, key)) !== null)
  expect([tokens.length, oracle.count('ask')]).toEqual([50, 100])
})
