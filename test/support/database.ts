/**
 * Databases for test files: one each on the server of the run (postgres.ts), so files never meet. The older server,
 * where the machine has one, is for the contract suite: the store promises Postgres 15 and later, the embedded one is
 * 18.
 */
import { randomBytes } from 'node:crypto'
import { access, chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, inject } from 'vitest'
import type { Binaries } from '../../server/store/embedded/binary.ts'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'
import { migrate } from '../../server/store/migrate.ts'
import type { TestConnection } from './postgres.ts'

export type TestDatabase = {
  readonly connection: TestConnection
  drop(): Promise<void>
}

/** Where Debian and its children put every major version side by side. */
const SYSTEM_SERVERS = '/usr/lib/postgresql'
/** The oldest version the store promises to work on. */
const OLDEST_MAJOR = 15

/** An empty one. The run drops it at its end if the file does not. */
export async function freshDatabase(): Promise<TestDatabase> {
  const { connection, prefix } = inject('postgres')
  const name = `${prefix}_${randomBytes(6).toString('hex')}`
  await administer(connection, (sql) => sql`create database ${sql(name)} template template0`)
  return {
    connection: { ...connection, database: name },
    async drop() {
      await administer(connection, (sql) => sql`drop database if exists ${sql(name)} with (force)`)
    },
  }
}

/** A migrated database for the test file that calls it, there from `beforeAll` on. */
export function testDatabase(): { readonly connection: TestConnection } {
  let database: TestDatabase | null = null
  beforeAll(async () => {
    database = await freshDatabase()
    await migrate(database.connection)
  })
  afterAll(() => database?.drop())
  return {
    get connection() {
      if (database === null) throw new Error('The database is made in beforeAll.')
      return database.connection
    },
  }
}

/** The programs of the oldest supported server below the embedded one, or undefined where none is installed. */
export async function findOlderServer(embeddedMajor = 18): Promise<Binaries | undefined> {
  const majors = (await readdir(SYSTEM_SERVERS).catch(() => []))
    .map(Number)
    .filter((major) => major >= OLDEST_MAJOR && major < embeddedMajor)
    .sort((a, b) => a - b)
  for (const major of majors) {
    const bin = join(SYSTEM_SERVERS, String(major), 'bin')
    const whole = await Promise.all(['initdb', 'pg_ctl', 'postgres'].map((name) => access(join(bin, name)))).then(
      () => true,
      () => false,
    )
    if (whole) return { bin, version: String(major), major }
  }
  return undefined
}

/** An empty database on a server of these programs, in a folder of its own. */
export async function startOlderServer(binaries: Binaries): Promise<TestDatabase> {
  const dataDir = await mkdtemp(join(tmpdir(), 'vivarium-test-older-'))
  // Programs before 16 lose their way in a folder their user cannot pass.
  await chmod(dataDir, 0o711)
  const server = await startEmbedded({ dataDir, binaries })
  return {
    connection: server.connection,
    async drop() {
      await server.release()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function administer<T>(connection: TestConnection, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres({ ...connection, max: 1, onnotice: () => undefined })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}
