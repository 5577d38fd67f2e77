/**
 * V4: the rows that make the state of a process as of an earlier row: the last waypoint or snapshot before it, and
 * every row in between. A hole means that the version was pruned.
 */
import { and, asc, between, desc, eq, lte, min, or } from 'drizzle-orm'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import { Attachments, assertWhole, type BlobRef, type Rows } from '../attach.ts'
import type { Tables } from '../schema.ts'
import type { Pid } from '../store.ts'
import { journalItem } from './archive-row.ts'

export function stateRowsAt(
  db: PostgresJsDatabase,
  { tables, pid, seq }: { tables: Tables; pid: Pid; seq: number },
): Promise<Rows | null> {
  const { waypoints: w, snapshots: s, journal: j, blobs: b, blobRefs: r } = tables
  return db.transaction(
    async (tx) => {
      const columns = (t: typeof w | typeof s) => ({ seq: t.seq, stateVersion: t.stateVersion, value: t.value })
      const [waypoint] = await tx
        .select(columns(w))
        .from(w)
        .where(and(eq(w.process, pid), lte(w.seq, seq)))
        .orderBy(desc(w.seq))
        .limit(1)
      const [newest] = await tx
        .select(columns(s))
        .from(s)
        .where(and(eq(s.process, pid), lte(s.seq, seq)))
      const base = newest ?? waypoint ?? null
      const from = base?.seq ?? 0
      const within = <C extends typeof j.seq | typeof r.seq>(column: C) => between(column, from + 1, seq)
      const rows = await tx
        .select()
        .from(j)
        .where(and(eq(j.process, pid), within(j.seq)))
        .orderBy(asc(j.seq))
      if (rows.length !== seq - from) return null
      const wanted = or(and(eq(r.snapshot, true), eq(r.seq, from)), and(eq(r.snapshot, false), within(r.seq)))
      const refs: BlobRef[] = await tx
        .select({ process: r.process, seq: r.seq, snapshot: r.snapshot, hash: r.hash, value: b.value })
        .from(r)
        .leftJoin(b, eq(b.hash, r.hash))
        .where(and(eq(r.process, pid), wanted))
      const read = { snapshot: base, journal: rows.map(journalItem) }
      return assertWhole(new Attachments(refs).attach(pid, read), `process ${pid}`)
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  )
}

export async function oldestState(db: PostgresJsDatabase, tables: Tables, pid: Pid): Promise<number> {
  const { waypoints: w, snapshots: s, journal: j } = tables
  const first = async (t: typeof w | typeof s | typeof j): Promise<number | null> => {
    const [row] = await db
      .select({ seq: min(t.seq) })
      .from(t)
      .where(eq(t.process, pid))
    return row?.seq ?? null
  }
  const rows = await first(j)
  if (rows === 1) return 1
  const bases = [await first(w), await first(s)].filter((seq) => seq !== null)
  return bases.length === 0 ? (rows ?? 0) : Math.min(...bases)
}
