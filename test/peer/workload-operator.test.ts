/** dbos-workload on nodes over one Postgres: what operators do and see, starts, stops, and schemas side by side. */
import postgres from 'postgres'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createRuntime, type Runtime } from 'vivarium'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

const ANA = { actor: 'operator:ana' }

let database: TestDatabase
let sql: postgres.Sql
let world: World
let oracle: Oracle
/** The embedded server has no port; a URL needs one. */
let proxy: PostgresProxy

// A database of its own for each test: some of them spoil rows.
beforeEach(async () => {
  database = await freshDatabase()
  sql = postgres({ ...database.connection, max: 2, onnotice: () => undefined })
  oracle = new Oracle()
  world = World.postgres(database.connection)
  proxy = await PostgresProxy.make(() => database.connection)
  await proxy.open()
})
afterEach(async () => {
  await world.close()
  await sql.end()
  await proxy.cut()
  await database.drop()
})

const codeOf = (error: unknown): unknown => (error as { code: string }).code
const inspecting = async <T>(node: TestNode, work: (inspect: RuntimeInspect) => Promise<T>): Promise<T> => {
  const inspect = new RuntimeInspect(node.core)
  try {
    return await work(inspect)
  } finally {
    inspect.close()
  }
}

const worker = agent('worker', {
  state: () => ({ done: 0 }),
  passivateAfterMs: 100,
  on: {
    async work(ctx, name: string) {
      await ctx.step('begin', () => oracle.hit(`begin ${name}`))
      await ctx.receive('go')
      await ctx.step('end', () => oracle.hit(`end ${name}`))
      ctx.state.done += 1
      return ctx.state.done
    },
    quick(ctx) {
      ctx.state.done += 1
      return ctx.state.done
    },
    go: () => null,
    finish: (ctx) => ctx.exit(),
  },
})

test('[L5] dbos-workload: lifecycle operations are safe', async () => {
  await migrate(database.connection)
  const [a, b] = [await world.node('a', [worker]), await world.node('b', [worker])]
  // What is over stays over: no verb begins it again, and its result stands.
  const handle = await a.start(a.ref(worker, 'w').quick(), { idempotencyKey: 'one' })
  expect(await handle.result()).toBe(1)
  await world.until(() => a.core.kernel.find('worker/w') === undefined)
  for (const verb of ['stop', 'resume', 'restart', 'suspend', 'resume'] as const) await a.control[verb]('worker/w', ANA)
  expect([await handle.result(), await a.stored('worker/w')]).toEqual([1, { done: 1 }])
  expect((await a.start(a.ref(worker, 'w').quick(), { idempotencyKey: 'one' })).created).toBe(false)
  // A stop in the middle: nothing after it runs, until somebody says so; asking again does not.
  const long = await a.start(a.ref(worker, 'l').work('l'), { idempotencyKey: 'l' })
  await world.until(() => oracle.count('begin l') === 1)
  await world.until(() => a.core.kernel.find('worker/l') === undefined)
  await a.control.stop('worker/l', ANA)
  await b.send(b.ref(worker, 'l').go())
  expect((await b.start(b.ref(worker, 'l').work('l'), { idempotencyKey: 'l' })).created).toBe(false)
  await world.advance(1_200)
  expect(oracle.count('end l')).toBe(0)
  await a.control.resume('worker/l', ANA)
  expect(await world.run(long.result())).toBe(1)
  expect([oracle.count('begin l'), oracle.count('end l')]).toEqual([1, 1])
  // Verbs on what never was are typed.
  for (const verb of ['stop', 'kill', 'resume'] as const) {
    expect(await a.control[verb]('worker/never', ANA).catch(codeOf)).toBe('PROCESS_NOT_FOUND')
  }
})

