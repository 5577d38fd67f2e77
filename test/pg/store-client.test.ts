/** The sessions of a store, as the server has them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { TRANSACTION_MS_MAX } from '../../server/journal/transaction.ts'
import { serverVersion } from '../../server/store/migrate.ts'
import { type Clients, closeClients, openClients } from '../../server/store/postgres/client.ts'
import { testDatabase } from '../support/database.ts'

const database = testDatabase()
let clients: Clients

beforeAll(async () => {
  clients = openClients(database.connection, await serverVersion(database.connection))
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
