/**
 * The store as the rest of the runtime sees it: interfaces and rows, no SQL, no driver.
 *
 * Two implementations (postgres/, memory.ts) pass one contract suite. What both guarantee:
 * - D1: `commit` writes each accepted row of a batch whole or not at all, and never half of one process.
 * - D2: a row is accepted only if the head holds `seq - 1` and this claim, the node's epoch is current, and every
 *   consumed message exists (PROTOCOL F1, F2, M1).
 * - D3: nothing of a commit is visible to any reader before the whole statement is.
 * - D4: `claim` succeeds only for a process without owner or with an owner whose node epoch is dead (F4), or, where
 *   asked (`mine`), for one that the claiming epoch holds itself.
 * - D5: snapshots only move forward and only under the current claim (F5).
 * - D21, D22: a row that refers to a blob is accepted only while the blob is there and was touched lately; what is
 *   referred to is never collected. Readers get payloads and snapshots with their large values back in place (V4).
 * - D6: timers fire by one atomic delete-and-insert; a timer fires at most once (V5).
 *
 * Times are epoch milliseconds of the *store's* clock. Texts named `payload`, `args`, `value` are in the form of
 * shared/value.ts `encode`, except where said otherwise.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { DiscardOutcome, ImportOutcome, ImportPlace, ProcessBody } from '../../shared/process-file.ts'
import type { Pruned, PruneStep, Swept } from '../../shared/retention.ts'
import type { DeadLetter, DesiredState, FailureRecord } from '../../shared/snapshot.ts'
import type { Archive } from './archive.ts'
import type { StreamStore } from './stream.ts'
import type { TransactStore } from './transact.ts'

/** Never-reused surrogate of a process, given by the store (PROTOCOL F1). */
export type Pid = number
/** Unique per activation. */
export type Claim = number

/** One runtime's run on one node. `epoch` is unique per process start (F2). */
export type NodeIdentity = { id: number; epoch: number; name: string; namespace: string }

export type JournalMeta = {
  stateVersion: number
  codeVersion: string
  /** Turns covered by this row, in order; a row may carry several (T7). */
  turnIds: readonly string[]
  cause: string | null
  root: string | null
  traceparent: string | null
  actor: string | null
}

/** `payload` is JSON text of journal/entry.ts `Entry[]`. */
export type JournalRow = JournalMeta & { seq: number; claim: Claim; at: number; payload: string }

/** Handled by the owner without a turn: `withdraw`, the sender gives up the call named in `op` (PROTOCOL M3); `cancel`,
 *  somebody asks for the end of the turn of the message named in `op` (Y1). */
export type MessageKind = 'call' | 'send' | 'reply' | 'withdraw' | 'cancel' | 'timer' | 'exit' | 'down' | 'topic'

/** Where the outcome of a stored call goes. */
export type ReplyAddress =
  | { kind: 'process'; id: ProcessId; call: string }
  | { kind: 'request'; scope: string; key: string }
  | { kind: 'node'; node: number; epoch: number; call: string }

export type NewMessage = {
  /** `turn_id.n` or generated; unique. */
  id: string
  target: ProcessId
  kind: MessageKind
  op: string
  sender: ProcessId | null
  /** Position per sender and receiver inside the sender's life (M5). */
  n: number
  args: string
  replyTo: ReplyAddress | null
  cause: string | null
  root: string | null
  chain: readonly ProcessId[]
  traceparent: string | null
  actor: string | null
  deadline: number | null
  /** Set when a timer made it: dropped at dequeue when no longer armed (V5). */
  timer: { name: string; arm: number } | null
}

/** `ord` orders the rows of one target; rows of one sender keep their order (M5). */
export type MessageRow = NewMessage & { ord: number; at: number; attempts: number; recoveries: number }

export type MessageRef = { target: ProcessId; ord: number }

/** A call that `caller` made in a turn and `target` has not answered. `ord` of its row: higher is younger. */
export type WaitEdge = {
  caller: ProcessId
  /** Of the caller. */
  pid: Pid
  /** Id of the call (ReplyAddress). */
  call: string
  target: ProcessId
  op: string
  ord: number
}

