/** Retention on a real Postgres: whoever works notices nothing, and an old process starts as fast as a young one. */
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { PRUNE_ROWS_MAX } from '../../server/journal/pruner.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import { pruneSql } from '../../server/store/postgres/prune.ts'
import type { PruneStep } from '../../shared/retention.ts'
import { encode, type Value } from '../../shared/value.ts'
import { testDatabase } from '../support/database.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'
import { row, StoreBench } from '../support/store-world.ts'

const OLD_TURNS = 1_000_000

const database = testDatabase()
let sql: postgres.Sql
let world: World

beforeAll(() => {
  sql = postgres({ ...database.connection, max: 3, connection: { search_path: 'vivarium' } })
})
afterAll(() => sql.end())
beforeEach(() => {
  world = World.postgres(database.connection)
})
afterEach(() => world.close())

let door = gate()
const diary = agent('diary', {
  state: () => ({ pages: [] as string[], n: 0 }),
  passivateAfterMs: 'never',
  on: {
    write(ctx, text: string) {
      ctx.state.pages.push(text)
      ctx.state.n += 1
      return ctx.state.n
    },
    add(ctx) {
      ctx.state.n += 1
      return ctx.state.n
    },
    async slow(ctx) {
      const first = await ctx.step('first', () => ctx.state.n)
      await ctx.step('second', () => door.promise)
      ctx.state.n += first
    },
  },
})

const step = (maxRows: number, more: Partial<PruneStep> = {}): PruneStep => ({
  policies: [{ agent: 'diary', maxRows, maxAgeMs: null }],
  ...{ processes: 200, rows: PRUNE_ROWS_MAX, leaseMs: 60_000 },
  ...more,
})

async function pruneAll(node: TestNode, wanted: PruneStep): Promise<number> {
  for (let rows = 0; ; ) {
    const pruned = await node.core.backend.handle.store.prune(node.core.node, wanted)
    rows += pruned?.rows ?? expect.fail('Another node prunes.')
    if (pruned?.over === true) return rows
  }
}

async function pidOf(id: string): Promise<number> {
  const [found] = await sql<{ pid: string }[]>`select pid from processes where id = ${id}`
  return Number(found?.pid)
}

test('[G3] after pruning a process is activated byte for byte, and its open turn goes on', async () => {
  const node = await world.node('a', [diary])
  for (let i = 0; i < 40; i++) await node.ref(diary, 'd').write(`page ${i} ${'x'.repeat(1_000)}`)
  const pid = await pidOf('diary/d')
  await world.until(async () => (await sql`select 1 from snapshots where process = ${pid}`).length > 0, 'a snapshot')
  door = gate()
  await node.start(node.ref(diary, 'd').slow())
  await world.until(async () => (await sql`select 1 from journal where process = ${pid}`).length >= 42, 'the step')
  const before = encode((await node.stored('diary/d')) as Value)
  expect(await pruneAll(node, step(0))).toBeGreaterThan(10)
  expect(encode((await node.stored('diary/d')) as Value) === before).toBe(true)
  node.kill()
  const next = await world.node('b', [diary])
  door.open()
  await world.until(async () => ((await next.stored('diary/d')) as { n: number }).n === 80, 'the end of the turn')
  expect((await next.ref(diary, 'd').write('last')) as number).toBe(81)
})

test('[G5] the state of a version is read while it is kept, and refused in words when it is not', async () => {
  const node = await world.node('a', [diary])
  const inspect = new RuntimeInspect(node.core)
  for (let i = 0; i < 40; i++) await node.ref(diary, 'past').write(`${i} ${'x'.repeat(1_000)}`)
  const pid = await pidOf('diary/past')
  const at = async (version: number) => (await inspect.state('diary/past', { version })).value as { n: number }
  await world.until(async () => (await sql`select 1 from snapshots where process = ${pid}`).length > 0, 'a snapshot')
  expect((await at(7)).n).toBe(7)
  expect(await world.refusal(inspect.state('diary/past', { version: 41 }))).toMatchObject({
    code: 'VERSION_NOT_KEPT',
    message: expect.stringContaining('does not exist yet'),
  })
  await pruneAll(node, step(0))
  expect(await world.refusal(inspect.state('diary/past', { version: 7 }))).toMatchObject({
    code: 'VERSION_NOT_KEPT',
    message: expect.stringContaining('is not kept any more'),
  })
  expect((await at(40)).n).toBe(40)
  inspect.close()
})

test('[G4] the delete finds its rows by the key of the journal and deletes them by their place', async () => {
  const bench = new StoreBench({ name: 'plan', handle: () => openBench() })
  const node = await bench.node()
  const owned = await bench.own(node, 'plan')
  await sql`insert into journal (process, seq, claim, state_version, code_version, turn_ids, payload)
    select ${owned.record.pid}, n, 1, 1, 'c', '{}', '[]' from generate_series(1, 50000) n`
  await sql`insert into snapshots (process, seq, claim, state_version, value)
    values (${owned.record.pid}, 40000, 1, 1, '1')`
  await sql`update heads set seq = 50000 where process = ${owned.record.pid}`
  await sql`analyze journal, snapshots, heads, processes, waypoints`
  const policies = JSON.stringify([{ agent: 'cart', age_ms: null, max_rows: 0 }])
  const rows = await sql.begin(async (tx) => {
    const plan = await tx.unsafe(`explain (analyze, costs off) ${pruneSql('')}`, [
      bench.namespace,
      policies,
      0,
      200,
      500,
    ])
    await tx.unsafe('select 1')
    return plan.map((line) => String(line['QUERY PLAN']))
  })
  const plan = rows.join('\n')
  expect(plan).toMatch(/Index Scan using journal_pk on journal j/)
  expect(plan).toMatch(/Tid Scan on journal j/)
  expect(plan).not.toMatch(/Seq Scan on journal/)
  expect(await sql`select count(*)::int as n from journal where process = ${owned.record.pid}`).toEqual([{ n: 49_500 }])
})

