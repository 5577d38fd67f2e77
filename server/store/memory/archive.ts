/** The archive on memory: the answers of postgres/archive.ts. */
import type { Symptoms } from '../../../shared/doctor.ts'
import type { ProcessBody } from '../../../shared/process-file.ts'
import type { AuditItem, DeadLetter, FailureRecord } from '../../../shared/snapshot.ts'
import { decode } from '../../../shared/value.ts'
import type { Archive, FailurePlace, Page, ShownProcess, ShownRow, ShownTies } from '../archive.ts'
import { assertWhole, shownBlobs, shownRows } from '../attach.ts'
import type { Loaded, MessageRow, NewFailure, Pid } from '../store.ts'
import { load, recordOf } from './claim.ts'
import { keyOf, type MemoryDatabase, type StoredDeadLetter, type StoredProcess } from './database.ts'
import { messages } from './message.ts'
import { exportProcess } from './process-file.ts'
import { oldestState, stateRowsAt } from './prune.ts'
import { symptoms } from './symptom.ts'

/** Rows. The same as on Postgres. */
const PAGE_MAX = 1_000

export class MemoryArchive implements Archive {
  readonly #db: MemoryDatabase

  constructor(db: MemoryDatabase) {
    this.#db = db
  }

  async symptoms(namespace: string): Promise<Symptoms> {
    return symptoms(this.#db, namespace)
  }

  async exportProcess(namespace: string, id: string): Promise<ProcessBody | null> {
    return exportProcess(this.#db, namespace, id)
  }

  async process(namespace: string, id: string): Promise<ShownProcess | null> {
    const row = this.#db.find(namespace, id)
    return row === undefined ? null : this.#shown(row)
  }

  async passive(
    namespace: string,
    query: { agent?: string; limit: number; cursor?: string },
  ): Promise<Page<ShownProcess>> {
    const { agent, cursor } = query
    const size = limitOf(query.limit)
    const items = this.#passive(namespace, agent)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .filter((row) => cursor === undefined || row.id > cursor)
      .slice(0, size)
      .map((row) => this.#shown(row))
    return { items, cursor: items.length < size ? null : (items.at(-1)?.id ?? null) }
  }

  async passiveCount(namespace: string, { agent }: { agent?: string } = {}): Promise<number> {
    return this.#passive(namespace, agent).length
  }

  #passive(namespace: string, agent: string | undefined): StoredProcess[] {
    return [...this.#db.processes.values()]
      .filter((row) => row.namespace === namespace && (agent === undefined || row.agent === agent))
      .filter((row) => row.kind === 'agent' && !row.ended && !this.#db.ownerAlive(row))
  }

  #shown(row: StoredProcess): ShownProcess {
    return { ...recordOf(row), seq: this.#db.heads.get(row.pid)?.seq ?? 0 }
  }

  async ties(_namespace: string, pid: Pid): Promise<ShownTies> {
    const { links, names } = load(this.#db, pid)
    return { links, names, lastAt: this.#db.journal.get(pid)?.at(-1)?.at ?? null }
  }

  async stateRows(pid: Pid): Promise<Pick<Loaded, 'snapshot' | 'journal'>> {
    const { snapshot, journal } = assertWhole(load(this.#db, pid), `process ${pid}`)
    return { snapshot, journal }
  }

  async stateRowsAt(pid: Pid, seq: number): Promise<Pick<Loaded, 'snapshot' | 'journal'> | null> {
    return stateRowsAt(this.#db, pid, seq)
  }

  async oldestState(pid: Pid): Promise<number> {
    return oldestState(this.#db, pid)
  }

  async journal(pid: Pid, query: { beforeSeq?: number; limit: number }): Promise<ShownRow[]> {
    const { beforeSeq = Number.POSITIVE_INFINITY } = query
    const rows = (this.#db.journal.get(pid) ?? [])
      .filter((row) => row.seq < beforeSeq)
      .reverse()
      .slice(0, limitOf(query.limit))
    const refs = this.#db.blobRefs.get(pid) ?? []
    const sizes = refs
      .filter((ref) => !ref.snapshot)
      .map(({ seq, hash }) => ({ seq, hash, chars: this.#db.blobs.get(hash)?.value.length ?? null }))
    const shown = shownBlobs(rows, sizes)
    return shownRows(rows, sizes, new Map([...shown].map((hash) => [hash, this.#db.blobs.get(hash)?.value ?? ''])))
  }

  async mailbox(namespace: string, target: string, query: { afterOrd?: number; limit: number }): Promise<MessageRow[]> {
    return messages(this.#db, { namespace, target, afterOrd: query.afterOrd ?? 0, limit: limitOf(query.limit) })
  }

  async mailboxCounts(namespace: string, targets: readonly string[]): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    for (const target of targets) {
      const size = this.#db.box(namespace, target)?.size ?? 0
      if (size > 0) counts.set(target, size)
    }
    return counts
  }

  async failures(
    namespace: string,
    query: { process?: string; before?: FailurePlace; limit: number },
  ): Promise<FailureRecord[]> {
    const { process, before, limit } = query
    return newestFirst(this.#db.failures.values(), namespace, process)
      .filter((row) => before === undefined || row.at < before.at || (row.at === before.at && row.id < before.id))
      .slice(0, limitOf(limit))
      .map(({ namespace: _namespace, ...row }) => row)
  }

  async deadLetters(namespace: string, query: { process?: string; limit: number }): Promise<DeadLetter[]> {
    return newestFirst(this.#db.deadLetters.values(), namespace, query.process)
      .slice(0, limitOf(query.limit))
      .map(letterOf)
  }

  async deadLetter(namespace: string, id: string): Promise<DeadLetter | null> {
    const row = this.#db.deadLetters.get(keyOf(namespace, id))
    return row === undefined ? null : letterOf(row)
  }

  async markRedelivered(namespace: string, id: string): Promise<boolean> {
    const row = this.#db.deadLetters.get(keyOf(namespace, id))
    if (row === undefined || row.redeliveredAt !== null) return false
    row.redeliveredAt = this.#db.clock.now()
    return true
  }

  async audit(namespace: string, query: { target?: string; limit: number }): Promise<AuditItem[]> {
    return this.#db.audit
      .filter((row) => row.namespace === namespace && (query.target === undefined || row.target === query.target))
      .reverse()
      .slice(0, limitOf(query.limit))
      .map(({ namespace: _namespace, ...row }) => row)
  }

  async writeAudit(namespace: string, item: Omit<AuditItem, 'id' | 'at'>): Promise<AuditItem> {
    // Through JSON, as the column does: what a caller passed and changes later is not what was written.
    const detail: unknown = JSON.parse(JSON.stringify(item.detail ?? null))
    const row = { ...item, detail, id: String(this.#db.nextAudit()), at: this.#db.clock.now() }
    this.#db.audit.push({ ...row, namespace })
    return row
  }

  async writeFailure(namespace: string, process: string, failure: NewFailure): Promise<void> {
    const at = this.#db.clock.now()
    this.#db.failures.set(keyOf(namespace, failure.id), { ...failure, namespace, process, at })
  }
}

function newestFirst<T extends { namespace: string; process: string; at: number; id: string }>(
  rows: Iterable<T>,
  namespace: string,
  process: string | undefined,
): T[] {
  return [...rows]
    .filter((row) => row.namespace === namespace && (process === undefined || row.process === process))
    .sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1))
}

function letterOf({ namespace: _namespace, args, ...row }: StoredDeadLetter): DeadLetter {
  return { ...row, args: decode(args) }
}

function limitOf(limit: number): number {
  return Math.max(1, Math.min(limit, PAGE_MAX))
}
