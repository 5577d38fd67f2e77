/**
 * The archive on Postgres: cold reads for people, through Drizzle on a pool of its own with a short statement timeout.
 * Pages go by key, never by offset, and never longer than PAGE_MAX.
 */
import { and, asc, between, count, desc, eq, gt, inArray, isNull, lt, ne, or, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Symptoms } from '../../../shared/doctor.ts'
import type { ProcessBody } from '../../../shared/process-file.ts'
import type { AuditItem, DeadLetter, FailureRecord } from '../../../shared/snapshot.ts'
import type { Archive, FailurePlace, Page, ShownProcess, ShownRow, ShownTies } from '../archive.ts'
import { Attachments, assertWhole, type BlobSize, shownBlobs, shownRows } from '../attach.ts'
import { type Tables, tablesIn } from '../schema.ts'
import type { Loaded, NewFailure, Pid } from '../store.ts'
import { auditItem, deadLetter, failureRecord, journalItem, mailboxItem, recordOf } from './archive-row.ts'
import { type BlobRefRow, refSql } from './blob.ts'
import type { Context } from './context.ts'
import { guarded } from './failure.ts'
import { shownTies } from './load.ts'
import { oldestState, stateRowsAt } from './past.ts'
import { exportProcess } from './process-file.ts'
import { symptoms } from './symptom.ts'

/** Rows. A page is for a screen; a program pages on. */
const PAGE_MAX = 1_000
/** One view of several reads: between two of them a new snapshot could make the older rows look missing. */
const INSTANT = { isolationLevel: 'repeatable read', accessMode: 'read only' } as const

export class PostgresArchive implements Archive {
  readonly #db: PostgresJsDatabase
  readonly #t: Tables
  readonly #q: string
  readonly #at: Context

  constructor(at: Context) {
    this.#at = at
    this.#q = at.q
    this.#db = drizzle(at.archive)
    this.#t = tablesIn(at.schema)
  }