export type NewTimer = {
  process: Pid
  target: ProcessId
  name: string
  arm: number
  due: number
  op: string
  args: string
  root: string | null
  traceparent: string | null
}
export type TimerRow = NewTimer

export type ProcessPatch = {
  incarnation?: number
  stateVersion?: number
  restarts?: number
  /** null clears it. Encoded ExitReason as JSON text. */
  exit?: string | null
  /** The process ended for good: it is not activated by messages any more until re-created. */
  ended?: boolean
  desired?: DesiredState
  parent?: ProcessId | null
  diverged?: boolean
  trapExit?: boolean
  /** The last incarnation ended and no other has begun; a claim takes it away. */
  gone?: boolean
  branch?: number
}

/** Links, monitors and names of durable processes are rows (P3). `ephemeral`: the peer has no row in the store, so its
 *  end is told in memory. */
export type LinkChange =
  | { kind: 'link'; peer: ProcessId; ephemeral?: boolean }
  | { kind: 'unlink'; peer: ProcessId }
  | { kind: 'monitor'; peer: ProcessId; ref: string; ephemeral?: boolean }
  | { kind: 'demonitor'; ref: string }
  /** The peer is ended by the last end of this process (P9). */
  | { kind: 'child'; peer: ProcessId }
export type NameChange = { kind: 'register' | 'unregister'; name: string }

/** The end of an incarnation. Its ties become one `down` row per monitor and one `exit` row per link, its names are
 *  free, all in the commit that carries it. `reason` is an ExitReason in the form of `encode`. */
/** `last`: no other incarnation follows by itself, so children that close with it are told too. */
export type ProcessEnd = { incarnation: number; reason: string; last?: boolean }

export type NewProcess = {
  id: ProcessId
  agent: string
  key: string
  kind: 'agent' | 'supervisor'
  parent: ProcessId | null
}

export type RequestResult = { scope: string; key: string; status: 'done' | 'failed'; result: string }

export type NewFailure = Omit<FailureRecord, 'at' | 'process'>
export type NewDeadLetter = Omit<DeadLetter, 'at' | 'process' | 'redeliveredAt' | 'args'> & { args: string }

/** A large value's text under the sha256 of it, in hex (shared/blob-text.ts). */
export type NewBlob = { hash: string; value: string }
/** A reference that leads nowhere, in row `seq` of a process. */
export type MissingBlob = { hash: string; seq: number }

/** V4: a process with a hole in it must not run, nor be shown as if it were whole. */
export function blobMissing(process: string, { hash, seq }: MissingBlob): RuntimeError {
  const message = `Row ${seq} of ${process} refers to the large value ${hash}, which is not stored any more.`
  return new RuntimeError('BLOB_MISSING', message, { detail: { process, seq, hash } })
}

/** Everything one process writes at once. Absent lists are empty lists: the hot path has none of them. */
export type Commit = {
  process: Pid
  id: ProcessId
  seq: number
  claim: Claim
  meta: JournalMeta
  payload: string
  consumed?: readonly MessageRef[]
  messages?: readonly NewMessage[]
  requests?: readonly RequestResult[]
  timers?: readonly NewTimer[]
  /** Disarmed, and taken out of the mailbox where they fired already; one that is nowhere is no error (V5). */
  cancelTimers?: readonly { name: string; arm: number }[]
  spawns?: readonly NewProcess[]
  patch?: ProcessPatch
  links?: readonly LinkChange[]
  names?: readonly NameChange[]
  /** At most one: an incarnation begins only after the end of the one before is stored. */
  ends?: readonly ProcessEnd[]
  failures?: readonly NewFailure[]
  deadLetters?: readonly NewDeadLetter[]
  /** Raise the attempts of a message row that stays. */
  attempted?: readonly { ref: MessageRef; attempts: number }[]
  /** Hashes that `payload` refers to, at any depth; `writeBlobs` stored them before. */
  blobs?: readonly string[]
}

