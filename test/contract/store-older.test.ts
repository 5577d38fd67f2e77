/** The store contract on the oldest supported Postgres this machine has, in a schema with another name. */
import { afterAll, beforeAll, describe } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { migrate } from '../../server/store/migrate.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import { findOlderServer, startOlderServer, type TestDatabase } from '../support/database.ts'
import { archiveContract } from '../support/store-contract/archive.ts'
import { blobContract } from '../support/store-contract/blob.ts'
import { claimContract } from '../support/store-contract/claim.ts'
import { commitContract } from '../support/store-contract/commit.ts'
import { discardContract } from '../support/store-contract/discard.ts'
import { messageContract } from '../support/store-contract/message.ts'
import { streamContract } from '../support/store-contract/stream.ts'
import { tieContract } from '../support/store-contract/tie.ts'
import type { StoreWorld } from '../support/store-world.ts'

const SCHEMA = 'another_schema'
const older = await findOlderServer()

// Where the machine has no other server there is nothing to run; the embedded one is covered beside this file.
describe.runIf(older !== undefined)(`Postgres ${older?.major ?? 'older'}`, () => {
  let database: TestDatabase
  let handle: StoreHandle

  beforeAll(async () => {
    if (older === undefined) return
    database = await startOlderServer(older)
    await migrate(database.connection, { schema: SCHEMA })
    handle = openPostgres({ connection: database.connection, clock: realClock(), schema: SCHEMA })
  })
  afterAll(async () => {
    await handle.close()
    await database.drop()
  })

  const world: StoreWorld = { name: `Postgres ${older?.major}`, handle: () => handle }
  commitContract(world)
  claimContract(world)
  messageContract(world)
  archiveContract(world)
  tieContract(world)
  blobContract(world)
  streamContract(world)
  discardContract(world)
})
