/**
 * The connection by which a runtime counts as a user of the embedded server. It holds a shared advisory lock on the
 * database `postgres` for as long as it lives, so a runtime that is killed stops counting by itself. It carries nothing
 * else, and its end is how the runtime learns that the server went down.
 */
import postgres, { type Sql } from 'postgres'
import { RuntimeError } from '../../../shared/error.ts'
import { errorCode } from './folder.ts'
import { SOCKET_PORT } from './socket.ts'

export type SessionTarget = {
  readonly host: string
  readonly user: string
  readonly password: string
  readonly database: string
}

export type EmbeddedSession = {
  /** Whether the server still answers on this connection. */
  answers(): Promise<boolean>
  /** True when no other session counts. Afterwards this one does not count either. */
  leave(): Promise<boolean>
  close(): Promise<void>
}

/** The maintenance database: locks are per database, and the runtime's own may be dropped, cloned or renamed. */
const MAINTENANCE_DATABASE = 'postgres'
/** One key in the space of advisory locks of that database; the letters `viva`. */
const USER_LOCK = 0x76697661
/** Seconds until a server that accepts but does not answer counts as down. */
const CONNECT_SECONDS_MAX = 10

/** Connects, counts, and creates the runtime's database when it is missing. `ended` is called once, when the connection
 *  is lost and not when it is closed here. */
export async function openSession(target: SessionTarget, ended: () => void): Promise<EmbeddedSession> {
  let lost = false
  let closing = false
  const sql = connect(target, () => {
    if (!lost && !closing) ended()
    lost = true
  })
  try {
    await sql`select pg_advisory_lock_shared(${USER_LOCK})`
    await ensureDatabase(sql, target.database)
  } catch (error) {
    closing = true
    await sql.end({ timeout: 0 })
    throw error
  }
  return {
    async answers() {
      if (lost || closing) return false
      return sql`select 1`.then(
        () => !lost,
        () => false,
      )
    },
    async leave() {
      await sql`select pg_advisory_unlock_shared(${USER_LOCK})`
      const [row] = await sql<{ alone: boolean }[]>`select pg_try_advisory_lock(${USER_LOCK}) as alone`
      return row?.alone === true
    },
    async close() {
      closing = true
      await sql.end({ timeout: 1 })
    },
  }
}

/** How many runtimes use the server. */
export async function countSessions(target: SessionTarget): Promise<number> {
  const sql = connect(target, () => undefined)
  try {
    const [row] = await sql<{ users: number }[]>`
      select count(*)::int as users from pg_locks
      where locktype = 'advisory' and classid = 0 and objid = ${USER_LOCK} and objsubid = 1
        and database = (select oid from pg_database where datname = current_database())
        and mode = 'ShareLock' and granted`
    return row?.users ?? 0
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** The callers hold the folder's lock, so nobody else creates it in between. */
async function ensureDatabase(sql: Sql, name: string): Promise<void> {
  const found = await sql`select 1 from pg_database where datname = ${name}`
  if (found.length === 0) await sql`create database ${sql(name)}`
}

function connect(target: SessionTarget, closed: () => void): Sql {
  return postgres({
    host: target.host,
    port: SOCKET_PORT,
    user: target.user,
    password: target.password,
    database: MAINTENANCE_DATABASE,
    max: 1,
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: CONNECT_SECONDS_MAX,
    fetch_types: false,
    prepare: false,
    connection: { application_name: 'vivarium session' },
    onclose: closed,
    onnotice: () => undefined,
  })
}

/** Turns a refused connection into the refusal of the folder. */
export function foreignServer(error: unknown, home: string, pid: number): RuntimeError {
  return new RuntimeError(
    'EMBEDDED_FOLDER_LOCKED',
    `A Postgres server (process ${pid}) runs on ${home} and does not let this runtime in ` +
      `(${errorCode(error) ?? String(error)}). Stop it, or choose another data folder.`,
    { cause: error, detail: { path: home, pid } },
  )
}