/** Per row of the batch, in its order. `refused` says only that nothing was written: read back before judging (F3). */
export type CommitOutcome =
  | {
      kind: 'committed'
      at: number
      ords: readonly number[]
      /** Who got a row besides the messages: `down` or `exit` of the end that this commit carries, or a result that it
       *  waits for. Absent where the commit carries neither ends nor results. */
      told?: readonly ProcessId[]
    }
  | { kind: 'refused' }

export type Head = { process: Pid; seq: number; claim: Claim }

/** What a failed statement means for the committer (PROTOCOL C2). Implementations classify, the committer decides. */
export type StoreFailureKind =
  | 'rejected' // class 22, 23, 54: some row of the batch is at fault
  | 'contended' // deadlock, lock timeout, serialization: retry in halves
  | 'unavailable' // connection or server stopping: outcome unknown
  | 'full' // class 53 disk full or out of resources: nothing written, retry later
  | 'broken' // anything else: a bug

export class StoreFailure extends Error {
  override readonly name = 'StoreFailure'
  readonly kind: StoreFailureKind
  readonly sqlState: string | null
  constructor(kind: StoreFailureKind, message: string, options: { sqlState?: string | null; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.kind = kind
    this.sqlState = options.sqlState ?? null
  }
}

export type ClaimRequest = {
  id: ProcessId
  agent: string
  key: string
  kind: 'agent' | 'supervisor'
  parent: ProcessId | null
  /** Highest state version this code can run; a newer stored one is refused (V1). */
  stateVersion: number
  /** Make the row when it does not exist; `mail`: only where a message waits for it. */
  create: boolean | 'mail'
  /** Claim although it ended: re-creation, raises the incarnation. */
  recreate: boolean
  /**
   * Claim also what this very epoch holds: the answer to an earlier claim or release got lost. Only a node whose single
   * flight knows that the process does not run here may say so; the earlier claim is void then.
   */
  mine?: boolean
}

export type ProcessRecord = {
  pid: Pid
  id: ProcessId
  agent: string
  key: string
  kind: 'agent' | 'supervisor'
  parent: ProcessId | null
  incarnation: number
  stateVersion: number
  restarts: number
  desired: DesiredState
  diverged: boolean
  trapExit: boolean
  gone: boolean
  ended: boolean
  exit: string | null
  /** What its parked turn waits for: JSON text of shared/snapshot.ts `Wait`. Null while it is in memory. */
  wait: string | null
  /** Node id of the live owner; null when passive. */
  owner: number | null
  ownerEpoch: number | null
  createdAt: number
  /** The process of which it is a sandbox copy (E8); null for every other one. */
  sandbox: ProcessId | null
  /** Of what its turns derive; a rewind allocates one (E3). */
  branch: number
}

export type ClaimOutcome =
  | {
      kind: 'claimed'
      record: ProcessRecord
      claim: Claim
      seq: number
      /** The previous owner died. */
      recovered: boolean
    }
  | { kind: 'owned'; record: ProcessRecord }
  | { kind: 'absent' }
  | { kind: 'ended'; record: ProcessRecord }
  | { kind: 'unsupported'; record: ProcessRecord }

/** All that is needed to run a process, read in one consistent view (V4). */
export type Loaded = {
  process: Pid
  snapshot: { seq: number; stateVersion: number; value: string } | null
  /** Rows after the snapshot, ascending. */
  journal: readonly JournalRow[]
  /** A large value of the above does not exist any more: nothing can be made of the process. */
  missing?: MissingBlob
  mailbox: readonly MessageRow[]
  timers: readonly TimerRow[]
  /** `ephemeral`: the peer is in no store, and gone with the node it lived on. */
  links: readonly {
    kind: 'link' | 'monitor' | 'monitored'
    peer: ProcessId
    ref: string | null
    ephemeral: boolean
  }[]
  names: readonly string[]
}

/** Gives a process up. `open`: a turn is open, so recovery takes the process although no message waits for it.
 *  `park`: a turn is open and waits; recovery leaves it alone until something comes that the turn can take. */
export type Release = { process: Pid; claim: Claim; open?: boolean; park?: Park }

/** Timer of a parked process, and operation of the message it becomes: no name of a user's timer begins like it. */
export const WAKE = '$wake'

/** `to` of a signal that is for whichever life its receiver is in (P9). Lives count from 1. */
export const ANY_LIFE = 0

/** Ms for which a message may still wake a parked turn although its `ord` says that it was offered: positions are drawn
 *  before commits are seen. Far above the time of a statement. */
export const JUDGED_MS = 10_000

export type Park = {
  /** What is waited for, for people: JSON text of shared/snapshot.ts `Wait`. */
  wait: string
  /** Operations of messages the turn can take; `*` is any. Replies, exit signals and `WAKE` always wake it. */
  takes: readonly string[]
  /** Messages up to this `ord` were offered to the turn, and it did not take them. */
  judged: number
  /** Named `WAKE`; null where nothing that is waited for has a deadline. */
  timer: NewTimer | null
}

/** `blobs` as in a commit. */
export type SnapshotWrite = {
  process: Pid
  claim: Claim
  seq: number
  stateVersion: number
  value: string
  blobs?: readonly string[]
}

/** Ms without a touch after which a blob that nothing refers to is collected (V4). */
export const BLOB_UNTOUCHED_MS = 24 * 60 * 60 * 1_000
/** Ms after its touch within which a row may begin to refer to a blob: half of the above, so that no collection can
 *  come between the touch and the row, however long the row was held up. */
export const BLOB_FRESH_MS = BLOB_UNTOUCHED_MS / 2

/** `after` is the cursor of the step before, null for the first one; `limit` is how many blobs are looked at. */
export type CollectStep = { untouchedMs: number; after: string | null; limit: number }
/** `cursor` is null when the last blob was looked at. */
export type Collected = { collected: number; cursor: string | null }

export type RequestRow = {
  scope: string
  key: string
  argsHash: string
  process: ProcessId
  messageId: string
  status: 'pending' | 'done' | 'failed'
  result: string | null
}

/** Who hears the result of a request: a process, or a node for callers outside of any (`node/...`). */
export type ResultWait = { scope: string; key: string; target: ProcessId; call: string }

export type NewRequest = {
  scope: string
  key: string
  argsHash: string
  expiresAt: number | null
  message: NewMessage
  /** Stored with the request, behind its message, or with the one that exists and has the same arguments. */
  signal?: NewMessage
}

export type NodeRow = {
  id: number
  epoch: number
  name: string
  host: string
  bootId: string
  osPid: number
  osStartedAt: string
  startedAt: number
  leaseUntil: number
  capabilities: Record<string, number>
  stoppedAt: number | null
}

export type NodeStart = Pick<NodeRow, 'name' | 'host' | 'bootId' | 'osPid' | 'osStartedAt' | 'capabilities'> & {
  leaseMs: number
}

/** The durable side of turns: everything the journal needs. Every method may throw StoreFailure. */
export interface Store extends StreamStore, TransactStore {
  /** One statement for the whole batch (C1). Outcomes in the order of `batch`. */
  commit(node: NodeIdentity, batch: readonly Commit[]): Promise<CommitOutcome[]>
  /** Reads heads back after an unknown or refused commit (F3); absent processes are left out. */
  heads(processes: readonly Pid[]): Promise<Head[]>
  /** True while the node's epoch is current in the store. */
  epochAlive(node: NodeIdentity): Promise<boolean>

