/** The doctor's checks on tables larger than one of them walks over: what was not looked at is said. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { migrate } from '../../server/store/migrate.ts'
import { type Clients, closeClients, openClients } from '../../server/store/postgres/client.ts'
import { context } from '../../server/store/postgres/context.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import { schemaName } from '../../server/store/postgres/schema-name.ts'
import { symptoms } from '../../server/store/postgres/symptom.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { message, row, StoreBench } from '../support/store-world.ts'

let database: TestDatabase
let handle: StoreHandle
let clients: Clients

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  handle = openPostgres({ connection: database.connection, clock: realClock() })
  clients = openClients(database.connection)
})
afterAll(async () => {
  await closeClients(clients, 5)
  await handle.close()
  await database.drop()
})

test('[G1] a check that stopped before it found anything says that it did not look at everything', async () => {
  const bench = new StoreBench({ name: 'Postgres', handle: () => handle })
  const box = { events: [], mailbox: { length: 0, heads: [] }, wait: null, status: 'idle' as const, turn: null }
  for (const key of ['a', 'b', 'c']) {
    const node = await bench.node()
    const owned = await bench.own(node, key)
    const value = `"${key}"`
    const hash = createHash('sha256').update(value).digest('hex')
    await bench.store.writeBlobs(node, [{ hash, value }])
    await bench.commit(node, row(owned, { blobs: [hash] }))
    await bench.store.enqueue(node, [message(key, `cart/${key}`)])
    const rest = { class: 'error', attempt: 1, messageId: null, op: null, decision: 'restart', incarnation: 1, box }
    const error = { code: 'Error', message: 'no' }
    await bench.archive.writeFailure(bench.namespace, `cart/${key}`, { id: key, error, ...rest })
  }
  const at = context(clients, schemaName('vivarium'))
  const checks = async (max: number) => (await symptoms(at, bench.namespace, max)).cut.map(({ check }) => check).sort()
  expect(await checks(2)).toEqual(['blobs', 'claims', 'loops', 'mail'])
  expect(await checks(4)).toEqual([])
})
