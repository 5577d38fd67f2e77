/** Large values on a real Postgres: deaths, readers, races of collection and touch, plans. */
import { createHash } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { fold } from '../../server/journal/fold.ts'
import { migrate } from '../../server/store/migrate.ts'
import { viewInstant } from '../../server/store/postgres/instant-view.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { NewBlob } from '../../server/store/store.ts'
import { encode, type Value } from '../../shared/value.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { settled } from '../support/held-row.ts'
import { Oracle, World } from '../support/runtime.ts'
import { row, StoreBench } from '../support/store-world.ts'

const MIB = 1024 * 1024
/** Blobs and references of a table that is large enough for plans to matter. */
const MANY = 20_000

let database: TestDatabase
let sql: postgres.Sql
let world: World
let oracle: Oracle

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  sql = postgres({ ...database.connection, max: 1, connection: { search_path: 'vivarium' } })
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
})
afterEach(() => world.close())

type Shelf = { books: Record<string, string>; bytes: Uint8Array; log: string[] }

const library = agent('library', {
  state: (): Shelf => ({ books: {}, bytes: new Uint8Array(0), log: [] }),
  on: {
    async lend(ctx, { title, chars }: { title: string; chars: number }) {
      const odd = `${title} \u0000\ud800 "\\ {"$blob":"${'0'.repeat(64)}"} `
      const text = await ctx.step('fetch', () => {
        oracle.hit(`fetch ${title}`)
        return odd.repeat(Math.ceil(chars / odd.length))
      })
      await ctx.step('stamp', () => (oracle.hit(`stamp ${title}`) === 1 ? new Promise(() => {}) : null))
      ctx.state.books[title] = text
      ctx.state.bytes = Uint8Array.from({ length: MIB / 4 }, (_, i) => i % 251)
      return text.length
    },
    note(ctx, text: string) {
      ctx.state.log.push(text)
      return ctx.state.log.length
    },
  },
})

test('[V4] a turn with a result of megabytes survives a kill; state and result come back byte for byte', async () => {
  const node = await world.node('a', [library])
  await node.start(node.ref(library, 'k').lend({ title: 'Faust', chars: 3 * MIB }))
  await world.until(() => oracle.count('stamp Faust') === 1, 'the second step')
  node.kill()
  const second = await world.node('b', [library])
  await world.until(async () => (await shelf(second, 'library/k'))?.books['Faust'] !== undefined, 'the end of the turn')
  expect(oracle.count('fetch Faust')).toBe(1)
  const live = second.core.layer.committed('library/k')?.value ?? expect.fail('it is in memory')
  expect(encode(await second.stored('library/k')).length).toBeGreaterThan(3 * MIB)
  expect(encode(await second.stored('library/k')) === encode(live)).toBe(true)
  const [largest] = await sql`select max(length(payload)) as chars from journal`
  expect(Number(largest?.['chars'])).toBeLessThan(64 * 1024)
  // Snapshots share what did not change: the text is there once, whatever refers to it.
  await world.until(async () => (await sql`select 1 from snapshots`).length > 0, 'a snapshot')
  const big = await sql`select hash from blobs where length(value) > ${MIB}`
  expect(big).toHaveLength(1)
  await second.stop()
  const third = await world.node('c', [library])
  expect(await third.ref(library, 'k').note('again')).toBe(1)
  const again = third.core.layer.committed('library/k')?.value as unknown as Shelf
  expect(encode({ ...again, log: [] } as unknown as Value) === encode(live)).toBe(true)
  await readersAgree(encode(again as unknown as Value))
})

async function shelf(node: { stored(id: string): Promise<unknown> }, id: string): Promise<Shelf | undefined> {
  return (await node.stored(id)) as Shelf | undefined
}

/** Whoever reads the tables sees values, not references. */
async function readersAgree(expected: string): Promise<void> {
  const view = { connection: database.connection, schema: 'vivarium', namespace: 'default' }
  const seen = await viewInstant(view, async (instant) => {
    const states: string[] = []
    for await (const { record, ...rows } of instant.processes('library')) {
      if (record.id === 'library/k') states.push(encode(fold(rows).state))
    }
    return states
  })
  expect(seen.length === 1 && seen[0] === expected).toBe(true)
}

