/** Store worlds whose rows can be made older, so that no test waits for an age. */
import postgres from 'postgres'
import type { MemoryDatabase } from '../../server/store/memory.ts'
import type { TestConnection } from './postgres.ts'
import type { AgingWorld } from './store-contract/symptom.ts'
import type { StoreWorld } from './store-world.ts'

/** Tables by how their rows belong to a namespace. */
const NAMED = {
  ...{ mailbox: 'at', timers: 'due', failures: 'at', processes: 'created_at', dead_letters: 'at', audit: 'at' },
  ...{ requests: 'at', nodes: 'stopped_at' },
} as const
const BY_PROCESS = ['journal', 'snapshots', 'waypoints'] as const

export function agingWorld(world: StoreWorld, connection: () => TestConnection): AgingWorld {
  const run = async (work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> => {
    const sql = postgres({ ...connection(), max: 1, connection: { search_path: 'vivarium' } })
    try {
      await work(sql)
    } finally {
      await sql.end()
    }
  }
  return {
    ...world,
    age: (namespace, ms) =>
      run(async (sql) => {
        for (const [table, column] of Object.entries(NAMED)) {
          await sql`update ${sql(table)} set ${sql(column)} = ${sql(column)} - ${`${ms} ms`}::interval
              where namespace = ${namespace}`
        }
        for (const table of BY_PROCESS) {
          await sql`update ${sql(table)} t set at = at - ${`${ms} ms`}::interval from processes p
            where p.pid = t.process and p.namespace = ${namespace}`
        }
      }),
    lose: (hash) => run((sql) => sql`delete from blobs where hash = ${hash}`),
  }
}

export function agingMemory(world: StoreWorld, db: MemoryDatabase): AgingWorld {
  return {
    ...world,
    async age(namespace, ms) {
      for (const [key, box] of db.mailbox) {
        if (key.startsWith(`${namespace}\u0000`))
          for (const [ord, row] of box) box.set(ord, { ...row, at: row.at - ms })
      }
      for (const timers of db.timers.values()) {
        for (const [name, row] of timers) {
          if (row.namespace === namespace) timers.set(name, { ...row, due: row.due - ms })
        }
      }
      for (const rows of [db.failures, db.deadLetters]) {
        for (const row of rows.values()) if (row.namespace === namespace) row.at -= ms
      }
      for (const row of db.audit) if (row.namespace === namespace) row.at -= ms
      for (const [key, row] of db.requests) if (key.startsWith(`${namespace}\u0000`)) row.at -= ms
      for (const row of db.nodes.values()) {
        if (row.namespace === namespace && row.stoppedAt !== null) row.stoppedAt -= ms
      }
      const snapshots = [...db.snapshots].map(([pid, row]) => [pid, [row]] as const)
      for (const [pid, rows] of [...snapshots, ...db.waypoints]) {
        if (db.processes.get(pid)?.namespace === namespace) for (const row of rows) row.at -= ms
      }
      for (const [pid, rows] of db.journal) {
        if (db.processes.get(pid)?.namespace !== namespace) continue
        db.journal.set(
          pid,
          rows.map((row) => ({ ...row, at: row.at - ms })),
        )
      }
    },
    lose: async (hash) => void db.blobs.delete(hash),
  }
}
