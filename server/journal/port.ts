/**
 * What the durable layer is handed by the runtime. It knows no thread, socket or environment.
 */
import type { Emit, EventKind } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { BlackBox } from '../../shared/snapshot.ts'
import type { Value } from '../../shared/value.ts'
import type { CrashPoints } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { Call } from '../definition/call.ts'
import type { Compute } from '../definition/compute.ts'
import type { Inference } from '../definition/model.ts'
import type { Clock, Random } from '../kernel/clock-port.ts'
import type { Envelope, Lineage } from '../kernel/envelope.ts'
import type { AgentCode } from '../kernel/ephemeral.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import type { Claim, MessageRow, NodeIdentity, Pid, ProcessRecord, Store } from '../store/store.ts'
import type { Committer } from './committer.ts'
import type { DurableRecord } from './record.ts'
import type { StreamWriter } from './stream-writer.ts'
import type { Suspects } from './suspicion.ts'

export type AgentEntry = { readonly definition: AnyAgent; readonly code: AgentCode }

/** Spans of a turn's parts; a no-op without OpenTelemetry. */
export interface Tracing {
  /** Runs a step's function inside a span of its own. Replayed steps never get here. */
  step<T>(process: Process, name: string, fn: () => Promise<T>): Promise<T>
  /** W3C traceparent of the active span; null without tracing. */
  traceparent(): string | null
}

export type DurablePorts = {
  readonly namespace: string
  readonly store: Store
  readonly kernel: Kernel
  readonly clock: Clock
  readonly random: Random
  readonly emit: Emit
  readonly crash: CrashPoints
  readonly tracing: Tracing
  readonly committer: Committer
  readonly suspects: Suspects
  readonly streams: StreamWriter
  readonly compute: Compute & Inference
  readonly codeVersion: string
  watching(kind: EventKind): boolean
  node(): NodeIdentity
  /** Milliseconds to add to this machine's clock to get the store's (V5). */
  clockOffset(): number
  /** Null while this node's lease holds; else resolves when it does again, or when its epoch is over (N9). */
  leaseHeld(): Promise<void> | null
  agent(name: string): AgentEntry | null
  /** A row is stored: hand it to whoever it is for, or make somebody fetch it. Hints may be lost. */
  deliver(row: MessageRow): void
  /** Reads the mailbox of a process and posts what it does not have. */
  reread(id: ProcessId): void
  /** Another node owns the process: the message goes there, through the store. */
  forward(record: ProcessRecord, envelope: Envelope): void
  /** Tells the node that owns the process to look at its mailbox. */
  hintOwner(record: ProcessRecord): void
  /** Gives a claim back that no record was made for. */
  giveUp(id: ProcessId, process: Pid, claim: Claim): Promise<void>
  /** Gives the claim back; hints for the process then go through activation again. */
  release(record: DurableRecord): Promise<void>
  /** It is in memory again, its open turn about to be replayed. */
  revived(record: DurableRecord): void
  /** Resolves once a claim that is being given back is gone. */
  released(id: ProcessId): Promise<void>
  /** The last events of a process, for its black box. */
  lastEvents(id: ProcessId): BlackBox['events']
  /** Starts a process in its pool; null when it cannot run here. */
  start(id: ProcessId, agent: string, key: string): Process | null
  /** Originals of the sandbox copies among the processes in memory, also once they gave their record back. */
  readonly copies: WeakMap<Process, ProcessId>
  /** It was started for rows that wait, by nobody who asked for it here. */
  isHinted(process: Process): boolean
  /** A timer was armed; `due` in epoch ms of the store. */
  timerArmed(due: number): void
  /** Call to something that is not durable: outcome in memory only. */
  callInMemory(from: Process, call: Call<unknown>, timeoutMs: number, chain: readonly ProcessId[]): Promise<Value>
  /** Starts an operation under a key; whether this call created it (M4). */
  begin(call: Call<unknown>, options: { idempotencyKey: string }, lineage: Lineage): Promise<boolean>
  /** Result of a started operation. */
  started(id: ProcessId, key: string, signal: AbortSignal): Promise<Value>
  /** Asks for its end; false when it was over before. */
  endStarted(id: ProcessId, key: string, by: { reason: string | undefined; from: ProcessId }): Promise<boolean>
  /** Committed value of a query, from wherever the process is. */
  query(id: ProcessId, op: string, args: Value): Promise<Value>
  /** Looks for ties of the process whose end was missed. */
  sweep(id: ProcessId): void
  /** Who holds the name, here or anywhere; null when nobody does. */
  whereis(name: string): Promise<ProcessId | null>
  /** True once the node gives its processes up: ends are moves, not exits. */
  draining(): boolean
  /** Background work failed; where it is work of the store it will be tried again. */
  failed(what: string, error: unknown): void
  /** Unique, sortable message ids. */
  newId(): string
}
