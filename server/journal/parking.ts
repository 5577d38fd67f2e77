/**
 * Parking: a process whose open turn only waits leaves memory, its turn open in the store (PROTOCOL V2). It comes back
 * by its timer, a reply or a message that the turn can take, and replays to where it was.
 *
 * - W2: claim, wait and timer are given up and set by one statement, tried again until it is known to be done; an
 *   activation meanwhile waits for it. So no instant exists at which nobody would wake the process.
 * - Only what is stored is given up: nothing of the record is on its way, and messages without a row get one.
 * - Who waits in this runtime for the answer of a parked turn is remembered here and hears it when the turn ends here.
 */

import type { Emit } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { CrashPoints } from '../crash-point.ts'
import { type Clock, pause } from '../kernel/clock-port.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { poolOf } from '../kernel/pool.ts'
import type { Process } from '../kernel/process.ts'
import { type MessageRow, type NewTimer, type NodeIdentity, type Release, type Store, WAKE } from '../store/store.ts'
import { recordOf } from './durable.ts'
import { cancelWaits } from './late-reply.ts'
import { rowOf } from './message.ts'
import { ParkedCallers } from './parked-caller.ts'
import { type DurableRecord, isCall, type OpenTurn } from './record.ts'
import { SandboxTurn } from './sandbox-turn.ts'
import { isPassing } from './store-failure.ts'
import { ACTIVATED_OP } from './turn.ts'
import { hasUnstored } from './turn-stream.ts'
import { firstWait } from './wait.ts'

/** Ms. What ends sooner is not worth a statement and an activation. */
export const PARK_MS_MIN = 1_000
/** Processes of one statement, as many as of an activation. */
const BATCH_MAX = 250
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000
/** Parked processes whose turn is known to take no message but its own; beyond, a message to one costs a replay. */
const KNOWN_MAX = 100_000

export type ParkingPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  kernel: Kernel
  emit: Emit
  node(): NodeIdentity
  clockOffset(): number
  stopped(): boolean
  /** Activations of a process wait for its promise here. */
  releasing: Map<ProcessId, Promise<void>>
  /** Stores a message that has no row. */
  keep(id: ProcessId, envelope: Envelope): void
  timerArmed(due: number): void
  /** Resolves when no tie of the process is still to be looked for: with the claim that would be forgotten. */
  looked(id: ProcessId): Promise<void>
  /** The claim could not be given up: it runs here again. */
  poke(id: ProcessId): void
  failed(what: string, error: unknown): void
}

type Leaving = { id: ProcessId; release: Release; done(): void }

export class Parking {
  readonly #ports: ParkingPorts
  readonly #takes = new Map<ProcessId, readonly string[]>()
  readonly callers = new ParkedCallers()
  #queue: Leaving[] = []
  #scheduled = false
  #flying = new Set<Promise<void>>()

  constructor(ports: ParkingPorts) {
    this.#ports = ports
  }

