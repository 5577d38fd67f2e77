/**
 * Vitest global setup of the projects that need Postgres: one embedded server per test run in a folder of its own, in
 * which every test file makes its database (database.ts). `DATABASE_URL` names another server to use instead; its user
 * must be allowed to create databases.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'

/** What a test file is told about the server of this run. */
export type TestServer = {
  readonly connection: TestConnection
  /** Start of every database name of this run, so that runs on one server never meet. */
  readonly prefix: string
}

/** Options for postgres.js; plain data, because it crosses to the test workers. */
export type TestConnection = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

declare module 'vitest' {
  interface ProvidedContext {
    postgres: TestServer
  }
}

type Server = { readonly connection: TestConnection; stop(): Promise<void> }

/** Returns the teardown. Every database of the run is gone after it, also where a test file forgot its own. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const url = process.env['DATABASE_URL']
  const server = url === undefined ? await ownServer() : otherServer(url)
  const prefix = `vivarium_test_${randomBytes(4).toString('hex')}`
  project.provide('postgres', { connection: server.connection, prefix })
  return async () => {
    await administer(server.connection, (sql) => dropAll(sql, prefix)).finally(() => server.stop())
  }
}

async function ownServer(): Promise<Server> {
  const dataDir = await mkdtemp(join(tmpdir(), 'vivarium-test-'))
  const server = await startEmbedded({ dataDir })
  return {
    connection: server.connection,
    async stop() {
      await server.release()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

function otherServer(text: string): Server {
  const url = new URL(text)
  const connection = {
    host: url.searchParams.get('host') ?? url.hostname,
    port: url.port === '' ? 5432 : Number(url.port),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
  }
  return { connection, stop: () => Promise.resolve() }
}

async function dropAll(sql: postgres.Sql, prefix: string): Promise<void> {
  const found = await sql<{ name: string }[]>`
    select datname as name from pg_database where starts_with(datname, ${prefix})`
  for (const { name } of found) await sql`drop database ${sql(name)} with (force)`
}

async function administer<T>(connection: TestConnection, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres({ ...connection, max: 1, onnotice: () => undefined })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}
