/** Links, monitors and names of durable processes on a real Postgres: two nodes, deaths between commit and delivery. */
import { afterAll, beforeAll } from 'vitest'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'
import { tieScenarios } from '../support/tie-scenario.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection, {})
})
afterAll(() => database.drop())

tieScenarios('Postgres', () => World.postgres(database.connection))