test('[L5] dbos-workload: workflow state is queryable', async () => {
  await migrate(database.connection)
  const a = await world.node('a', [worker])
  const view = (node: TestNode, id = 'worker/w') =>
    inspecting(node, async (inspect) => {
      const detail = await inspect.process(id)
      const { value, version } = await inspect.state(id).catch(() => ({ value: null, version: null }))
      const journal = await inspect.journal(id, { limit: 100 }).catch(() => ({ items: [] }))
      return { detail, value, version, entries: journal.items.length }
    })
  await a.ref(worker, 'w').quick()
  const live = await view(a)
  expect(live).toMatchObject({ value: { done: 1 }, detail: { id: 'worker/w', agent: 'worker' } })
  // Passive, on a node that never ran it, and with its owner dead: the same answer.
  await world.until(() => a.core.kernel.find('worker/w') === undefined)
  const b = await world.node('b', [worker])
  for (const node of [a, b]) expect(await view(node)).toMatchObject({ value: { done: 1 }, entries: live.entries })
  const handle = await a.start(a.ref(worker, 'w').work('w'), { idempotencyKey: 'one' })
  await world.until(() => oracle.count('begin w') === 1)
  await world.until(async () => (await view(b)).detail?.wait?.kind === 'receive')
  expect(await view(b)).toMatchObject({ value: { done: 1 }, detail: { wait: { kind: 'receive', target: 'go' } } })
  a.kill()
  expect((await view(b)).detail?.wait).toMatchObject({ kind: 'receive', target: 'go' })
  await b.send(b.ref(worker, 'w').go())
  expect(await world.run((await b.core.messenger.handle('worker/w', 'one')).result())).toBe(2)
  expect(handle.created).toBe(true)
  const after = await view(b)
  expect(after).toMatchObject({ value: { done: 2 } })
  // Each earlier version reads as it was; a copy that was exported and imported tells the same.
  const past = await inspecting(b, (inspect) => inspect.state('worker/w', { version: live.version ?? 0 }))
  expect(past.value).toEqual({ done: 1 })
  const file = await inspecting(b, (inspect) => inspect.exportProcess('worker/w'))
  await b.control.importProcess(JSON.parse(JSON.stringify(file)), { ...ANA, as: 'worker/copy' })
  expect(await view(b, 'worker/copy')).toMatchObject({ value: { done: 2 }, entries: after.entries })
  const listed = await inspecting(b, (inspect) => inspect.processes({ q: 'agent:worker', status: 'passive' }))
  expect(listed.items.map(({ id }) => id)).toContain('worker/copy')
  expect(await view(b, 'worker/never')).toMatchObject({ detail: null, value: null })
})

test('[L5] dbos-workload: introspection survives rotten data', async () => {
  await migrate(database.connection)
  const first = await world.node('a', [worker])
  const keys = ['good1', 'rotten', 'good2', 'torn']
  for (const key of keys) await first.ref(worker, key).quick()
  await first.stop()
  const spoil = (key: string, payload: string) => sql`
    update vivarium.journal j set payload = ${payload} from vivarium.processes p
    where p.pid = j.process and p.id = ${`worker/${key}`}`
  await spoil('rotten', '[{"k":"init","value":{"$set":"no list"}}]')
  await spoil('torn', '[{"k":"ini')
  const node = await world.node('b', [worker])
  await inspecting(node, async (inspect) => {
    const listed = await inspect.processes({ q: 'agent:worker', status: 'passive' })
    expect(listed.items.map(({ id }) => id).sort()).toEqual(keys.map((key) => `worker/${key}`).sort())
    for (const key of keys) expect((await inspect.process(`worker/${key}`))?.id).toBe(`worker/${key}`)
    for (const key of ['good1', 'good2']) expect((await inspect.state(`worker/${key}`)).value).toEqual({ done: 1 })
    // The rotten ones say so, in words that name them, and their other parts are still there.
    for (const key of ['rotten', 'torn']) {
      const refused = await inspect.state(`worker/${key}`).catch((error: unknown) => error)
      expect(refused, key).toBeInstanceOf(Error)
      expect((await inspect.mailbox(`worker/${key}`, {})).items).toEqual([])
    }
  })
  // Neighbours work; a rotten one fails alone, and an operator can still stop it.
  expect(await node.ref(worker, 'good1').quick()).toBe(2)
  for (const key of ['rotten', 'torn']) {
    expect(await node.ref(worker, key).quick().run({ timeoutMs: 5_000 }).catch(codeOf)).not.toBe(2)
    await node.control.stop(`worker/${key}`, ANA)
  }
  expect(await node.ref(worker, 'good2').quick()).toBe(2)
  const { findings } = await inspecting(node, (inspect) => inspect.doctor())
  const found = findings.map((finding) => finding.process)
  expect(found).toEqual(expect.arrayContaining(['worker/rotten', 'worker/torn']))
})

function runtime(options: { schema?: string; name?: string } = {}): Promise<Runtime> {
  return createRuntime({ agents: [worker], databaseUrl: proxy.url, drainMs: 1_000, ...options })
}

