/**
 * The group committer of one thread: turns that end while commits are in flight leave together in the next one.
 *
 * - C1: one statement per batch, at most BATCH_ROWS_MAX rows, FLIGHTS_MAX batches in flight, one row per process.
 * - C2: no shared fate. A rejected batch is halved until the culprit is alone; contention is retried in halves; an
 *   unknown outcome is read back before anything is sent again.
 * - F3: zero rows is not a verdict: my claim at my seq means committed, a foreign claim means fenced, neither means
 *   that the row itself cannot be written.
 * - V4: a row whose large values are not stored yet is not ready: they have a way of their own, and no neighbour waits.
 * - T9: the committer outlives incarnations; a row that was handed over goes out.
 */

import { errorData, RuntimeError } from '../../shared/error.ts'
import type { Emit } from '../../shared/event.ts'
import type { CrashPoints } from '../crash-point.ts'
import { type Clock, pause } from '../kernel/clock-port.ts'
import {
  type Commit,
  type CommitOutcome,
  type Head,
  type NewBlob,
  type NodeIdentity,
  type Store,
  StoreFailure,
} from '../store/store.ts'
import { BlobWriter } from './blob-writer.ts'
import type { Dropped, DurableRecord } from './record.ts'
import type { Refused } from './refusal.ts'
import { asFailure } from './store-failure.ts'

/** Rows of one statement. Larger batches make Postgres and Node wait for each other. */
export const BATCH_ROWS_MAX = 250
/** Batches in flight: one in Postgres, one on the wire, one being built. */
export const FLIGHTS_MAX = 3
/** Ms before an unavailable store is tried again: first and largest wait. */
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000
/** Mailbox rows looked at when a consumed one was missing: as deep as the deepest mailbox by default. */
const CONSUMED_LOOK_MAX = 10_000

/** Refusals without a reason that can be found, after which the row is given up. */
const REFUSALS_MAX = 3

const NONE: ReadonlySet<number> = new Set()

/** A row that is stored. One that was read back has no positions and does not know who was told of an end. */
export type Stored = Extract<CommitOutcome, { kind: 'committed' }>

/** `blobs`: large values of the row, null for nearly all. */
type Row = { record: DurableRecord; commit: Commit; refusals: number; blobs: readonly NewBlob[] | null }

/** `loads` and epoch of the node when the statement was sent. */
type Sent = { loads: number; epoch: number }

export type CommitterPorts = {
  store: Store
  clock: Clock
  emit: Emit
  codeVersion: string
  crash: CrashPoints
  node(): NodeIdentity
  /** Loads of this node so far. */
  loads(): number
  /** A row is stored, parts have settled. `loads` as of when its statement was sent. */
  stored(record: DurableRecord, commit: Commit, outcome: Stored, loads: number): void
  /** The row can never be written: the record starts anew from its acknowledged value. */
  refused(record: DurableRecord, refused: Refused): void
  /** Another owner has the process. */
  fenced(record: DurableRecord, dropped: Dropped): void
  /** The node's epoch is over: everything here is fenced. */
  nodeFenced(): void
}

export class Committer {
  readonly #ports: CommitterPorts
  readonly #blobs: BlobWriter
  #ready: DurableRecord[] = []
  /** Rows taken, with their blobs on the way; and those whose blobs are stored. */
  #preparing = 0
  readonly #prepared: Row[] = []
  #flights = 0
  #scheduled = false
  #closed = false
  #idle: (() => void)[] = []
  #downSince: number | null = null
  /** Sum over all batches: read by samplers. */
  readonly stats = { batches: 0, rows: 0, latencyMs: 0, refused: 0, retries: 0 }