test('[V4] the journal that people read shows the step with its result', async () => {
  const node = await world.node('a', [library])
  oracle.hit('stamp Emma')
  await node.ref(library, 'shown').lend({ title: 'Emma', chars: MIB })
  const record = await node.core.backend.handle.archive.process('default', 'library/shown')
  const rows = await node.core.backend.handle.archive.journal(record?.pid ?? 0, { limit: 50 })
  const payloads = rows.map((found) => found.payload.length)
  expect(Math.max(...payloads)).toBeGreaterThan(MIB)
  expect(rows.every((found) => found.omitted === 0)).toBe(true)
})

function blobOf(value: string): NewBlob {
  return { value, hash: createHash('sha256').update(value).digest('hex') }
}

test('[D22] a touch and a collection that meet never leave a row without its value', async () => {
  const handle = openPostgres({ connection: database.connection, clock: realClock() })
  const bench = new StoreBench({ name: 'race', handle: () => handle })
  const node = await bench.node()
  const blobs = Array.from({ length: 20 }, (_, i) => blobOf(`"race ${i} ${'x'.repeat(10_000)}"`))
  const owned = await Promise.all(blobs.map((_, i) => bench.own(node, `race ${i}`)))
  for (let round = 0; round < 15; round++) {
    await bench.store.writeBlobs(node, blobs)
    await sql`update blobs set touched_at = now() - interval '25 hours'`
    await sql`delete from blob_refs where hash = any(${blobs.map(({ hash }) => hash)})`
    const step = { untouchedMs: 24 * 60 * 60_000, after: null, limit: 1_000 }
    const collecting = [1, 2, 3].map(() => bench.store.collectBlobs(node, step))
    const writing = blobs.map(async (blob, i) => {
      await bench.store.writeBlobs(node, [blob])
      await bench.write(node, owned[i] ?? expect.fail(), { blobs: [blob.hash] })
    })
    await Promise.all([...collecting, ...writing])
    const lost = await sql`select hash from blob_refs r where not exists (select 1 from blobs b where b.hash = r.hash)`
    expect(lost, `round ${round}`).toEqual([])
  }
  await handle.close()
})

test('[D21] a row is refused whose blob was not touched for half a day', async () => {
  const handle = openPostgres({ connection: database.connection, clock: realClock() })
  const bench = new StoreBench({ name: 'old', handle: () => handle })
  const node = await bench.node()
  const owned = await bench.own(node, 'old')
  const blob = blobOf('"old"')
  await bench.store.writeBlobs(node, [blob])
  await sql`update blobs set touched_at = now() - interval '13 hours' where hash = ${blob.hash}`
  expect(await bench.commit(node, row(owned, { blobs: [blob.hash] }))).toEqual([{ kind: 'refused' }])
  await bench.store.writeBlobs(node, [blob])
  await bench.write(node, owned, { blobs: [blob.hash] })
  await handle.close()
})

test('[D14] loads, commits and collections find blobs and references by key, however many there are', async () => {
  const handle = openPostgres({ connection: database.connection, clock: realClock() })
  const bench = new StoreBench({ name: 'plans', handle: () => handle })
  const node = await bench.node()
  const owned = await bench.own(node, 'plan')
  const blob = blobOf('"plan"')
  await bench.store.writeBlobs(node, [blob])
  await sql`insert into blobs (hash, value) select 'h' || n, 'v' from generate_series(1, ${MANY}) n`
  await sql`insert into blob_refs (process, snapshot, seq, hash)
    select ${owned.record.pid + 1_000_000} + n % 100, false, n, 'h' || n from generate_series(1, ${MANY}) n`
  await sql`analyze blobs, blob_refs`
  const before = await settled(sql, sequentialReads)
  await bench.write(node, owned, { blobs: [blob.hash], payload: `[{"$blob":"${blob.hash}"}]` })
  expect((await bench.load(node, owned)).journal[0]?.payload).toBe('["plan"]')
  await bench.archive.stateRows(owned.record.pid)
  await bench.archive.journal(owned.record.pid, { limit: 10 })
  await bench.store.collectBlobs(node, { untouchedMs: 0, after: 'h', limit: 10 })
  await handle.close()
  expect((await settled(sql, sequentialReads)) - before).toBeLessThan(MANY)
})

/** Rows read from blobs and references so far by scans of a whole table. */
async function sequentialReads(): Promise<number> {
  const [found] = await sql<{ sequential: string }[]>`
    select sum(seq_tup_read) as sequential from pg_stat_user_tables
    where schemaname = 'vivarium' and relname in ('blobs', 'blob_refs')`
  return Number(found?.sequential)
}
