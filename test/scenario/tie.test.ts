/** Links, monitors and names of durable processes on a real Postgres: two nodes, deaths between commit and delivery. */
import { testDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'
import { tieScenarios } from '../support/tie-scenario.ts'

const database = testDatabase()

tieScenarios('Postgres', () => World.postgres(database.connection))
