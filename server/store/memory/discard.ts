/** All rows of a sandbox copy taken away: the verdicts of postgres/discard.ts. */
import type { DiscardOutcome } from '../../../shared/process-file.ts'
import type { NodeIdentity } from '../store.ts'
import { keyOf, type MemoryDatabase } from './database.ts'
import { assertAlive } from './message.ts'

export function discard(db: MemoryDatabase, node: NodeIdentity, id: string): DiscardOutcome {
  assertAlive(db, node)
  const { namespace } = node
  const found = db.find(namespace, id)
  if (found === undefined) return 'absent'
  if (found.sandbox === null) return 'kept'
  if (db.ownerAlive(found)) return 'owned'
  const { pid } = found
  const tables = [db.journal, db.snapshots, db.waypoints, db.heads, db.timers, db.blobRefs, db.processes]
  for (const rows of tables) rows.delete(pid)
  for (const [stream, { row }] of db.streams) {
    if (row.process !== pid) continue
    db.streams.delete(stream)
    for (const [path, other] of db.streamPaths) if (other === stream) db.streamPaths.delete(path)
  }
  db.pids.delete(keyOf(namespace, id))
  db.mailbox.delete(keyOf(namespace, id))
  remove(db.requests, (key) => key.startsWith(keyOf(namespace, id, '')))
  remove(db.ties, (_key, tie) => tie.namespace === namespace && (tie.process === id || tie.peer === id))
  remove(db.names, (key, holder) => holder === id && key.startsWith(keyOf(namespace, '')))
  remove(db.failures, (_key, row) => row.namespace === namespace && row.process === id)
  remove(db.deadLetters, (_key, row) => row.namespace === namespace && row.process === id)
  return 'discarded'
}

function remove<T>(rows: Map<string, T>, gone: (key: string, row: T) => boolean): void {
  for (const [key, row] of rows) if (gone(key, row)) rows.delete(key)
}
