/**
 * The postgres.js clients of one store. They are never shared between raw SQL and Drizzle: Drizzle replaces the codecs
 * of the client it is given.
 *
 * - commit: one connection per batch in flight and one to spare. C1: `lock_timeout` is set, so that two writers that
 *   meet end as `contended` instead of waiting for ever. Plans are generic: planning each batch costs a third of the
 *   throughput. They are made while the tables may be empty and must still be right when they are large, so every table
 *   is reached by a list of its keys (commit.ts), sequential scans are off, and no plan depends on sizes.
 * - read: claims, loads, messages and timers, planned each time: they are rarer, and their joins want to know sizes.
 *   archive: Drizzle, for people, with a short patience.
 * - transaction: Drizzle, for `ctx.transaction`; the commit statement is the last one of each. Its limits are short: a
 *   transaction that hangs holds locks of the app. The callback is given up before its session is.
 * - A lost connection is made again after BACKOFF_S_MAX at most; the driver's own back-off would sleep 20 s.
 */
import postgres from 'postgres'

/** Options of postgres.js that say where the server is; `url` wins where given. */
export type PostgresConnection =
  | { readonly url: string }
  | {
      readonly host: string
      readonly port: number
      readonly user: string
      readonly password: string
      readonly database: string
    }

export type Sql = postgres.Sql<{ bigint: number }>

export type ClientOptions = {
  /** Sent with the connection; they hold for all of its life. */
  readonly settings?: Settings
  readonly onnotify?: (channel: string, payload: string) => void
  readonly onclose?: () => void
}
type Settings = Record<string, string | number | boolean>

export type Clients = {
  readonly commit: Sql
  readonly read: Sql
  readonly archive: postgres.Sql
  readonly transaction: postgres.Sql
}

/** Connections. Three batches are in flight (journal/committer.ts); the fourth takes a retry in halves. */
export const COMMIT_CONNECTIONS = 4
const READ_CONNECTIONS = 4
const ARCHIVE_CONNECTIONS = 3

/** Ms. Long enough for a neighbour's batch, short enough that a deadlock with a foreign writer hurts nobody. */
const LOCK_TIMEOUT_MS = 2_000
/** Ms. A commit takes milliseconds; one that takes this long is on a broken disk or connection. */
const COMMIT_TIMEOUT_MS = 30_000
/** Ms. A page for a person: who waits longer has gone. */
const ARCHIVE_TIMEOUT_MS = 5_000
/** Connections of user transactions: enough to keep two cores of a database busy, few beside its limit of 100. */
const TRANSACTION_CONNECTIONS = 4
/** Ms of one statement of a user transaction, as long as the whole callback may take (journal/transaction.ts). */
const TRANSACTION_STATEMENT_MS = 10_000
/** Ms in which a transaction gets no word of its node: one that is frozen in the middle of a claim would hold its own
 *  row of the node table for as long as it is, and nobody could bury it. Less than a lease (N11). */
const IDLE_MS = 12_000
/** Ms of a whole transaction, a lone statement included. A node that is frozen between the parts of one message is busy
 *  for the server, not idle: nothing else ends that session. More than a callback of the user's may take, less
 *  than a lease (N11). */
const TRANSACTION_SESSION_MS = 18_000
/** The first server that knows `transaction_timeout`; others refuse the connection for it. */
const TRANSACTION_TIMEOUT_VERSION = 170_000
/** Seconds until a connection attempt fails, and between attempts. */
const CONNECT_TIMEOUT_S = 5
const BACKOFF_S_STEP = 0.05
const BACKOFF_S_MAX = 0.5

const NAME = 'vivarium'

/** int8 as a number: every bigint of the schema is a counter that stays far below 2^53. */
const bigint = {
  to: 20,
  from: [20],
  serialize: (value: number) => String(value),
  parse: (text: string) => Number(text),
}

/** @param serverVersion  `server_version_num`; where it is not known, as of an old one */
export function openClients(connection: PostgresConnection, serverVersion = 0): Clients {
  const bound = serverVersion < TRANSACTION_TIMEOUT_VERSION ? {} : { transaction_timeout: TRANSACTION_SESSION_MS }
  return {
    commit: openClient(connection, `${NAME} commit`, COMMIT_CONNECTIONS, {
      settings: {
        lock_timeout: LOCK_TIMEOUT_MS,
        statement_timeout: COMMIT_TIMEOUT_MS,
        ...bound,
        plan_cache_mode: 'force_generic_plan',
        enable_seqscan: 'off', // as a text: the driver leaves out what is false
        enable_bitmapscan: 'off',
      },
    }),
    read: openClient(connection, `${NAME} read`, READ_CONNECTIONS, {
      settings: {
        lock_timeout: LOCK_TIMEOUT_MS,
        statement_timeout: COMMIT_TIMEOUT_MS,
        idle_in_transaction_session_timeout: IDLE_MS,
        ...bound,
        plan_cache_mode: 'force_custom_plan',
      },
    }),
    archive: open(connection, {
      ...common(`${NAME} archive`, {
        statement_timeout: ARCHIVE_TIMEOUT_MS,
        idle_in_transaction_session_timeout: IDLE_MS,
      }),
      max: ARCHIVE_CONNECTIONS,
    }),
    transaction: open(connection, {
      ...common(`${NAME} transaction`, {
        lock_timeout: LOCK_TIMEOUT_MS,
        statement_timeout: TRANSACTION_STATEMENT_MS,
        idle_in_transaction_session_timeout: IDLE_MS,
        ...bound,
      }),
      max: TRANSACTION_CONNECTIONS,
    }),
  }
}

/** The statement that gives the rest of its transaction more time than the session has, on servers that know the one
 *  limit or both. A limit that runs is not moved by a new value: it is ended first. */
export function patience(ms: number): string {
  return `select set_config(name, '0', true), set_config(name, '${ms}', true)
    from pg_settings where name in ('statement_timeout', 'transaction_timeout')`
}

/** A client for raw SQL. Its connections live until they break: with the driver's default they would be replaced after
 *  half an hour, and with them prepared statements, session locks and LISTEN. */
export function openClient(
  connection: PostgresConnection,
  name: string,
  max: number,
  options: ClientOptions = {},
): Sql {
  const { settings = {}, onnotify, onclose } = options
  return open(connection, {
    ...common(name, settings),
    max,
    max_lifetime: null,
    types: { bigint },
    ...(onclose === undefined ? {} : { onclose }),
    // The driver hands a notification to `onnotify` of the client whose connection listens; its types leave that out.
    ...(onnotify === undefined ? {} : { onnotify }),
  })
}

function common(name: string, settings: Settings) {
  return {
    connection: { application_name: name, ...settings },
    connect_timeout: CONNECT_TIMEOUT_S,
    backoff: (attempt: number) => Math.min(attempt * BACKOFF_S_STEP, BACKOFF_S_MAX),
    fetch_types: false,
    onnotice: () => undefined,
  }
}

function open<T extends Record<string, postgres.PostgresType>>(
  connection: PostgresConnection,
  options: postgres.Options<T>,
) {
  return 'url' in connection ? postgres(connection.url, options) : postgres({ ...connection, ...options })
}

/** Ends the clients; what is queued is done first, for as long as `seconds`. */
export async function closeClients(clients: Clients, seconds: number): Promise<void> {
  await Promise.all(Object.values(clients).map((client) => client.end({ timeout: seconds })))
}
