/**
 * The tables of the memory store: what a database server is to the Postgres store. Several handles, each a node of its
 * own, may share one.
 *
 * - Every operation on it is synchronous and checks before it writes, so each is one transaction by construction.
 * - Rows go in and out as copies; nobody outside holds a row.
 */
import type { AuditItem, DeadLetter, FailureRecord } from '../../../shared/snapshot.ts'
import type { Clock } from '../../clock.ts'
import type {
  Claim,
  JournalRow,
  MessageRow,
  NewMessage,
  NodeIdentity,
  NodeRow,
  Pid,
  ProcessRecord,
  RequestRow,
  TimerRow,
} from '../store.ts'
import type { StoredStream } from './stream.ts'

export type StoredProcess = ProcessRecord & {
  readonly namespace: string
  open: boolean
  takes: readonly string[] | null
  judged: number | null
}
export type StoredNode = NodeRow & { readonly namespace: string; session: boolean }
export type StoredTie = {
  readonly namespace: string
  readonly process: string
  readonly peer: string
  readonly kind: 'link' | 'monitor' | 'child'
  readonly ref: string
  /** Lives of both ends when the tie was made; null where the end is in no store. */
  readonly incarnation: number | null
  readonly peerIncarnation: number | null
}
export type StoredSnapshot = { seq: number; claim: Claim; stateVersion: number; value: string; at: number }
/** `waiters`: who hears of the result, as `[target, call]`. */
export type StoredRequest = RequestRow & { expiresAt: number | null; at: number; waiters: [string, string][] }
export type StoredChore = { holder: { id: number; epoch: number }; until: number; cursor: Pid }
export type StoredRef = { readonly seq: number; readonly snapshot: boolean; readonly hash: string }
export type InNamespace<T> = T & { readonly namespace: string }
export type StoredDeadLetter = Omit<DeadLetter, 'args'> & { readonly namespace: string; readonly args: string }

/** The claim of a process that nobody holds; the sequence begins at 1. */
export const NO_CLAIM = 0

/** Namespace and name as one key; neither may hold the separator. */
export const keyOf = (...parts: readonly string[]): string => parts.join('\u0000')

export class MemoryDatabase {
  readonly clock: Clock
  readonly nodes = new Map<number, StoredNode>()
  readonly processes = new Map<Pid, StoredProcess>()
  readonly pids = new Map<string, Pid>()
  readonly heads = new Map<Pid, { seq: number; claim: Claim }>()
  readonly journal = new Map<Pid, JournalRow[]>()
  readonly snapshots = new Map<Pid, StoredSnapshot>()
  /** Snapshots of the past that stay, ascending. */
  readonly waypoints = new Map<Pid, StoredSnapshot[]>()
  readonly chores = new Map<string, StoredChore>()
  /** Per namespace and target, by `ord`, ascending. */
  readonly mailbox = new Map<string, Map<number, MessageRow>>()
  readonly requests = new Map<string, StoredRequest>()
  /** Per process, by name. */
  readonly timers = new Map<Pid, Map<string, InNamespace<TimerRow>>>()
  readonly ties = new Map<string, StoredTie>()
  readonly names = new Map<string, string>()
  readonly failures = new Map<string, InNamespace<FailureRecord>>()
  readonly deadLetters = new Map<string, StoredDeadLetter>()
  readonly audit: InNamespace<AuditItem>[] = []
  readonly blobs = new Map<string, { readonly value: string; touchedAt: number }>()
  /** Per process: which of its rows refer to which blob. */
  readonly blobRefs = new Map<Pid, StoredRef[]>()
  readonly streams = new Map<number, StoredStream>()
  readonly streamPaths = new Map<string, number>()
  /** The verb on streams that runs now; the next one follows it. */
  streamVerb: Promise<unknown> = Promise.resolve()
  /** Control connections that are open, by node. */
  readonly sessions = new Map<number, { epoch: number; onHint(targets: readonly string[]): void }>()
  #pids = 0
  #ords = 0
  #claims = 0
  #epochs = 0
  #nodes = 0
  #streams = 0
  #audits = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  nextPid = (): Pid => ++this.#pids
  nextOrd = (): number => ++this.#ords

  get lastOrd(): number {
    return this.#ords
  }
  nextClaim = (): Claim => ++this.#claims
  nextEpoch = (): number => ++this.#epochs
  nextNode = (): number => ++this.#nodes
  nextStream = (): number => ++this.#streams
  nextAudit = (): number => ++this.#audits

  /** F2: the epoch is current. */
  alive(node: Pick<NodeIdentity, 'id' | 'epoch' | 'namespace'>): boolean {
    const row = this.nodes.get(node.id)
    return row !== undefined && row.epoch === node.epoch && row.namespace === node.namespace
  }

  ownerAlive(process: StoredProcess): boolean {
    const { owner: id, ownerEpoch: epoch, namespace } = process
    return id !== null && epoch !== null && this.alive({ id, epoch, namespace })
  }

  find(namespace: string, id: string): StoredProcess | undefined {
    const pid = this.pids.get(keyOf(namespace, id))
    return pid === undefined ? undefined : this.processes.get(pid)
  }

  insertProcess(row: Omit<StoredProcess, 'pid' | 'createdAt'>): StoredProcess {
    const stored = { ...row, pid: this.nextPid(), createdAt: this.clock.now() }
    this.processes.set(stored.pid, stored)
    this.pids.set(keyOf(row.namespace, row.id), stored.pid)
    return stored
  }

  box(namespace: string, target: string): Map<number, MessageRow> | undefined {
    return this.mailbox.get(keyOf(namespace, target))
  }

  deliver(namespace: string, message: NewMessage): MessageRow {
    const row: MessageRow = { ...message, ord: this.nextOrd(), at: this.clock.now(), attempts: 0, recoveries: 0 }
    const key = keyOf(namespace, message.target)
    const box = this.mailbox.get(key)
    if (box === undefined) this.mailbox.set(key, new Map([[row.ord, row]]))
    else box.set(row.ord, row)
    return row
  }

  remove(namespace: string, target: string, ord: number): boolean {
    const key = keyOf(namespace, target)
    const box = this.mailbox.get(key)
    if (box?.delete(ord) !== true) return false
    if (box.size === 0) this.mailbox.delete(key)
    return true
  }
}
