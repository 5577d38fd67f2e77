/** Timers and parked turns on a real server: plans that use the index, processes that die, many at once. */
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
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
