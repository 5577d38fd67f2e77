/** The store contract on the embedded Postgres. */
import { afterAll, beforeAll } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { migrate } from '../../server/store/migrate.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { agingWorld } from '../support/aging-world.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { archiveContract } from '../support/store-contract/archive.ts'
import { blobContract } from '../support/store-contract/blob.ts'
import { claimContract } from '../support/store-contract/claim.ts'
import { commitContract } from '../support/store-contract/commit.ts'
import { discardContract } from '../support/store-contract/discard.ts'
import { messageContract } from '../support/store-contract/message.ts'
import { processFileContract } from '../support/store-contract/process-file.ts'
import { retentionContract } from '../support/store-contract/retention.ts'
import { streamContract } from '../support/store-contract/stream.ts'
import { symptomContract } from '../support/store-contract/symptom.ts'
import { tieContract } from '../support/store-contract/tie.ts'
import type { StoreWorld } from '../support/store-world.ts'

let database: TestDatabase
let handle: StoreHandle

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection)
  handle = openPostgres({ connection: database.connection, clock: realClock() })
})
afterAll(async () => {
  await handle.close()
  await database.drop()
})

const world: StoreWorld = { name: 'Postgres', handle: () => handle }

commitContract(world)
claimContract(world)
messageContract(world)
archiveContract(world)
tieContract(world)
blobContract(world)
streamContract(world)
processFileContract(world)
discardContract(world)
symptomContract(agingWorld(world, () => database.connection))
retentionContract(agingWorld(world, () => database.connection))
