/** Sandbox copies of processes on Postgres (test/support/sandbox-contract.ts). */
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { testDatabase } from '../support/database.ts'
import { World } from '../support/runtime.ts'
import { sandboxContract } from '../support/sandbox-contract.ts'

const database = testDatabase()
let sql: postgres.Sql
beforeAll(() => {
  sql = postgres({ ...database.connection, max: 1 })
})
afterAll(() => sql.end())
// The next test's node would take over turns whose code waits for a door that was of the last one.
beforeEach(() => sql`truncate ${sql(Object.keys(TABLES).map((table) => `vivarium.${table}`))}`)

const TABLES = {
  ...{ journal: 'process', heads: 'process', snapshots: 'process', waypoints: 'process', timers: 'process' },
  ...{ blob_refs: 'process', processes: 'pid', streams: 'process', mailbox: 'target', requests: 'scope' },
  ...{ names: 'process', failures: 'process', dead_letters: 'process', links: 'process' },
}

sandboxContract('Postgres', {
  open: () => World.postgres(database.connection),
  async left(_world, id, pid) {
    const found: string[] = []
    for (const [table, column] of Object.entries(TABLES)) {
      const rows =
        await sql`select 1 from ${sql(`vivarium.${table}`)} t where t.${sql(column)}::text in ${sql([id, String(pid)])}`
      if (rows.length > 0) found.push(table)
    }
    return found
  },
})
