/**
 * Writes streams of this node: gathers what many turns write for a few milliseconds and stores it in one statement.
 *
 * - M8: streams are exempt from T1. What is written here is visible before its turn ends, and stays when it fails.
 * - F5: every append carries the claim of its process and the tail its writer expects. A lost answer is read back from
 *   the refusal that the second try gets (F3); any other refusal means that somebody else owns the stream.
 * - A store that is away is waited for. Meanwhile writers wait: a stream holds at most BUFFER_BYTES_MAX unstored.
 */

import { RuntimeError } from '../../shared/error.ts'
import type { CrashPoints } from '../crash-point.ts'
import { type Clock, pause, type Timer } from '../kernel/clock-port.ts'
import type { Claim, NodeIdentity, Store } from '../store/store.ts'
import type { NewRecord, StreamAppend, StreamAppended, StreamRow } from '../store/stream.ts'
import { isPassing } from './store-failure.ts'

/** Ms that records are gathered: below what a reader of a text notices, and 25 statements a second at the most. */
export const GATHER_MS = 40
/** Records that end the gathering of a stream at once: those of seconds at the pace of any model. */
const GATHER_RECORDS_MAX = 500
/** Bytes of one stream that may wait; then `write` waits. */
const BUFFER_BYTES_MAX = 256 * 1024
/** Streams of one statement. */
const BATCH_MAX = 100
/** Ms before a store that is away is tried again: first and largest wait. */
const RETRY_MS_FIRST = 50
const RETRY_MS_MAX = 2_000

export type StreamWriterPorts = {
  readonly store: Pick<Store, 'appendStreams'>
  readonly clock: Clock
  crash(): CrashPoints
  node(): NodeIdentity
  /** Records of the stream are stored: readers may look. */
  appended(path: string): void
  failed(what: string, error: unknown): void
}

/** One stream that is written here, as long as its process is in memory. */
export class StreamTail {
  readonly id: number
  readonly path: string
  readonly claim: Claim
  /** Where the next append goes: everything before is stored. */
  stored: number
  /** Position of the next record that is written. */
  next: number
  floor: number
  closed: boolean
  /** Why nothing can be written any more. */
  problem: RuntimeError | null = null
  pending: NewRecord[] = []
  flying: { readonly records: readonly NewRecord[]; readonly close: boolean } | null = null
  bytes = 0
  closing = false
  /** Settled when what was pending at their time is stored or lost. */
  waiting: { readonly upTo: number; settle(problem: RuntimeError | null): void }[] = []

  constructor(row: StreamRow) {
    this.id = row.id
    this.path = row.path
    this.claim = row.claim
    this.stored = row.tail
    this.next = row.tail
    this.floor = row.floor
    this.closed = row.closed
  }

  get isDirty(): boolean {
    return this.pending.length > 0 || (this.closing && !this.closed)
  }

  get hasRoom(): boolean {
    return this.bytes < BUFFER_BYTES_MAX
  }
}

export class StreamWriter {
  readonly #ports: StreamWriterPorts
  readonly #dirty = new Set<StreamTail>()
  #timer: Timer | null = null
  #running = false
  #closed = false

  constructor(ports: StreamWriterPorts) {
    this.#ports = ports
  }

  /** Adds a record; it is stored a little later. */
  add(tail: StreamTail, record: NewRecord): void {
    tail.pending.push(record)
    tail.bytes += record.data.length
    tail.next += 1
    this.#mark(tail, tail.pending.length >= GATHER_RECORDS_MAX || !tail.hasRoom)
  }

  /** Ends the stream after what was added. */
  end(tail: StreamTail): void {
    tail.closing = true
    this.#mark(tail, true)
  }

  /** Resolves once everything added before is stored. @throws FENCED  somebody else writes it now */
  flushed(tail: StreamTail): Promise<void> {
    if (tail.problem !== null) return Promise.reject(tail.problem)
    if (!tail.isDirty && tail.flying === null) return Promise.resolve()
    if (tail.isDirty) this.#mark(tail, true)
    return this.#stored(tail, tail.next + (tail.closing ? 1 : 0))
  }

  /** Resolves once there is room for more. */
  room(tail: StreamTail): Promise<void> {
    if (tail.problem !== null) return Promise.reject(tail.problem)
    if (tail.hasRoom) return Promise.resolve()
    return this.#stored(tail, tail.stored + 1)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const tail of this.#dirty) this.#lose(tail, new RuntimeError('RUNTIME_STOPPED', 'The runtime was stopped.'))
  }

