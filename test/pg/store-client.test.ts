/** The sessions of a store, as the server has them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { type Clients, closeClients, openClients } from '../../server/store/postgres/client.ts'
import { testDatabase } from '../support/database.ts'

const database = testDatabase()
let clients: Clients

beforeAll(() => {
  clients = openClients(database.connection)
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
