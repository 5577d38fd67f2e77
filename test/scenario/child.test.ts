/** Children that close with their parent, on a real Postgres. */

import { childScenarios } from '../support/child-scenario.ts'
import { testDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'

const database = testDatabase()

childScenarios('Postgres', () => World.postgres(database.connection))
