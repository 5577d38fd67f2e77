/**
 * Mailboxes that are read from the store: what was lost on the way, or may be older than what is here, is found there.
 *
 * - M5: what comes while a mailbox is read waits for what the reading finds, until the store answers.
 * - M1: what was consumed meanwhile is not found again.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { Process } from '../kernel/process.ts'
import type { Commit, MessageRow, Store } from '../store/store.ts'
import { recordOf } from './durable.ts'
import { heldRows } from './held-row.ts'
import type { DurableRecord } from './record.ts'

/** Ms before a mailbox that could not be read is read again. */
const AGAIN_MS = 100

/** A mailbox that is being read: what came meanwhile, and what was handled meanwhile. */
type Reading = { again: boolean; readonly hints: MessageRow[]; readonly consumed: Set<number> }

type ReaderPorts = {
  namespace: string
  store: Store
  clock: Clock
  stopped(): boolean
  /** A row that is not here. */
  found(row: MessageRow, record: DurableRecord): void
  /** The process is another one by now. */
  moved(id: ProcessId): void
  failed(what: string, error: unknown): void
}

export class MailboxReader {
  readonly #ports: ReaderPorts
  readonly #readings = new Map<ProcessId, Reading>()

  constructor(ports: ReaderPorts) {
    this.#ports = ports
  }

  /** Reads the mailbox; once more when it is being read already. */
  read(process: Process, record: DurableRecord): void {
    const reading = this.#readings.get(record.id)
    if (reading !== undefined) {
      reading.again = true
      return
    }
    this.#begin(process, record, [])
  }

  /** Whether the row waits for a reading. */
  keeps(row: MessageRow): boolean {
    return this.#readings.get(row.target)?.hints.push(row) !== undefined
  }

  /** A commit consumed these rows. */
  consumed(id: ProcessId, refs: NonNullable<Commit['consumed']>): void {
    const reading = this.#readings.get(id)
    if (reading !== undefined) for (const { ord } of refs) reading.consumed.add(ord)
  }

  #ask(process: Process, record: DurableRecord, reading: Reading): void {
    const { store, namespace, clock, stopped, failed } = this.#ports
    store.messages(namespace, record.id, 0, process.mailboxLimit).then(
      (rows) => this.#answered(process, record, reading, rows),
      (error: unknown) => {
        failed(`reading the mailbox of ${record.id}`, error)
        if (stopped()) this.#readings.delete(record.id)
        else clock.after(AGAIN_MS, () => this.#ask(process, record, reading)).keepAlive(false)
      },
    )
  }

  #answered(process: Process, record: DurableRecord, reading: Reading, rows: readonly MessageRow[]): void {
    const { found, moved } = this.#ports
    this.#readings.delete(record.id)
    if (recordOf(process) !== record) return moved(record.id)
    const known = new Set([...heldRows(process, record), ...(record.loaded ?? []), ...reading.consumed])
    // Whoever asked again looks for a row that this reading may be too old to have: what came after it waits.
    const hints = reading.again ? [] : reading.hints
    const fresh = new Map<number, MessageRow>()
    for (const row of [...rows, ...hints]) if (!known.has(row.ord)) fresh.set(row.ord, row)
    const hinted = new Set(reading.hints.map((row) => row.ord))
    for (const row of [...fresh.values()].sort((a, b) => a.ord - b.ord)) {
      found(row, record)
      if (!hinted.has(row.ord)) record.seen(row.ord)
    }
    if (!reading.again) return
    const left = reading.hints.filter(({ ord }) => !known.has(ord) && !fresh.has(ord))
    this.#begin(process, record, left)
  }

  #begin(process: Process, record: DurableRecord, hints: MessageRow[]): void {
    const fresh: Reading = { again: false, hints, consumed: new Set() }
    this.#readings.set(record.id, fresh)
    this.#ask(process, record, fresh)
  }
}
