/** The sessions of a store, as the server has them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { TRANSACTION_MS_MAX } from '../../server/journal/transaction.ts'
import { migrate } from '../../server/store/migrate.ts'
import { begin, isFatal } from '../../server/store/postgres/begin.ts'
import { type Clients, closeClients, openClient, openClients, patience } from '../../server/store/postgres/client.ts'
import { asFailure } from '../../server/store/postgres/failure.ts'
import { testDatabase } from '../support/database.ts'

const database = testDatabase()
let clients: Clients

beforeAll(async () => {
  const { serverVersion } = await migrate(database.connection)
  clients = openClients(database.connection, serverVersion)
})
afterAll(() => closeClients(clients, 1))

test('[N11] a session that opens transactions is ended by the server before the lease of its node', async () => {
  for (const name of ['read', 'archive', 'transaction'] as const) {
    const [row] = await clients[name].unsafe<{ ms: number }[]>(
      `select setting::int as ms from pg_settings where name = 'idle_in_transaction_session_timeout'`,
    )
    expect(row?.ms, name).toBeGreaterThan(0)
    expect(row?.ms, name).toBeLessThan(LEASE_MS)
  }
})

test('[N11] and so is one whose node is frozen between the parts of a message, which is not idle', async () => {
  for (const name of ['commit', 'read', 'transaction'] as const) {
    const [row] = await clients[name].unsafe<{ ms: number }[]>(
      `select setting::int as ms from pg_settings where name = 'transaction_timeout'`,
    )
    expect(row?.ms, name).toBeGreaterThan(TRANSACTION_MS_MAX)
    expect(row?.ms, name).toBeLessThan(LEASE_MS)
  }
})

test('[N11] a server that does not know the limit is not asked for it', async () => {
  const old = openClients(database.connection, 160_009)
  const [row] = await old.commit.unsafe<{ setting: string }[]>(
    `select setting from pg_settings where name = 'transaction_timeout'`,
  )
  await closeClients(old, 1)
  expect(row?.setting).toBe('0')
})

test('[G8] what may take longer takes its time, on a session with shorter limits', async () => {
  const settings = { statement_timeout: 200, transaction_timeout: 200 }
  const hasty = openClient(database.connection, 'hasty', 1, { settings })
  const slow = 'select pg_sleep(0.5)'
  await begin(hasty, (tx) => Promise.all([tx.unsafe(patience(10_000)), tx.unsafe(slow)]))
  // For that transaction alone.
  await expect(begin(hasty, (tx) => tx.unsafe(slow))).rejects.toBeInstanceOf(Error)
  await hasty.end({ timeout: 1 })
})

test.each(['list', 'chain'] as const)(
  '[D40] a session that ends within a transaction costs only that: %s',
  async (how) => {
    const own = openClient(database.connection, `ended ${how}`, 2)
    const slow = 'select pg_sleep(10)'
    const work =
      how === 'list'
        ? begin(own, (tx) => Promise.all([tx.unsafe('select 1'), tx.unsafe(slow)]))
        : begin(own, async (tx) => {
            await tx.unsafe('select 1')
            await tx.unsafe(slow)
          })
    const ended = work.then(
      () => 'done',
      (error: unknown) => asFailure(error),
    )
    const victims = `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'ended ${how}' and query = '${slow}' and state = 'active'`
    await expect.poll(async () => (await clients.archive.unsafe(victims)).length, { timeout: 5_000 }).toBe(1)
    expect(await ended).toMatchObject({ kind: 'unavailable' })
    // The driver may tell the next one of the end once more; then both connections of the pool are there.
    const both = () => Promise.all([own.unsafe('select pg_sleep(0.1)'), own.unsafe('select pg_sleep(0.1)')])
    const again = await both().catch((error: unknown) => (isFatal(error) ? both() : Promise.reject(error)))
    expect(again).toHaveLength(2)
    await own.end({ timeout: 1 })
  },
)