  claim(node: NodeIdentity, requests: readonly ClaimRequest[]): Promise<ClaimOutcome[]>
  load(node: NodeIdentity, processes: readonly Pid[]): Promise<Loaded[]>
  /** Gives processes up (passivation, drain); a foreign claim is left alone. Returns the released ones. */
  release(node: NodeIdentity, claims: readonly Release[]): Promise<Pid[]>
  snapshot(node: NodeIdentity, writes: readonly SnapshotWrite[]): Promise<void>
  /** Stores large values, or touches those that are there (V4). Before whatever refers to them. */
  writeBlobs(node: NodeIdentity, blobs: readonly NewBlob[]): Promise<void>
  /** One step over the blobs in the order of their hashes: takes away what nothing refers to and nobody touched. */
  collectBlobs(node: NodeIdentity, step: CollectStep): Promise<Collected>
  /** One step over the processes: deletes journal rows that no activation and no kept version needs. Null while another
   *  node does it. */
  prune(node: NodeIdentity, step: PruneStep): Promise<Pruned | null>
  /** Deletes records of what is over, at most `limit` of each kind (shared/retention.ts). */
  sweep(node: NodeIdentity, limit: number): Promise<Swept>
  /** Stores a process that was exported, owned by nobody. */
  importProcess(node: NodeIdentity, body: ProcessBody, place: ImportPlace): Promise<ImportOutcome>
  /** Takes away all rows of a sandbox copy that no live node owns, audit excepted (E12). */
  discard(node: NodeIdentity, id: ProcessId): Promise<DiscardOutcome>

