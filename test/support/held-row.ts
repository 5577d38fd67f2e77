/**
 * Statements that must overlap: a session of its own holds a row, and the database says when the statement under test
 * waits for it.
 */
import postgres from 'postgres'
import { afterAll, beforeAll } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { testDatabase } from './database.ts'
import type { TestConnection } from './postgres.ts'

/** Ms after which a statement that should wait is not going to. */
const WAITING_MS_MAX = 10_000

export type HeldRow = {
  readonly connection: TestConnection
  readonly handle: StoreHandle
  /** The session that holds rows, and one that looks on. */
  readonly holder: postgres.Sql
  readonly watch: postgres.Sql
  /** Resolves once some session of this database waits for a lock. */
  waiting(): Promise<void>
  /** Runs `work` while another transaction has done `statement`, and ends that once `work` waits for it. */
  whileHeld<T>(statement: string, work: () => Promise<T>, meanwhile?: () => Promise<void>): Promise<T>
}

type Open = { handle: StoreHandle; holder: postgres.Sql; watch: postgres.Sql }

/** A store with its own database for the test file that calls it, and two sessions beside it. */
export function heldRow(): HeldRow {
  const database = testDatabase()
  let open: Open | null = null
  beforeAll(() => {
    const { connection } = database
    open = {
      handle: openPostgres({ connection, clock: realClock() }),
      holder: postgres({ ...connection, max: 1 }),
      watch: postgres({ ...connection, max: 1 }),
    }
  })
  afterAll(() => Promise.all([open?.handle.close(), open?.holder.end(), open?.watch.end()]))
  const get = (): Open => {
    if (open === null) throw new Error('The sessions are opened in beforeAll.')
    return open
  }
  return {
    get connection() {
      return database.connection
    },
    get handle() {
      return get().handle
    },
    get holder() {
      return get().holder
    },
    get watch() {
      return get().watch
    },
    waiting: () => waiting(get().watch),
    whileHeld: async (statement, work, meanwhile) => {
      const { holder, watch } = get()
      await holder.unsafe('begin')
      await holder.unsafe(statement)
      const running = work()
      await waiting(watch)
      await meanwhile?.()
      await holder.unsafe('commit')
      return running
    },
  }
}

/** The database itself is asked until it says so. */
async function waiting(watch: postgres.Sql): Promise<void> {
  const until = performance.now() + WAITING_MS_MAX
  for (;;) {
    const [row] = await watch`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    if (row !== undefined) return
    if (performance.now() > until) throw new Error(`No session waited for a lock in ${WAITING_MS_MAX} ms.`)
  }
}

/** Statistics arrive late: asked for until two answers in a row agree. */
export async function settled(sql: postgres.Sql, read: () => Promise<number>): Promise<number> {
  await sql`select pg_stat_force_next_flush()`
  for (let last = await read(); ; ) {
    await sql`select pg_stat_clear_snapshot(), pg_sleep(0.6)`
    const next = await read()
    if (next === last) return next
    last = next
  }
}
