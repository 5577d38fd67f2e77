/** Migrations: together, twice, into two schemas, after a crash, and from a changed file. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { paths } from '../../server/paths.ts'
import { migrate } from '../../server/store/migrate.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { StoreBench } from '../support/store-world.ts'

let database: TestDatabase
let folder: string
/** Every migration that ships, in order. */
const NAMES = (await readdir(paths.migrations))
  .flatMap((file) => (file.endsWith('.sql') ? [file.slice(0, -4)] : []))
  .sort()

beforeEach(async () => {
  database = await freshDatabase()
  folder = await mkdtemp(join(tmpdir(), 'vivarium-migrations-'))
  await cp(paths.migrations, folder, { recursive: true })
})
afterEach(async () => {
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

test('[D15] runtimes that start together apply each migration once', async () => {
  const schema = 'together'
  const runs = await Promise.all(Array.from({ length: 4 }, () => migrate(database.connection, { schema })))
  expect(runs.flatMap(({ applied }) => applied)).toEqual(NAMES)
  expect((await migrate(database.connection, { schema })).applied).toEqual([])
})

test('[D15] a schema that lacks nothing waits for nobody who migrates', async () => {
  const schema = 'held'
  await migrate(database.connection, { schema })
  const holder = postgres({ ...database.connection, max: 1 })
  await holder`select pg_advisory_lock(hashtextextended(${`vivarium.migrate.${schema}`}, 0))`
  expect((await migrate(database.connection, { schema })).applied).toEqual([])
  await holder.end()
})

test('[D15] two schemas of one database know nothing of each other', async () => {
  await migrate(database.connection, { schema: 'one' })
  await migrate(database.connection, { schema: 'two' })
  const handles = ['one', 'two'].map((schema) =>
    openPostgres({ connection: database.connection, clock: realClock(), schema }),
  )
  const [one, two] = handles.map((handle) => new StoreBench({ name: 'schema', handle: () => handle }))
  if (one === undefined || two === undefined) expect.fail()
  const node = await one.node()
  await one.own(node, 'a')
  expect(await two.archive.process(one.namespace, 'cart/a')).toBeNull()
  expect(await two.store.nodes(one.namespace)).toEqual([])
  await Promise.all(handles.map((handle) => handle.close()))
})

test('[D15] nothing is made outside the schema, and no search path is changed', async () => {
  const sql = postgres({ ...database.connection, max: 1 })
  const tables = async () => {
    const rows =
      await sql`select schemaname from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`
    return new Set(rows.map((row) => String(row['schemaname'])))
  }
  const before = await tables()
  await migrate(database.connection, { schema: 'only_here' })
  expect(await tables()).toEqual(new Set([...before, 'only_here']))
  await sql.end()
})

test('[D15] a migration that fails leaves nothing behind and is named', async () => {
  const file = join(folder, '0001_processes.sql')
  await writeFile(file, `${await readFile(file, 'utf8')}\n--> statement-breakpoint\nselect 1 / 0;\n`)
  const failed = migrate(database.connection, { schema: 'half', folder })
  await expect(failed).rejects.toMatchObject({ code: 'MIGRATION_FAILED', detail: { migration: '0001_processes' } })
  expect((await migrate(database.connection, { schema: 'half' })).applied).toEqual(NAMES)
})

test('[D15] a migration that was changed after it was applied is refused', async () => {
  await migrate(database.connection, { schema: 'changed' })
  const file = join(folder, '0001_processes.sql')
  await writeFile(file, `-- changed\n${await readFile(file, 'utf8')}`)
  const refused = migrate(database.connection, { schema: 'changed', folder })
  await expect(refused).rejects.toMatchObject({ code: 'MIGRATION_FAILED' })
})

test('[D15] the crash point is passed once per migration, after it is whole', async () => {
  const hits: string[] = []
  await migrate(database.connection, { schema: 'hits', crash: { hit: (name) => void hits.push(name) } })
  await migrate(database.connection, { schema: 'hits', crash: { hit: (name) => void hits.push(name) } })
  expect(hits).toEqual(NAMES.map(() => 'migration:applied'))
})

test.each(['Upper', 'a-b', 'a"; drop schema x; --', '', 'pg_mine', 'public', 'x'.repeat(64)])(
  '[D15] a schema name that would need quoting is refused: %s',
  async (schema) => {
    await expect(migrate(database.connection, { schema })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  },
)