  /** Messages from outside: rows inserted without a sender's turn, all or none. Returns `ord` per message. */
  enqueue(node: NodeIdentity, messages: readonly NewMessage[]): Promise<number[]>
  /** Mailbox rows of one target in order, after `afterOrd`. */
  messages(namespace: string, target: ProcessId, afterOrd: number, limit: number): Promise<MessageRow[]>
  /** Stored calls of processes in the mailboxes of these targets, oldest first (M7). */
  waitEdges(namespace: string, targets: readonly ProcessId[], limit: number): Promise<WaitEdge[]>
  /** Takes and deletes rows addressed to a pseudo target (`node/...`, `client/...`). */
  take(node: NodeIdentity, target: ProcessId, limit: number): Promise<MessageRow[]>
  /** Inserts the request and its message together, or returns the row that exists. */
  request(
    node: NodeIdentity,
    request: NewRequest,
  ): Promise<{ row: RequestRow; created: boolean; ord: number; signalOrd: number }>
  requestRow(namespace: string, scope: string, key: string): Promise<RequestRow | null>
  /** The request as it stands. `kept`: it is pending, and the commit that stores its result puts one reply to `call`
   *  into the mailbox of `target`, however often this was asked (D45). */
  awaitResult(node: NodeIdentity, wait: ResultWait): Promise<{ row: RequestRow | null; kept: boolean }>

  /**
   * Ties of these processes whose other end is over: it ended at the same time as the tie was made, or does not exist.
   * Each becomes a `down` or `exit` row with `noproc`. Returns who got one. Asked after each commit that makes ties or
   * ends a process: whichever of two such commits comes second sees both.
   */
  sweepTies(node: NodeIdentity, processes: readonly ProcessId[]): Promise<ProcessId[]>
  /** Who holds the name; null when nobody does. */
  whereis(namespace: string, name: string): Promise<ProcessId | null>

  /** Fires everything due: timers become mailbox rows in one statement (V5). */
  fireTimers(node: NodeIdentity, limit: number): Promise<MessageRow[]>
  /** Epoch ms of the next due timer, by index; null when none is armed. */
  nextTimer(namespace: string): Promise<number | null>
  /** Targets with pending messages, open turns or a dead owner, that no live node owns (continuous recovery). */
  orphans(node: NodeIdentity, limit: number): Promise<{ id: ProcessId; agent: string; key: string }[]>

  registerNode(namespace: string, start: NodeStart): Promise<NodeIdentity>
  /** Compare-and-set on the epoch by the store's clock; false when the epoch was taken away. */
  renewLease(node: NodeIdentity, leaseMs: number): Promise<boolean>
  /** Live and dead nodes whose rows still matter. */
  nodes(namespace: string): Promise<NodeRow[]>
  /** Declares a node dead: its epoch can commit nothing any more. False when it renewed meanwhile. */
  buryNode(
    node: NodeIdentity,
    victim: { id: number; epoch: number },
    proof: 'lease' | 'host' | 'session',
  ): Promise<boolean>
  /** Clean end: releases everything and stops the epoch. */
  leave(node: NodeIdentity): Promise<void>

  setDesired(node: NodeIdentity, id: ProcessId, desired: DesiredState): Promise<boolean>
  /** Milliseconds to add to this machine's clock to get the store's. */
  clockOffset(): Promise<number>
  close(): Promise<void>
}

/** Both sides over one database, plus what ends them. */
export type StoreHandle = { store: Store; archive: Archive; close(): Promise<void> }
