/** Bad luck between a runtime and its database: down at start, an answer lost, one row that cannot be written. */
import postgres from 'postgres'
import { afterEach, expect, test } from 'vitest'
import { createRuntime, type Runtime, type RuntimeEvent } from 'vivarium'
import { realClock } from '../../server/clock.ts'
import type { Clock } from '../../server/kernel/clock-port.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'
import { TallyLoad, tallies, tally } from '../support/tally.ts'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function database(): Promise<TestDatabase> {
  const made = await freshDatabase()
  cleanups.push(() => made.drop())
  return made
}

async function proxyOf({ connection }: TestDatabase): Promise<PostgresProxy> {
  const proxy = await PostgresProxy.make(() => connection)
  cleanups.push(() => proxy.cut())
  return proxy
}

async function start(databaseUrl: string, clock?: Clock): Promise<Runtime> {
  const runtime = await createRuntime({ root: tallies, databaseUrl, ...(clock === undefined ? {} : { clock }) })
  cleanups.push(() => runtime.stop())
  return runtime
}

test('[B1] a start waits for a database that is down and goes on when it is up', async () => {
  const proxy = await proxyOf(await database())
  const starting = start(proxy.url)
  // Long enough for several refused attempts.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  await proxy.open()
  const runtime = await starting
  await expect(runtime.ref(tally, 't0').add({ id: 'a', fill: '' })).resolves.toBe('t0')
})

test('[B1] a start whose database stays down fails with a code and the address', async () => {
  const proxy = await proxyOf(await database())
  await expect(start(proxy.url, hastyClock())).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('127.0.0.1'),
  })
})

test('[B2] a commit whose acknowledgement is lost is answered, and happened once', async () => {
  const proxy = await proxyOf(await database())
  await proxy.open()
  const runtime = await start(proxy.url)
  const load = new TallyLoad(runtime)
  load.begin()
  await load.progress(50)
  for (let round = 1; round <= 5; round++) {
    await proxy.loseNextCommitAck()
    await load.progress(50)
  }
  await load.end()
  expect(proxy.lost).toBe(5)
  expect([...load.refused]).toEqual([])
  expect(await load.wrong()).toEqual([])
})

test('[B3] one row that the database refuses fails alone; its neighbours are stored', async () => {
  const base = await database()
  const sql = postgres({ ...base.connection, max: 1, onnotice: () => undefined })
  cleanups.push(() => sql.end())
  const runtime = await start((await opened(base)).url)
  await sql`create function refuse() returns trigger language plpgsql as $$ begin
    if new.payload like '%belladonna%' then raise exception 'indigestible' using errcode = '22023'; end if;
    return new; end $$`
  await sql`create trigger refuse before insert on vivarium.journal for each row execute function refuse()`
  const events: RuntimeEvent[] = []
  runtime.on(['dead-letter', 'store:down'], (event) => events.push(event))
  const load = new TallyLoad(runtime)
  load.begin()
  await load.progress(20)
  const outcome = await runtime
    .ref(tally, 't3')
    .poison({ word: 'belladonna' })
    .then(
      () => 'answered',
      (error: unknown) => error,
    )
  await load.progress(50)
  await load.end()
  expect(outcome).toMatchObject({ code: 'DEAD_LETTERED' })
  expect(events.map((event) => event.kind)).toEqual(['dead-letter'])
  expect([...load.refused]).toEqual([])
  expect(await load.wrong()).toEqual([])
  expect(await runtime.ref(tally, 't3').fill()).not.toBe('belladonna')
})

async function opened(base: TestDatabase): Promise<PostgresProxy> {
  const proxy = await proxyOf(base)
  await proxy.open()
  return proxy
}

/** Waits a fortieth of what it is told to: a patience of half a minute in under a second. */
function hastyClock(): Clock {
  const clock = realClock()
  const haste = 40
  return {
    ...clock,
    now: () => clock.now(),
    monotonic: () => clock.monotonic() * haste,
    after: (ms, fn) => clock.after(ms / haste, fn),
    macrotask: (fn) => clock.macrotask(fn),
  }
}

test('[B17] what must be kept and is refused is tried again with a pause, and nobody else waits', async () => {
  const base = await database()
  const sql = postgres({ ...base.connection, max: 1, onnotice: () => undefined })
  cleanups.push(() => sql.end())
  const runtime = await start((await opened(base)).url)
  await sql`create function refuse() returns trigger language plpgsql as $$ begin
    raise exception 'not now' using errcode = '22023'; end $$`
  await sql`create trigger refuse before insert on vivarium.dead_letters for each row execute function refuse()`
  const refused: RuntimeEvent[] = []
  const end = runtime.on(['commit:stop'], (event) => {
    if (event.kind === 'commit:stop' && event.outcome === 'rejected') refused.push(event)
  })
  const failing = runtime.ref(tally, 't9').fail().run({ timeoutMs: 60_000 })
  const outcome = failing.then(
    () => 'answered',
    (error: unknown) => error,
  )
  const load = new TallyLoad(runtime)
  load.begin()
  while (refused.length < 3) await load.progress(10)
  await load.progress(500)
  await load.end()
  end()
  expect(refused.length).toBeLessThan(30)
  await sql`drop trigger refuse on vivarium.dead_letters`
  expect(await outcome).toMatchObject({ code: 'DEAD_LETTERED' })
  expect(await load.wrong()).toEqual([])
})