  /** False when it is busy, tied, back in less than `ms`, not stored yet, or not the member of a pool. */
  park(process: Process, ms = PARK_MS_MIN): boolean {
    const record = recordOf(process)
    if (record === null || process.parent === null || poolOf(process.parent) === null) return false
    if (record.stopped || !onlyWaits(record) || this.#left(record) < ms) return false
    const release = this.#releaseOf(record)
    const waiting = this.#ports.kernel.park(process)
    if (waiting === null) return false
    const { id } = process
    this.#remember(record, release)
    record.turn?.leave()
    record.turn = null
    cancelWaits(record)
    process.slot = null
    record.fenced = true
    for (const envelope of waiting) {
      // A hook belongs to the life that ends here; the next one has its own.
      if (rowOf(envelope) === null && envelope.op !== ACTIVATED_OP) this.#ports.keep(id, envelope)
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const { releasing } = this.#ports
    releasing.set(id, promise)
    promise.then(() => releasing.get(id) === promise && releasing.delete(id))
    this.#queue.push({ id, release, done: resolve })
    this.#schedule()
    const { emit, clock } = this.#ports
    emit({ kind: 'process:passivate', at: clock.now(), id, incarnation: process.incarnation, seq: record.seq })
    return true
  }

  /** Whether the process was parked here and its turn has no use for such a message. */
  ignores(id: ProcessId, { kind, op }: Pick<MessageRow, 'kind' | 'op'>): boolean {
    const takes = this.#takes.get(id)
    if (takes === undefined || kind === 'reply' || kind === 'exit' || kind === 'cancel' || op === WAKE) return false
    if (kind === 'withdraw' || kind === 'down') return true
    return !takes.includes('*') && !takes.includes(op)
  }

  /** It is back in memory here. */
  revived({ id, open }: DurableRecord): void {
    if (this.#takes.delete(id)) this.#ports.crash.hit('park:revived')
    for (const envelope of open === null ? [] : inHand(open)) {
      envelope.reply = this.callers.take(envelope.messageId ?? '') ?? envelope.reply
    }
  }

  /** Resolves when everything that left has been given up. */
  async idle(): Promise<void> {
    this.#flush()
    await Promise.all(this.#flying)
  }

  /** Whether the open turn will do nothing by itself in the next `ms`; the answer to a call may come at any time. What
   *  an operator answers is not counted: a sandbox copy stops at the same place wherever it goes on (E10). */
  outlasts(process: Process, ms: number): boolean {
    const record = recordOf(process)
    if (record === null) return false
    const stops = record.turn instanceof SandboxTurn ? record.turn.stops.size : 0
    if (!onlyWaits(record, stops) || [...record.waiting.values()].some(isCall)) return false
    return this.#left(record) > ms
  }

  /** Ms until the first deadline. */
  #left(record: DurableRecord): number {
    const { clock, clockOffset } = this.#ports
    return (firstWait(record)?.deadline ?? Number.POSITIVE_INFINITY) - (clock.now() + clockOffset())
  }

  #releaseOf(record: DurableRecord): Release {
    const { pid, claim, open, waits } = record
    const wait = firstWait(record)
    const takes = [...new Set([...waits].flatMap((one) => one.takes))]
    const timer: NewTimer | null =
      wait?.deadline == null
        ? null
        : {
            ...{ process: pid, target: record.id, name: WAKE, arm: record.armCount + 1, due: wait.deadline, op: WAKE },
            ...{ args: 'null', root: open?.envelope.lineage.root ?? null },
            traceparent: open?.envelope.lineage.traceparent ?? null,
          }
    return { process: pid, claim, park: { wait: JSON.stringify(wait), takes, judged: judgedOf(record), timer } }
  }

  #remember({ id, open }: DurableRecord, { park }: Release): void {
    if (park !== undefined) this.#takes.set(id, park.takes)
    if (this.#takes.size > KNOWN_MAX) {
      const [oldest] = this.#takes.keys()
      if (oldest !== undefined) this.#takes.delete(oldest)
    }
    for (const { messageId, reply } of open === null ? [] : inHand(open)) {
      if (messageId !== null && reply !== null) this.callers.add(messageId, reply)
    }
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#ports.clock.macrotask(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const flight = this.#give(this.#queue.splice(0, BATCH_MAX)).finally(() => this.#flying.delete(flight))
      this.#flying.add(flight)
    }
  }

  async #give(batch: readonly Leaving[]): Promise<void> {
    const { store, clock, crash, node, failed, stopped, timerArmed, poke, looked } = this.#ports
    await Promise.all(batch.map(({ id }) => looked(id)))
    const releases = batch.map(({ release }) => release)
    for (let wait = RETRY_MS_FIRST; ; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        crash.hit('park:before-release')
        await store.release(node(), releases)
        crash.hit('park:released')
        break
      } catch (error) {
        if (wait === RETRY_MS_FIRST) failed('parking', error)
        if (isPassing(error) && !stopped()) {
          await pause(clock, wait)
          continue
        }
        for (const { done } of batch) done()
        if (!stopped()) for (const { id } of batch) poke(id)
        return
      }
    }
    for (const { done } of batch) done()
    const due = Math.min(...releases.map(({ park }) => park?.timer?.due ?? Number.POSITIVE_INFINITY))
    if (due !== Number.POSITIVE_INFINITY) timerArmed(due)
  }
}

/** The open turn waits for nothing that is in memory, and all it did is stored.
 *  @param stops  requests that wait for an operator, as if they were waits */
function onlyWaits(record: DurableRecord, stops = 0): boolean {
  const { turn, open, waits } = record
  const idle = waits.size + stops
  if (turn === null || open === null || turn.closed || turn.replaying || record.pending || record.fenced) return false
  if (hasUnstored(record)) return false
  return !record.diverged && idle > 0 && turn.pending === idle
}

/** The last position in the mailbox: all before it was offered to whoever receives. */
function judgedOf({ process }: DurableRecord): number {
  const envelopes = process.mailbox?.peek(0, process.mailboxLength) ?? []
  return envelopes.reduce((last, envelope) => Math.max(last, rowOf(envelope)?.ord ?? 0), 0)
}

/** The message of the turn, and those it received. */
function inHand(open: OpenTurn): Envelope[] {
  return [open.envelope, ...[...(open.taken?.values() ?? [])].map(({ envelope }) => envelope)]
}