  symptoms(namespace: string): Promise<Symptoms> {
    return guarded(() => symptoms(this.#at, namespace))
  }

  exportProcess(namespace: string, id: string): Promise<ProcessBody | null> {
    return guarded(() => exportProcess(this.#at, namespace, id))
  }

  process(namespace: string, id: string): Promise<ShownProcess | null> {
    const { processes: p, heads: h } = this.#t
    return guarded(async () => {
      const [row] = await this.#db
        .select({ process: p, seq: h.seq })
        .from(p)
        .leftJoin(h, eq(h.process, p.pid))
        .where(and(eq(p.namespace, namespace), eq(p.id, id)))
      return row === undefined ? null : shownProcess(row)
    })
  }

  passive(
    namespace: string,
    { agent, limit, cursor }: { agent?: string; limit: number; cursor?: string },
  ): Promise<Page<ShownProcess>> {
    const { processes: p, heads: h } = this.#t
    const after = cursor === undefined ? undefined : gt(p.id, cursor)
    const size = limitOf(limit)
    return guarded(async () => {
      const rows = await this.#db
        .select({ process: p, seq: h.seq })
        .from(p)
        .leftJoin(h, eq(h.process, p.pid))
        .where(and(this.#passive(namespace, agent), after))
        .orderBy(asc(p.id))
        .limit(size)
      const items = rows.map(shownProcess)
      return { items, cursor: items.length < size ? null : (items.at(-1)?.id ?? null) }
    })
  }

  passiveCount(namespace: string, { agent }: { agent?: string } = {}): Promise<number> {
    return guarded(async () => {
      const [all] = await this.#db.select({ n: count() }).from(this.#t.processes).where(this.#passive(namespace, agent))
      return all?.n ?? 0
    })
  }

  ties(namespace: string, pid: Pid): Promise<ShownTies> {
    return guarded(() => shownTies(this.#at, namespace, pid))
  }

  stateRows(pid: Pid): Promise<Pick<Loaded, 'snapshot' | 'journal'>> {
    const { snapshots: s, journal: j } = this.#t
    return guarded(() =>
      this.#db.transaction(async (tx) => {
        const [snapshot] = await tx.select().from(s).where(eq(s.process, pid))
        const rows = await tx
          .select()
          .from(j)
          .where(and(eq(j.process, pid), gt(j.seq, snapshot?.seq ?? 0)))
          .orderBy(asc(j.seq))
        const refs = await tx.execute<BlobRefRow>(sql.raw(refSql(this.#q, `array[${pid}::bigint]`)))
        const read = {
          snapshot:
            snapshot === undefined
              ? null
              : { seq: snapshot.seq, stateVersion: snapshot.stateVersion, value: snapshot.value },
          journal: rows.map(journalItem),
        }
        return assertWhole(new Attachments(refs).attach(pid, read), `process ${pid}`)
      }, INSTANT),
    )
  }

  stateRowsAt(pid: Pid, seq: number): Promise<Pick<Loaded, 'snapshot' | 'journal'> | null> {
    return guarded(() => stateRowsAt(this.#db, { tables: this.#t, pid, seq }))
  }

  oldestState(pid: Pid): Promise<number> {
    return guarded(() => oldestState(this.#db, this.#t, pid))
  }

  journal(pid: Pid, query: { beforeSeq?: number; limit: number }): Promise<ShownRow[]> {
    const { journal: j, blobs: b, blobRefs: r } = this.#t
    const before = query.beforeSeq === undefined ? undefined : lt(j.seq, query.beforeSeq)
    return guarded(() =>
      this.#db.transaction(async (tx) => {
        const found = await tx
          .select()
          .from(j)
          .where(and(eq(j.process, pid), before))
          .orderBy(desc(j.seq))
          .limit(limitOf(query.limit))
        const rows = found.map(journalItem)
        const [first, last] = [rows[0]?.seq ?? 0, rows.at(-1)?.seq ?? 0]
        const sizes: BlobSize[] = await tx
          .select({ seq: r.seq, hash: r.hash, chars: sql<number | null>`length(${b.value})` })
          .from(r)
          .leftJoin(b, eq(b.hash, r.hash))
          .where(and(eq(r.process, pid), eq(r.snapshot, false), between(r.seq, last, first)))
        const shown = [...shownBlobs(rows, sizes)]
        const texts = shown.length === 0 ? [] : await tx.select().from(b).where(inArray(b.hash, shown))
        return shownRows(rows, sizes, new Map(texts.map(({ hash, value }) => [hash, value])))
      }, INSTANT),
    )
  }

  mailbox(namespace: string, target: string, query: { afterOrd?: number; limit: number }) {
    const { mailbox: m } = this.#t
    return guarded(async () => {
      const rows = await this.#db
        .select()
        .from(m)
        .where(and(eq(m.namespace, namespace), eq(m.target, target), gt(m.ord, query.afterOrd ?? 0)))
        .orderBy(asc(m.ord))
        .limit(limitOf(query.limit))
      return rows.map(mailboxItem)
    })
  }

  mailboxCounts(namespace: string, targets: readonly string[]): Promise<Map<string, number>> {
    const { mailbox: m } = this.#t
    if (targets.length === 0) return Promise.resolve(new Map())
    return guarded(async () => {
      const rows = await this.#db
        .select({ target: m.target, rows: count() })
        .from(m)
        .where(and(eq(m.namespace, namespace), inArray(m.target, [...targets])))
        .groupBy(m.target)
      return new Map(rows.map((row) => [row.target, row.rows]))
    })
  }

  failures(
    namespace: string,
    query: { process?: string; before?: FailurePlace; limit: number },
  ): Promise<FailureRecord[]> {
    const { failures: f } = this.#t
    const wanted = [eq(f.namespace, namespace)]
    if (query.process !== undefined) wanted.push(eq(f.process, query.process))
    if (query.before !== undefined) wanted.push(this.#olderThan(namespace, query.before))
    return guarded(async () => {
      const rows = await this.#db
        .select()
        .from(f)
        .where(and(...wanted))
        .orderBy(desc(f.at), desc(f.id))
        .limit(limitOf(query.limit))
      return rows.map(failureRecord)
    })
  }

  deadLetters(namespace: string, query: { process?: string; limit: number }): Promise<DeadLetter[]> {
    const { deadLetters: d } = this.#t
    const process = query.process === undefined ? undefined : eq(d.process, query.process)
    return guarded(async () => {
      const rows = await this.#db
        .select()
        .from(d)
        .where(and(eq(d.namespace, namespace), process))
        .orderBy(desc(d.at), desc(d.id))
        .limit(limitOf(query.limit))
      return rows.map(deadLetter)
    })
  }

  deadLetter(namespace: string, id: string): Promise<DeadLetter | null> {
    const { deadLetters: d } = this.#t
    return guarded(async () => {
      const [row] = await this.#db
        .select()
        .from(d)
        .where(and(eq(d.namespace, namespace), eq(d.id, id)))
      return row === undefined ? null : deadLetter(row)
    })
  }

  markRedelivered(namespace: string, id: string): Promise<boolean> {
    const { deadLetters: d } = this.#t
    return guarded(async () => {
      const rows = await this.#db
        .update(d)
        .set({ redeliveredAt: sql`now()` })
        .where(and(eq(d.namespace, namespace), eq(d.id, id), isNull(d.redeliveredAt)))
        .returning({ id: d.id })
      return rows.length > 0
    })
  }

  audit(namespace: string, query: { target?: string; limit: number }): Promise<AuditItem[]> {
    const { audit: a } = this.#t
    const target = query.target === undefined ? undefined : eq(a.target, query.target)
    return guarded(async () => {
      const rows = await this.#db
        .select()
        .from(a)
        .where(and(eq(a.namespace, namespace), target))
        .orderBy(desc(a.id))
        .limit(limitOf(query.limit))
      return rows.map(auditItem)
    })
  }

  writeAudit(namespace: string, item: Omit<AuditItem, 'id' | 'at'>): Promise<AuditItem> {
    const { audit: a } = this.#t
    const { actor, verb, target, reason, outcome } = item
    const detail = JSON.stringify(item.detail ?? null)
    return guarded(async () => {
      const [row] = await this.#db
        .insert(a)
        .values({ namespace, actor, verb, target, reason, outcome, detail })
        .returning()
      if (row === undefined) throw new Error('Inserting an audit row returned none.')
      return auditItem(row)
    })
  }

  writeFailure(namespace: string, process: string, failure: NewFailure): Promise<void> {
    const { failures: f } = this.#t
    return guarded(async () => {
      await this.#db.insert(f).values({
        ...failure,
        namespace,
        process,
        error: JSON.stringify(failure.error),
        box: JSON.stringify(failure.box),
      })
    })
  }

  /** The place says milliseconds and the column holds microseconds, so the row itself is asked while it is there. */
  #olderThan(namespace: string, { at, id }: FailurePlace): SQL {
    const { failures: f } = this.#t
    const place = alias(f, 'place')
    const exact = this.#db
      .select({ at: place.at })
      .from(place)
      .where(and(eq(place.namespace, namespace), eq(place.id, id)))
    return sql`(${f.at}, ${f.id}) < (coalesce((${exact}), to_timestamp(${at}::float8 / 1000)), ${id})`
  }

  #passive(namespace: string, agent: string | undefined): SQL | undefined {
    const { processes: p, nodes: n } = this.#t
    const owner = this.#db
      .select({ id: n.id })
      .from(n)
      .where(and(eq(n.id, p.owner), eq(n.epoch, p.ownerEpoch)))
    const unowned = or(isNull(p.owner), sql`not exists (${owner})`)
    const ofAgent = agent === undefined ? undefined : eq(p.agent, agent)
    return and(eq(p.namespace, namespace), ofAgent, eq(p.kind, 'agent'), ne(p.ended, true), unowned)
  }
}

function shownProcess({ process, seq }: { process: Tables['processes']['$inferSelect']; seq: number | null }) {
  return { ...recordOf(process), seq: seq ?? 0 }
}

function limitOf(limit: number): number {
  return Math.max(1, Math.min(limit, PAGE_MAX))
}