  constructor(ports: CommitterPorts) {
    this.#ports = ports
    const { store, clock, crash } = ports
    this.#blobs = new BlobWriter({
      ...{ store, clock, crash },
      node: () => ports.node(),
      up: () => this.#storeUp(),
      down: (failure) => this.#storeDown(failure),
    })
  }

  get flights(): number {
    return this.#flights
  }

  /** False while the store cannot be reached. */
  get up(): boolean {
    return this.#downSince === null
  }

  /** Epoch ms since when the store does not answer; null while it does. */
  get downSince(): number | null {
    return this.#downSince
  }

  /** The record has something to send; it leaves with the next batch. */
  wake(record: DurableRecord): void {
    if (record.dirty || record.flying || record.paused) return
    record.dirty = true
    this.#ready.push(record)
    this.#schedule()
  }

  /** Resolves when nothing is queued or in flight. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  get #isIdle(): boolean {
    return this.#flights === 0 && this.#preparing === 0 && this.#ready.length === 0 && this.#prepared.length === 0
  }

  /** Sends nothing more; flights end by themselves. */
  close(): void {
    this.#closed = true
  }

  // Rows that leave in a transaction of the user's (transaction.ts): by the same rules, in a statement of their own.

  /** Such a row was taken: counted like a flight. Resolves when its blobs are stored. @throws StoreFailure */
  async depart(record: DurableRecord, commit: Commit): Promise<void> {
    this.#preparing += 1
    const { blobs } = record
    if (blobs === null) return
    commit.blobs = blobs.map((blob) => blob.hash)
    const failure = await this.#blobs.write(blobs)
    if (failure !== null) throw failure
  }

  /** Its outcome is known; what waited behind it may leave. */
  arrived(record: DurableRecord): void {
    this.#preparing -= 1
    if (record.pending) this.wake(record)
    this.#settleIdle()
  }

  landed(record: DurableRecord, commit: Commit, outcome: Stored): void {
    this.#storeUp()
    this.#stored({ record, commit, refusals: 0, blobs: null }, outcome)
  }

  /** F3: what became of it. Its statement holds the head until the outcome is certain, and the head is read locked. */
  async verdict(record: DurableRecord, commit: Commit): Promise<'stored' | 'fenced' | 'void'> {
    const { store } = this.#ports
    const head = await this.#patiently(() => store.settledHead(record.pid))
    const mine = head !== null && head.claim === commit.claim
    if (mine && head.seq >= commit.seq) return 'stored'
    const alive = await this.#patiently(() => store.epochAlive(this.#ports.node()))
    if (mine && alive) return 'void'
    this.#fence({ record, commit, refusals: 0, blobs: null })
    if (!alive) this.#ports.nodeFenced()
    return 'fenced'
  }

  #schedule(): void {
    if (this.#scheduled || this.#flights >= FLIGHTS_MAX) return
    this.#scheduled = true
    // After the turns that are ready now: they end up in one batch instead of the first one leaving alone.
    this.#ports.clock.macrotask(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#flights < FLIGHTS_MAX && this.#ready.length + this.#prepared.length > 0 && !this.#closed) {
      const rows: Row[] = this.#prepared.splice(0, BATCH_ROWS_MAX)
      const taken = this.#ready.splice(0, BATCH_ROWS_MAX - rows.length)
      for (const record of taken) {
        record.dirty = false
        const commit = record.take(this.#ports.codeVersion)
        if (commit === null) continue
        const { blobs } = record
        const row = { record, commit, refusals: 0, blobs }
        if (blobs === null) rows.push(row)
        else void this.#prepare(row, blobs)
      }
      if (rows.length > 0) void this.#fly(rows)
    }
    this.#settleIdle()
  }

  /** Stores the blobs of a row; then it leaves with the next batch. */
  async #prepare(row: Row, blobs: readonly NewBlob[]): Promise<void> {
    row.commit.blobs = blobs.map((blob) => blob.hash)
    this.#preparing += 1
    const failure = await this.#blobs.write(blobs)
    this.#preparing -= 1
    if (failure === null) this.#prepared.push(row)
    else {
      this.#refuse(row, failure)
      if (row.record.pending) this.wake(row.record)
    }
    this.#schedule()
    this.#settleIdle()
  }

  async #fly(rows: Row[]): Promise<void> {
    this.#flights += 1
    try {
      await this.#write(rows)
    } finally {
      this.#flights -= 1
      for (const { record } of rows) if (record.pending) this.wake(record)
      if (this.#ready.length + this.#prepared.length > 0) this.#flush()
      this.#settleIdle()
    }
  }

  #settleIdle(): void {
    if (!this.#isIdle) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Writes the rows, whatever it takes. Settles every one of them. F2: what did not pass under the epoch in which it
   *  was made passes under no later one. */
  async #write(rows: Row[], epoch = this.#ports.node().epoch): Promise<void> {
    for (let wait = RETRY_MS_FIRST; rows.length > 0; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      if (this.#ports.node().epoch !== epoch) return rows.forEach((row) => void this.#fence(row))
      const loads = this.#ports.loads()
      const answer = await this.#send(rows)
      // Settling is outside of the attempt: nothing that follows from a stored row is a failure of the statement.
      if (!(answer instanceof StoreFailure)) return this.#settle(rows, answer, { loads, epoch })
      if (answer.kind !== 'unavailable' && answer.kind !== 'full') return this.#split(rows, answer, { wait, epoch })
      this.#storeDown(answer)
      await pause(this.#ports.clock, wait)
      rows = await this.#readBack(rows)
    }
  }

  async #send(rows: readonly Row[]): Promise<CommitOutcome[] | StoreFailure> {
    const { store, clock, crash } = this.#ports
    const startedAt = clock.monotonic()
    try {
      crash.hit('commit:before-statement')
      const statement = store.commit(
        this.#ports.node(),
        rows.map((row) => row.commit),
      )
      crash.hit('commit:sent')
      const outcomes = await statement
      crash.hit('commit:stored-before-reply')
      this.#account(rows, clock.monotonic() - startedAt, 'done')
      this.#storeUp()
      return outcomes
    } catch (error) {
      const failure = asFailure(error)
      const unknown = failure.kind === 'unavailable' || failure.kind === 'full'
      this.#account(rows, clock.monotonic() - startedAt, unknown ? 'unknown' : 'rejected')
      return failure
    }
  }

  async #settle(rows: readonly Row[], outcomes: readonly CommitOutcome[], sent: Sent): Promise<void> {
    const refused: Row[] = []
    rows.forEach((row, i) => {
      const outcome = outcomes[i]
      if (outcome?.kind === 'committed') this.#stored(row, outcome, sent.loads)
      else refused.push(row)
    })
    if (refused.length > 0) await this.#judge(refused, sent.epoch)
  }

  async #split(rows: Row[], failure: StoreFailure, { wait, epoch }: { wait: number; epoch: number }): Promise<void> {
    const alone = rows.length === 1 ? rows[0] : undefined
    if (alone !== undefined) {
      if (failure.kind !== 'contended') return this.#refuse(alone, failure)
      this.stats.retries += 1
      await pause(this.#ports.clock, wait)
      return this.#write(rows, epoch)
    }
    const middle = rows.length >> 1
    await this.#write(rows.slice(0, middle), epoch)
    await this.#write(rows.slice(middle), epoch)
  }

  /** Reads heads until the store answers; settles what is known, returns what must be sent again. */
  async #readBack(rows: Row[]): Promise<Row[]> {
    for (let wait = RETRY_MS_FIRST; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        const heads = await this.#heads(rows)
        this.#storeUp()
        return rows.filter((row) => {
          const head = heads.get(row.record.pid)
          if (head === undefined || head.claim !== row.commit.claim) this.#fence(row)
          else if (head.seq >= row.commit.seq)
            this.#stored(row, { kind: 'committed', at: this.#ports.clock.now(), ords: [] })
          else return true
          return false
        })
      } catch (error) {
        this.#storeDown(asFailure(error))
        await pause(this.#ports.clock, wait)
      }
    }
  }

  /** Rows the statement skipped: fenced, committed before (a lost ack), or impossible. */
  async #judge(rows: Row[], epoch: number): Promise<void> {
    const rest = await this.#readBack(rows)
    if (rest.length === 0) return
    const alive = await this.#patiently(() => this.#ports.store.epochAlive(this.#ports.node()))
    if (!alive) {
      for (const row of rest) this.#fence(row)
      this.#ports.nodeFenced()
      return
    }
    const again: Row[] = []
    for (const row of rest) {
      const missing = await this.#missing(row)
      if (missing.size === 0 && ++row.refusals < REFUSALS_MAX) again.push(row)
      else
        this.#refuse(row, new StoreFailure('rejected', 'a message that it consumed does not exist any more'), missing)
    }
    if (again.length === 0) return
    await pause(this.#ports.clock, RETRY_MS_FIRST)
    // D21: they may have been held up for so long that their blobs count as old. What fails shows in the next verdict.
    for (const row of again) if (row.blobs !== null) await this.#blobs.write(row.blobs)
    await this.#write(again, epoch)
  }

  /** Consumed messages that do not exist: they were handled before. */
  async #missing({ commit }: Row): Promise<Set<number>> {
    const ords = new Set(commit.consumed?.map((ref) => ref.ord) ?? [])
    if (ords.size === 0) return ords
    const { store, node } = this.#ports
    const first = Math.min(...ords)
    const rows = await this.#patiently(() => store.messages(node().namespace, commit.id, first - 1, CONSUMED_LOOK_MAX))
    for (const row of rows) ords.delete(row.ord)
    return ords
  }

  /** Asks until the store answers. */
  async #patiently<T>(ask: () => Promise<T>): Promise<T> {
    for (let wait = RETRY_MS_FIRST; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        return await ask()
      } catch (error) {
        const failure = asFailure(error)
        if (failure.kind !== 'contended') this.#storeDown(failure)
        await pause(this.#ports.clock, wait)
      }
    }
  }

  async #heads(rows: readonly Row[]): Promise<Map<number, Head>> {
    const heads = await this.#ports.store.heads(rows.map((row) => row.record.pid))
    return new Map(heads.map((head) => [head.process, head]))
  }

  #stored({ record, commit }: Row, outcome: Stored, loads = 0): void {
    record.stored(commit.seq, outcome.at)
    this.#ports.stored(record, commit, outcome, loads)
  }

  #refuse({ record, commit }: Row, failure: StoreFailure, missing: ReadonlySet<number> = NONE): void {
    this.stats.refused += 1
    const error = new RuntimeError(
      'COMMIT_REJECTED',
      `The store refused row ${commit.seq} of ${record.id}: ${failure.message.replace(/\.$/, '')}.`,
      { cause: failure, detail: { process: record.id, seq: commit.seq, sqlState: failure.sqlState } },
    )
    this.#ports.refused(record, { dropped: record.drop(), error, missing })
  }

  #fence({ record }: Row): void {
    record.fenced = true
    this.#ports.fenced(record, record.drop())
  }

  #account(rows: readonly Row[], durationMs: number, outcome: 'done' | 'rejected' | 'unknown'): void {
    this.stats.batches += 1
    this.stats.rows += rows.length
    this.stats.latencyMs += durationMs
    const turns = rows.reduce((sum, row) => sum + row.commit.meta.turnIds.length, 0)
    this.#ports.emit({
      kind: 'commit:stop',
      at: this.#ports.clock.now(),
      rows: rows.length,
      turns,
      durationMs,
      outcome,
    })
  }

  #storeDown(failure: StoreFailure): void {
    this.stats.retries += 1
    if (this.#downSince !== null) return
    this.#downSince = this.#ports.clock.now()
    this.#ports.emit({ kind: 'store:down', at: this.#downSince, error: errorData(failure) })
  }

  #storeUp(): void {
    if (this.#downSince === null) return
    const at = this.#ports.clock.now()
    this.#ports.emit({ kind: 'store:up', at, downMs: at - this.#downSince })
    this.#downSince = null
  }
}