  #stored(tail: StreamTail, upTo: number): Promise<void> {
    return new Promise((resolve, reject) => {
      tail.waiting.push({ upTo, settle: (problem) => (problem === null ? resolve() : reject(problem)) })
    })
  }

  #mark(tail: StreamTail, now: boolean): void {
    if (this.#closed) return this.#lose(tail, new RuntimeError('RUNTIME_STOPPED', 'The runtime was stopped.'))
    this.#dirty.add(tail)
    if (this.#running) return
    if (!now && this.#timer !== null) return
    this.#timer?.cancel()
    this.#timer = this.#ports.clock.after(now ? 0 : GATHER_MS, () => void this.#run())
  }

  async #run(): Promise<void> {
    this.#timer = null
    if (this.#running) return
    this.#running = true
    try {
      const tails = [...this.#dirty].slice(0, BATCH_MAX)
      for (const tail of tails) this.#take(tail)
      await this.#store(tails)
    } finally {
      this.#running = false
    }
    const [first] = this.#dirty
    if (first !== undefined)
      this.#mark(
        first,
        [...this.#dirty].some((tail) => tail.waiting.length > 0),
      )
  }

  #take(tail: StreamTail): void {
    this.#dirty.delete(tail)
    tail.flying = { records: tail.pending, close: tail.closing }
    tail.pending = []
  }

  async #store(tails: readonly StreamTail[]): Promise<void> {
    let left = tails
    for (let wait = RETRY_MS_FIRST; left.length > 0; wait = Math.min(wait * 2, RETRY_MS_MAX)) {
      try {
        const outcomes = await this.#ports.store.appendStreams(this.#ports.node(), left.map(appendOf))
        this.#ports.crash().hit('stream:stored')
        left.forEach((tail, i) => void this.#settle(tail, outcomes[i]))
        return
      } catch (error) {
        if (this.#closed) return
        if (!isPassing(error)) {
          this.#ports.failed('writing streams', error)
          const [only] = left
          if (left.length === 1 && only !== undefined) return this.#lose(only, refused(only, error))
          for (const tail of left) await this.#store([tail]) // whose record it is shows when each is alone
          return
        }
        await pause(this.#ports.clock, wait)
        left = left.filter(({ problem }) => problem === null)
      }
    }
  }

  #settle(tail: StreamTail, outcome: StreamAppended | undefined): void {
    const { flying } = tail
    if (flying === null || outcome === undefined) return
    const end = tail.stored + flying.records.length
    if (outcome.kind === 'refused' && !isOurs(tail, outcome, end)) return this.#lose(tail, fencedStream(tail))
    tail.stored = end
    tail.closed = flying.close
    tail.flying = null
    tail.bytes = tail.pending.reduce((sum, { data }) => sum + data.length, 0)
    const reached = tail.closed ? end + 1 : end
    const done = tail.waiting.filter(({ upTo }) => upTo <= reached)
    tail.waiting = tail.waiting.filter(({ upTo }) => upTo > reached)
    for (const { settle } of done) settle(null)
    this.#ports.appended(tail.path)
  }

  #lose(tail: StreamTail, problem: RuntimeError): void {
    this.#dirty.delete(tail)
    tail.problem = problem
    tail.pending = []
    tail.flying = null
    for (const { settle } of tail.waiting.splice(0)) settle(problem)
  }
}

function appendOf(tail: StreamTail): StreamAppend {
  const { records, close } = tail.flying ?? { records: [], close: false }
  return { stream: tail.id, claim: tail.claim, expected: tail.stored, records, close }
}

/** F3: the first try was stored and its answer lost. Nobody else can have moved the tail under our claim. */
function isOurs(tail: StreamTail, { row }: Extract<StreamAppended, { kind: 'refused' }>, end: number): boolean {
  if (row === null || row.claim !== tail.claim || row.tail !== end) return false
  return end > tail.stored || row.closed
}

function fencedStream({ path }: StreamTail): RuntimeError {
  return new RuntimeError('FENCED', `The stream ${path} is written by another owner now; nothing was written here.`)
}

function refused({ path }: StreamTail, cause: unknown): RuntimeError {
  return new RuntimeError('COMMIT_REJECTED', `The store refused records of the stream ${path}.`, { cause })
}