test('[L5] dbos-workload: schemas stay isolated', async () => {
  // In one process and one database, the second made after the first.
  const one = await runtime({ schema: 'one' })
  const two = await runtime({ schema: 'two' })
  expect(await one.ref(worker, 'same').quick()).toBe(1)
  expect(await one.ref(worker, 'same').quick()).toBe(2)
  expect(await two.ref(worker, 'same').quick()).toBe(1)
  await one.ref(worker, 'only').quick()
  const started = await one.start(worker, 'same', 'quick', undefined, { idempotencyKey: 'key' })
  expect(await started.result()).toBe(3)
  expect(await two.handle(worker, 'same', 'key').catch(codeOf)).toBe('REQUEST_UNKNOWN')
  const ids = async (at: Runtime) => (await at.inspect.processes({ agent: 'worker' })).items.map(({ id }) => id).sort()
  expect([await ids(one), await ids(two)]).toEqual([['worker/only', 'worker/same'], ['worker/same']])
  expect((await two.inspect.state('worker/same')).value).toEqual({ done: 1 })
  expect(await two.inspect.process('worker/only')).toBeNull()
  const nodes = await Promise.all([one, two].map(({ inspect }) => inspect.nodes()))
  expect(nodes.map((rows) => rows.length)).toEqual([1, 1])
  await Promise.all([one.stop(), two.stop()])
  const rows = await sql`select 'one' as at, id from one.processes where agent = 'worker'
    union all select 'two', id from two.processes where agent = 'worker'`
  expect(rows.map((row) => `${row['at']} ${row['id']}`).sort()).toEqual([
    'one worker/only',
    'one worker/same',
    'two worker/same',
  ])
})

test('[L5] dbos-workload: shutdown completes cleanly', async () => {
  /** Ms: the drain of a second, and a machine under load. */
  const STOP_MS_MAX = 6_000
  const first = await runtime()
  // Waits of every kind are pending: turns that receive, a caller with a timeout, a reader of a stream, a handle.
  const pending = Array.from({ length: 40 }, (_, i) =>
    first.start(worker, `p${i}`, 'work', `p${i}`, { idempotencyKey: 'w' }),
  )
  const handles = await Promise.all(pending)
  const results = handles.map((handle) => handle.result().then(() => 'done', codeOf))
  const calls = handles.map((_, i) =>
    first
      .ref(worker, `p${i}`)
      .quick()
      .run({ timeoutMs: 600_000 })
      .then(() => 'done', codeOf),
  )
  const reading = (async () => {
    for await (const _ of first.stream('worker/p0', 'none')) return 'item'
    return 'end'
  })().catch(codeOf)
  await expect.poll(() => oracle.count('begin p39')).toBe(1)
  const startedAt = performance.now()
  await first.stop()
  expect(performance.now() - startedAt).toBeLessThan(STOP_MS_MAX)
  // Whoever waited is told, or is told by the next runtime; nobody hangs on what is gone.
  expect(await reading).toBe('RUNTIME_STOPPED')
  const heard = await Promise.all(calls)
  expect(new Set(heard)).toEqual(new Set(['RUNTIME_STOPPED']))
  expect(new Set(await Promise.all(results))).toEqual(new Set(['RUNTIME_STOPPED']))
  const again = await runtime()
  for (let i = 0; i < 40; i++) await again.send(again.ref(worker, `p${i}`).go())
  const found = await Promise.all(handles.map((_, i) => again.handle(worker, `p${i}`, 'w')))
  expect(await Promise.all(found.map((handle) => handle.result()))).toEqual(handles.map(() => 1))
  for (let i = 0; i < 40; i++) expect(oracle.count(`begin p${i}`)).toBe(1)
  await Promise.all([again.stop(), again.stop()])
})

test('[L5] dbos-workload: startup migrations stay bounded', async () => {
  /** Ms. A start of a schema that is up to date does not wait for anybody. */
  const START_MS_MAX = 10_000
  // Six starts at once on a database without tables: one of them makes each table.
  const many = await Promise.all(Array.from({ length: 6 }, (_, i) => runtime({ name: `n${i}` })))
  await Promise.all(many.map((each, i) => each.ref(worker, `m${i}`).quick()))
  await Promise.all(many.map((each) => each.stop()))
  const names = await sql<{ name: string }[]>`select name from vivarium.migrations`
  expect(new Set(names.map(({ name }) => name)).size).toBe(names.length)
  // Another session holds the lock of migrations, and keeps it.
  await sql.begin(async (holder) => {
    await holder`select pg_advisory_lock(hashtextextended('vivarium.migrate.vivarium', 0))`
    const startedAt = performance.now()
    const late = await runtime()
    expect(performance.now() - startedAt).toBeLessThan(START_MS_MAX)
    expect(await late.ref(worker, 'm0').quick()).toBe(2)
    await late.stop()
    await holder`select pg_advisory_unlock_all()`
  })
})
