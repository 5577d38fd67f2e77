/**
 * The durable side of one process in memory: what is stored, what is on its way, what runs ahead of it.
 *
 * - T7: `live` may run ahead of `acked`; readers and observers only ever see `acked`. At most AHEAD_MAX turns ahead.
 * - F1: at most one commit of a process is in flight; parts appended meanwhile leave together in the next row.
 * - T9: parts belong to the record, not to an incarnation: what was appended goes out whatever becomes of the process.
 * - Parts settle strictly in the order of append, each exactly once: stored, refused or fenced.
 */
import type { Divergence } from '../../shared/divergence.ts'
import type { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { Process } from '../kernel/process.ts'
import type {
  Claim,
  Commit,
  JournalMeta,
  MessageRef,
  MessageRow,
  NewBlob,
  NewFailure,
  NewMessage,
  Pid,
} from '../store/store.ts'
import type { Past } from './branch.ts'
import { BLOB_CHARS_MIN, detachEntries } from './detach.ts'
import { type Entry, encodeEntries } from './entry.ts'
import type { Receiver } from './receive.ts'
import { keepInside } from './sandbox.ts'
import type { StreamTail } from './stream-writer.ts'
import type { Taken } from './taken.ts'
import { TieBook } from './tie-book.ts'
import type { DurableWait } from './wait.ts'

/** Turns of one process that may be done and not yet stored. Bounds what a refusal throws away. */
export const AHEAD_MAX = 256

/** Rows remembered for a late hint. A hint is late by a round trip, not by thousands of messages. */
const SEEN_MAX = 10_000

/** Receivers remembered by `caughtUp`. One that is forgotten reads its mailbox once more. */
const CAUGHT_UP_MAX = 10_000

export type Settled =
  | { kind: 'stored'; seq: number; at: number }
  | { kind: 'refused'; error: RuntimeError }
  | { kind: 'fenced' }

export type Lineage4 = Pick<JournalMeta, 'cause' | 'root' | 'traceparent' | 'actor'>

/** What one turn, step or exit adds to the next row. Lists are absent when empty. */
export type Part = Omit<Commit, 'process' | 'id' | 'seq' | 'claim' | 'meta' | 'payload' | 'blobs'> & {
  entries: readonly Entry[]
  turn: string | null
  lineage: Lineage4 | null
  /** State once this part is stored; absent when it does not change the state. */
  state?: Value
  /** Message of a turn that ended with this part: runs again when the row is refused. */
  envelope?: Envelope
  /** The accepted turn that ends with this part; it is open again when the row is refused. */
  open?: OpenTurn
  /** Exits and failure records: appended again when their row is refused because of a neighbour. */
  keep?: boolean
  /** Called once, in order. Must not throw. */
  settle(outcome: Settled): void
}

/** A call of the turn in hand that waits for its answer, or a step that waits for its outcome from outside. */
export type AwaitedReply = {
  /** Who answers; null where it is no process of the runtime. */
  readonly target: ProcessId | null
  readonly op: string
  /** Epoch ms at which the call was made. */
  readonly at: number
  /** The one outcome: the row, an error, or null at the deadline. */
  settle(answer: MessageRow | RuntimeError | null): void
  /** Nobody waits any more; the call has no outcome here. */
  cancel(): void
}

export type AwaitedCall = AwaitedReply & { readonly target: ProcessId }

/** Only a call can be part of a cycle of waiting processes. */
export function isCall(wait: AwaitedReply): wait is AwaitedCall {
  return wait.target !== null
}

/** Who hears what became of a record that is no agent's (ledger.ts). */
export interface Keeper {
  fenced(record: DurableRecord): void
  /** The row can never be written; its parts are dropped. */
  refused(record: DurableRecord, refused: { dropped: Dropped; error: RuntimeError }): void
}

/** `opens`: accepted turns that ran or had just ended, whether they go on or not. */
export type Dropped = { flying: Part[]; waiting: Part[]; opens: ReadonlySet<OpenTurn> }

export type OpenTurn = {
  readonly turn: string
  /** Raised each time an operator lets it run again. */
  readonly branch: number
  /** Branches before, while results of them are kept. */
  past: readonly Past[]
  /** Of the code that accepted it. */
  readonly codeVersion: string
  readonly op: string
  /** State the turn began with; a replay begins there again. */
  readonly base: Value
  /** Results in the order in which they were handed over; the accepted entry itself is not among them. */
  readonly entries: Entry[]
  /** How many of accepted entry and results are stored: 0 means that the turn is not accepted yet. */
  stored: number
  /** Owners that died with this turn in hand, where no row counts them (suspicion.ts). */
  recoveries: number
  /** Times it began alone, and whether it did in this activation. */
  alone: number
  marked: boolean
  /** Messages it received, by id; null without any. */
  taken: Map<string, Taken> | null
  readonly startedAt: number
  /** The message, to begin again after recovery. */
  readonly envelope: Envelope
}

/** What the record knows of the turn that uses it. */
export type TurnInHand = {
  readonly id: string
  readonly abort: AbortController
  readonly envelope: Envelope
  readonly closed: boolean
  readonly replaying: boolean
  /** Whether exits were trapped before it changed that; null: it did not. */
  readonly trapBefore: boolean | null
  /** Requests that are open. */
  readonly pending: number
  close(reason?: unknown): void
  leave(): void
  accept(): OpenTurn
  /** Somebody asks for its end; that is stored with the turn. */
  cancelWith(entry: Extract<Entry, { k: 'cancel' }>): void
}

export class DurableRecord {
  readonly id: ProcessId
  readonly pid: Pid
  readonly claim: Claim
  process: Process
  /** Null for the record of an agent's process. */
  keeper: Keeper | null = null
  /** Head sequence that is stored. */
  seq: number
  acked: Value
  /** Sequence and time of the row that made `acked`. */
  ackedSeq: number
  ackedAt: number
  live: Value
  stateVersion: number
  open: OpenTurn | null = null
  /** Reply rows whose call is not waited for yet, by call id. */
  readonly replies = new Map<string, MessageRow>()
  /** Armed timers, by name. */
  readonly armed = new Map<string, number>()
  armCount = 0
  /** Rows of timers that were taken and counted: a later attempt of one is not judged again. */
  readonly fired = new Set<number>()
  /** Position per receiver of what this process sent in this activation (M5). */
  sent = 0
  /** `now` never runs backwards for a process (V5). */
  lastNow = 0
  /** Rows that came with the load: a late hint of one of them is the same message. */
  loaded: Set<number> | null = null
  /** Loads of this node when this one was over. A row that an older statement stored, and that did not come with the
   *  load, may have been handled by an owner in between (M1). */
  loads = 0
  /** Whom it has sent to in this activation; null for a process that no earlier owner ran (M5). */
  caughtUp: Set<ProcessId> | null = null
  /** Turns that must be stored alone, after a refusal (T7). */
  solo = 0
  /** Characters of patches since the last snapshot, and of that snapshot. */
  patchBytes = 0
  snapshotBytes = 0
  /** True from the first refusal as foreign: nothing of this record may be written any more. */
  fenced = false
  /** A stored mark says that the open turn parked; the end of a turn takes it away. */
  diverged = false
  /** Where the replay of this activation left the journal. */
  divergence: Divergence | null = null
  /** An operator stopped it: whoever restarts it must claim it anew, and finds that it is not wanted (F7). */
  stopped = false
  /** First row of a new process carries its first state. */
  fresh: Value | undefined = undefined
  /** `activated` has run, where there is one. */
  hooked = false
  /** Open durable waits of the turn in hand, calls included. */
  readonly waits = new Set<DurableWait>()
  /** Open receives of the turn in hand, in the order in which they asked. */
  readonly receivers = new Set<Receiver>()
  /** Envelopes of durable calls in progress are answered by rows; waiting continuations by call id. */
  readonly waiting = new Map<string, AwaitedReply>()
  ahead = 0
  dirty = false
  /** The store refused what must be kept, so often in a row; until the next attempt nothing leaves. */
  refusals = 0
  paused = false
  /** The process of which this one is a sandbox copy: nothing it writes is for others (sandbox.ts). */
  sandbox: ProcessId | null = null
  /** Of the turns that are accepted from now on (branch.ts). */
  branch = 0
  /** The turn in hand. */
  turn: TurnInHand | null = null
  /** What the last crash or kill is remembered as, until the exit is stored. */
  failure: NewFailure | null = null
  /** Ties and names of the present life; null while it has none. */
  ties: TieBook | null = null
  /** Whether the stored process traps exits. */
  trapExit = false
  /** Row of the exit signal that ends the process: it goes with the exit. */
  endedBy: MessageRef | null = null
  /** Large values of the row that was taken last; null for nearly all rows. */
  blobs: readonly NewBlob[] | null = null
  /** Streams this process writes; null for nearly all. */
  streams: Map<string, StreamTail> | null = null
  /** Requests for the end of a turn that were seen and are still rows; null without any. */
  cancels: Set<number> | null = null
  /** Waits until fewer turns run ahead. */
  roomFor: (() => void) | null = null

  #next: Part[] = []
  #flying: Part[] | null = null

  constructor(init: {
    id: ProcessId
    pid: Pid
    claim: Claim
    process: Process
    seq: number
    state: Value
    stateVersion: number
    at: number
  }) {
    this.id = init.id
    this.pid = init.pid
    this.claim = init.claim
    this.process = init.process
    this.seq = init.seq
    this.acked = init.state
    this.live = init.state
    this.ackedSeq = init.seq
    this.ackedAt = init.at
    this.stateVersion = init.stateVersion
  }

  /** A row came without its hint; the hint, should it come later, is the same message. */
  seen(ord: number): void {
    this.loaded ??= new Set()
    this.loaded.add(ord)
    if (this.loaded.size <= SEEN_MAX) return
    for (const oldest of this.loaded) {
      this.loaded.delete(oldest)
      return
    }
  }

  /** Whether an earlier owner may have sent to the receiver of this message and told nobody. */
  mayHaveOwed({ kind, target }: NewMessage): boolean {
    const { caughtUp } = this
    if (caughtUp === null || (kind !== 'send' && kind !== 'call') || caughtUp.has(target)) return false
    if (caughtUp.size === CAUGHT_UP_MAX) caughtUp.clear()
    caughtUp.add(target)
    return true
  }

  /** The ties, made on first use. */
  tie(): TieBook {
    this.ties ??= new TieBook()
    return this.ties
  }

  /** Somebody must run it: an accepted turn is open, or it was born and `activated` has not had its say. */
  get isOwed(): boolean {
    return this.open !== null || (this.fresh !== undefined && !this.hooked)
  }

  get flying(): boolean {
    return this.#flying !== null
  }

  get pending(): boolean {
    return this.#flying !== null || this.#next.length > 0
  }

  /** An accepted turn whose end is not stored yet: a snapshot now would lose how far it came (F5). */
  get openInStore(): boolean {
    for (const _open of this.opens()) return true
    return false
  }

  /** Rows that what is on its way consumes. */
  consuming(): number[] {
    const parts = [...(this.#flying ?? []), ...this.#next]
    return parts.flatMap((part) => part.consumed?.map((ref) => ref.ord) ?? [])
  }

  /** The turn in hand, and those whose end is on its way: what they received goes back when they are rejected. */
  *opens(): Iterable<OpenTurn> {
    if (this.open !== null) yield this.open
    for (const { open } of [...(this.#flying ?? []), ...this.#next]) if (open !== undefined) yield open
  }

  append(part: Part): void {
    this.#next.push(part)
    if (part.state !== undefined) this.live = part.state
    if (part.envelope !== undefined) this.ahead += 1
  }

  /** Rides on what is on its way already, without a row of its own: for results that changed nothing. */
  attach(part: Part): void {
    if (this.#next.length > 0 || this.#flying === null) this.#next.push(part)
    else this.#flying.push(part)
    if (part.envelope !== undefined) this.ahead += 1
  }

  /** The next row, or null when there is nothing to send. Marks the parts as flying. */
  take(codeVersion: string): Commit | null {
    if (this.#flying !== null || this.#next.length === 0 || this.fenced) return null
    let parts = this.#next
    const count = beforeEnd(parts, this.solo > 0 ? soloCount(parts) : parts.length)
    if (count < parts.length) parts = parts.splice(0, count)
    else this.#next = []
    this.#flying = parts
    this.blobs = null
    return this.#build(parts, codeVersion)
  }

  /** The next row with the part of a user's transaction behind it (T2); null when nothing may leave now. */
  takeWith(part: Part, codeVersion: string): Commit | null {
    if (this.#flying !== null || this.fenced) return null
    const parts = [...this.#next, part]
    this.#next = []
    this.#flying = parts
    this.blobs = null
    return this.#build(parts, codeVersion)
  }

  /** The transaction was rolled back: whatever else was in its row waits for the next one. */
  giveBack(part: Part): void {
    if (this.#flying?.includes(part) !== true) return
    this.#next = [...this.#flying.filter((other) => other !== part), ...this.#next]
    this.#flying = null
  }

  #build(parts: readonly Part[], codeVersion: string): Commit {
    const first = parts[0] as Part // take() sends no empty row
    let entries: readonly Entry[] = parts.length === 1 ? first.entries : parts.flatMap((part) => part.entries)
    if (this.fresh !== undefined) entries = [{ k: 'init', value: this.fresh }, ...entries]
    const lineage = parts.find((part) => part.lineage !== null)?.lineage ?? null
    const meta: JournalMeta = {
      stateVersion: this.stateVersion,
      codeVersion,
      turnIds: turnIds(parts),
      cause: lineage?.cause ?? null,
      root: lineage?.root ?? null,
      traceparent: lineage?.traceparent ?? null,
      actor: lineage?.actor ?? null,
    }
    let payload = encodeEntries(entries)
    // As an activation will read it, large values included.
    this.patchBytes += payload.length
    if (payload.length > BLOB_CHARS_MIN) payload = this.#detach(payload)
    const { pid: process, id, claim } = this
    const commit: Commit = { process, id, seq: this.seq + 1, claim, meta, payload }
    for (const part of parts) addLists(commit, part)
    if (this.sandbox !== null) keepInside(commit)
    return commit
  }

  #detach(payload: string): string {
    const { text, blobs } = detachEntries(payload)
    if (blobs.length > 0) this.blobs = blobs
    return text
  }

  /** The row is stored: the acknowledged value moves on, parts settle in order. */
  stored(seq: number, at: number): void {
    const parts = this.#flying ?? []
    this.#flying = null
    this.refusals = 0
    this.seq = seq
    this.fresh = undefined
    for (const part of parts) {
      if (part.envelope !== undefined) this.ahead -= 1
      if (part.state === undefined) continue
      this.acked = part.state
      this.ackedSeq = seq
      this.ackedAt = at
    }
    if (this.solo > 0 && parts.some((part) => part.envelope !== undefined)) this.solo -= 1
    for (const part of parts) {
      if (this.fired.size > 0) for (const ref of part.consumed ?? []) this.fired.delete(ref.ord)
      part.settle({ kind: 'stored', seq, at })
    }
    if (this.roomFor !== null && this.ahead < AHEAD_MAX / 2) {
      const resume = this.roomFor
      this.roomFor = null
      resume()
    }
  }

  /** Nothing of the row was written, nor will be: hands back all parts, flying and waiting, for a new start. */
  drop(): Dropped {
    const opens = new Set(this.opens())
    const dropped = { flying: this.#flying ?? [], waiting: this.#next, opens }
    this.#flying = null
    this.#next = []
    this.live = this.acked
    this.ahead = 0
    const ended = [...dropped.flying, ...dropped.waiting].find((part) => (part.open?.stored ?? 0) > 0)?.open
    const open = ended ?? this.open
    this.open = open !== null && open.stored > 0 ? open : null
    if (this.open !== null) this.open.entries.length = this.open.stored - 1
    return dropped
  }
}

/** Parts up to and with the first one that ends a turn. */
function soloCount(parts: readonly Part[]): number {
  const at = parts.findIndex((part) => part.envelope !== undefined)
  return at < 0 ? parts.length : at + 1
}

/** How many of the first `count` parts may leave together: the end of an incarnation finds its ties and names in the
 *  store, not in its own row. */
function beforeEnd(parts: readonly Part[], count: number): number {
  if (count < 2) return count
  const end = parts.findIndex((part) => part.ends !== undefined)
  if (end < 1 || end >= count) return count
  const ties = parts.slice(0, end).some((part) => part.links !== undefined || part.names !== undefined)
  return ties ? end : count
}

function turnIds(parts: readonly Part[]): string[] {
  const ids: string[] = []
  for (const { turn } of parts) if (turn !== null && ids.at(-1) !== turn) ids.push(turn)
  return ids
}

const LISTS = [
  'consumed',
  'messages',
  'requests',
  'timers',
  'cancelTimers',
  'spawns',
  'links',
  'names',
  'ends',
  'failures',
  'deadLetters',
  'attempted',
] as const

/** Adds what a part has to the row: lists one behind the other, the last word of each field of the patch. */
function addLists(commit: Commit, part: Part): void {
  const lists = commit as Record<string, unknown> // each list keeps the element type of its name
  for (const name of LISTS) {
    const items = part[name]
    if (items === undefined || items.length === 0) continue
    const before = lists[name] as readonly unknown[] | undefined // as above
    lists[name] = before === undefined ? items : [...before, ...items]
  }
  if (part.patch !== undefined)
    commit.patch = commit.patch === undefined ? part.patch : { ...commit.patch, ...part.patch }
}
