/**
 * Brings one schema up to the migrations that ship with the package (migrations/, made by drizzle-kit, named by hand).
 *
 * - One runtime at a time: a session advisory lock on a connection of its own, held over the whole run. Drizzle's own
 *   migrator takes none and fails when two start together. A schema that lacks nothing takes no lock: its start
 *   waits for nobody who holds it.
 * - One transaction per migration, with its record: a crash at any instant leaves whole migrations only.
 * - The files name no schema. Each runs under a search path that is local to its transaction.
 * - A file that changed after it was applied is refused. Migrations of a newer version are left alone: during a rolling
 *   deploy old code runs on the newer schema, and migrations are written so that it can.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { RuntimeError } from '../../shared/error.ts'
import type { CrashPoints } from '../crash-point.ts'
import { paths } from '../paths.ts'
import { begin } from './postgres/begin.ts'
import { openClient, type PostgresConnection, type Sql } from './postgres/client.ts'
import { asFailure } from './postgres/failure.ts'
import { type SchemaName, schemaName } from './postgres/schema-name.ts'
import { SCHEMA_DEFAULT } from './schema.ts'

/** The oldest server everything here was tested on; the number is `server_version_num` of 15.0. */
const SERVER_VERSION_MIN = 150_000

export type MigrateOptions = {
  readonly schema?: string
  readonly crash?: CrashPoints
  /** Folder of the files, for tests. */
  readonly folder?: string
}

type Migration = { readonly name: string; readonly hash: string; readonly statements: readonly string[] }

/** `serverVersion` is `server_version_num`: 180004 is 18.4. `applied`: names of what was missing. */
export type Migrated = { readonly serverVersion: number; readonly applied: readonly string[] }

/** Applies what is missing. Safe to call from many runtimes at once.
 *  @throws STORE_VERSION_UNSUPPORTED  the server is older than 15
 *  @throws MIGRATION_FAILED  with the migration, the schema and the cause
 *  @throws StoreFailure  the server cannot be reached */
export async function migrate(connection: PostgresConnection, options: MigrateOptions = {}): Promise<Migrated> {
  const schema = schemaName(options.schema ?? SCHEMA_DEFAULT)
  const migrations = await readMigrations(options.folder ?? paths.migrations)
  const sql = openClient(connection, 'vivarium migrate', 1)
  try {
    const serverVersion = await checkServer(sql)
    if (await isWhole(sql, schema, migrations)) return { serverVersion, applied: [] }
    await sql`select pg_advisory_lock(hashtextextended(${`vivarium.migrate.${schema}`}, 0))`
    const applied = await prepare(sql, schema)
    const names: string[] = []
    for (const migration of migrations) {
      if (isApplied(migration, applied, schema)) continue
      await apply(sql, schema, migration)
      names.push(migration.name)
      options.crash?.hit('migration:applied')
    }
    return { serverVersion, applied: names }
  } catch (error) {
    throw asFailure(error)
  } finally {
    // Ends the session and with it the lock.
    await sql.end({ timeout: 0 })
  }
}

async function checkServer(sql: Sql): Promise<number> {
  const [row] = await sql<{ version: string; number: number }[]>`
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number`
  if (row !== undefined && row.number >= SERVER_VERSION_MIN) return row.number
  throw new RuntimeError(
    'STORE_VERSION_UNSUPPORTED',
    `The database server is Postgres ${row?.version ?? 'of unknown version'}; 15 or later is needed.`,
  )
}

/** Only additions are ever made to the list, so what it has without the lock it keeps. */
async function isWhole(sql: Sql, schema: SchemaName, migrations: readonly Migration[]): Promise<boolean> {
  const [found] = await sql`select 1 from pg_tables where schemaname = ${schema} and tablename = 'migrations'`
  if (found === undefined) return false
  const applied = await appliedIn(sql, schema)
  return migrations.every((migration) => isApplied(migration, applied, schema))
}

async function appliedIn(sql: Sql, schema: SchemaName): Promise<Map<string, string>> {
  const rows = await sql<{ name: string; hash: string }[]>`select name, hash from ${sql(schema)}.migrations`
  return new Map(rows.map((row) => [row.name, row.hash]))
}

/** Makes the schema and the list of what was applied; returns that list. */
async function prepare(sql: Sql, schema: SchemaName): Promise<Map<string, string>> {
  const [found] = await sql`select 1 from pg_namespace where nspname = ${schema}`
  // Asked first: a role without the right to create schemas may still use one that an administrator made.
  if (found === undefined) await sql`create schema if not exists ${sql(schema)}`
  await sql`
    create table if not exists ${sql(schema)}.migrations
      (name text primary key, hash text not null, applied_at timestamptz not null default now())`
  return appliedIn(sql, schema)
}

function isApplied(migration: Migration, applied: ReadonlyMap<string, string>, schema: SchemaName): boolean {
  const hash = applied.get(migration.name)
  if (hash === undefined || hash === migration.hash) return hash !== undefined
  throw new RuntimeError(
    'MIGRATION_FAILED',
    `Migration ${migration.name} of schema ${schema} was applied from another file (${hash.slice(0, 12)}, here ` +
      `${migration.hash.slice(0, 12)}). Use the release that applied it, or a fresh schema.`,
    { detail: { migration: migration.name, schema } },
  )
}

async function apply(sql: Sql, schema: SchemaName, migration: Migration): Promise<void> {
  try {
    await begin(sql, async (tx) => {
      await tx`select set_config('search_path', ${schema}, true)`
      for (const statement of migration.statements) await tx.unsafe(statement)
      await tx`insert into migrations (name, hash) values (${migration.name}, ${migration.hash})`
    })
  } catch (error) {
    const failure = asFailure(error)
    if (!(failure instanceof RuntimeError) && failure.kind === 'unavailable') throw failure
    throw new RuntimeError(
      'MIGRATION_FAILED',
      `Migration ${migration.name} of schema ${schema} failed and was rolled back: ${failure.message}.`,
      { cause: error, detail: { migration: migration.name, schema } },
    )
  }
}

/** Drizzle reads and hashes the files; their names are in drizzle-kit's own list, in the same order. */
async function readMigrations(folder: string): Promise<Migration[]> {
  const list: { entries: { tag: string }[] } = JSON.parse(await readFile(join(folder, 'meta', '_journal.json'), 'utf8'))
  return readMigrationFiles({ migrationsFolder: folder }).map((file, i) => ({
    name: list.entries[i]?.tag ?? file.hash,
    hash: file.hash,
    statements: file.sql,
  }))
}