const handles: ReturnType<typeof openPostgres>[] = []
afterAll(async () => {
  for (const handle of handles) await handle.close()
})
function openBench(): ReturnType<typeof openPostgres> {
  const handle = openPostgres({ connection: database.connection, clock: realClock() })
  handles.push(handle)
  return handle
}

test('[G4] commits do not wait for a pruning that runs beside them', async () => {
  const bench = new StoreBench({ name: 'load', handle: () => openBench() })
  const node = await bench.node()
  const owned = await Promise.all(Array.from({ length: 50 }, (_, i) => bench.own(node, `load ${i}`)))
  for (const { record } of owned) {
    await sql`insert into journal (process, seq, claim, state_version, code_version, turn_ids, payload)
      select ${record.pid}, n, 1, 1, 'c', '{}', '[]' from generate_series(1, 2000) n`
    await sql`insert into snapshots (process, seq, claim, state_version, value) values (${record.pid}, 2000, 1, 1, '1')`
    await sql`update heads set seq = 2000 where process = ${record.pid}`
  }
  for (const one of owned) one.seq = 2_000
  const latency = async (rounds: number): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < rounds; i++) {
      const startedAt = performance.now()
      const outcomes = await bench.commit(node, ...owned.map((one) => row(one)))
      times.push(performance.now() - startedAt)
      expect(outcomes.every(({ kind }) => kind === 'committed')).toBe(true)
      for (const one of owned) one.seq += 1
    }
    return times.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0
  }
  await latency(20)
  const alone = await latency(150)
  let waits = 0
  let over = false
  const watching = (async () => {
    while (!over) {
      const found = await sql`select 1 from pg_stat_activity
        where datname = current_database() and application_name = 'vivarium commit'
          and cardinality(pg_blocking_pids(pid)) > 0`
      waits += found.length
    }
  })()
  let pruned = 0
  const wanted = { ...step(0), policies: [{ agent: 'cart', maxRows: 10, maxAgeMs: null }] }
  const pruning = (async () => {
    while (!over) pruned += (await bench.store.prune(node, wanted))?.rows ?? 0
  })()
  const beside = await latency(150)
  over = true
  await Promise.all([watching, pruning])
  expect(pruned).toBeGreaterThan(10_000)
  expect(waits).toBe(0)
  // Pruned without a pause here, on cores that ask for waits as well: what is left is sharing the machine.
  expect(beside).toBeLessThan(alone * 3 + 10)
}, 60_000)

test('[G7] a process with a million turns is activated as fast as one with ten, pruned or not', async () => {
  const node = await world.node('a', [diary])
  for (const key of ['young', 'old']) for (let i = 0; i < 10; i++) await node.ref(diary, key).add()
  const pid = await pidOf('diary/old')
  await passivate(node, 'diary/old')
  const state = encode((await node.stored('diary/old')) as Value)
  await sql`insert into journal (process, seq, claim, state_version, code_version, turn_ids, payload)
    select j.process, n, j.claim, 1, j.code_version, j.turn_ids, j.payload
    from journal j, generate_series(11, ${OLD_TURNS}) n where j.process = ${pid} and j.seq = 10`
  await sql`insert into snapshots (process, seq, claim, state_version, value)
    values (${pid}, ${OLD_TURNS - 10}, 1, 1, ${state})`
  await sql`update heads set seq = ${OLD_TURNS} where process = ${pid}`
  await sql`analyze journal`
  await comparable(node)
  expect(await pruneAll(node, step(10, { rows: 50_000 }))).toBeGreaterThanOrEqual(OLD_TURNS - 10)
  await comparable(node)
}, 120_000)

async function passivate(node: TestNode, id: string): Promise<void> {
  const process = node.core.kernel.find(id) ?? expect.fail(`${id} is in memory.`)
  await world.until(() => node.core.layer.passivate(process), `the passivation of ${id}`)
  await node.core.layer.released(id)
}

/** Medians of alternating activations; of six rounds the middle one counts, which a disturbed round does not move. */
async function comparable(node: TestNode): Promise<void> {
  const ratios: number[] = []
  for (let round = 0; round < 6; round++) {
    const times = { young: [] as number[], old: [] as number[] }
    for (let i = 0; i < 40; i++) {
      for (const key of i % 2 === 0 ? (['young', 'old'] as const) : (['old', 'young'] as const)) {
        if (node.core.kernel.find(`diary/${key}`) !== undefined) await passivate(node, `diary/${key}`)
        const seen = node.seen('process:activate').length
        await node.ref(diary, key).add()
        times[key].push(node.seen('process:activate')[seen]?.durationMs ?? expect.fail('It was activated.'))
      }
    }
    const [young, old] = [median(times.young), median(times.old)]
    ratios.push(old / young)
  }
  const shown = `activation of old over young: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}`
  expect(median(ratios), shown).toBeGreaterThan(0.8)
  expect(median(ratios), shown).toBeLessThan(1.2)
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0
}
