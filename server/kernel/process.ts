/**
 * A process: one object per id, which lives through all incarnations of the id, so rows of lists stay stable.
 *
 * - K1: an incarnation is born by `Kernel.spawn` or a supervisor's restart and ends exactly once, with one reason.
 * - K2: at most one turn is open; `epoch` rises at each death, so whatever an earlier incarnation still runs finds
 *   its epoch stale and is ignored.
 * - Small on purpose: everything most processes never have hangs in `ties`, allocated at first use; nothing here is
 *   a closure.
 *
 * What runs inside is a `Behaviour`; it is declared here because the two types are one thing seen from both sides.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { ProcessKind, ProcessStatus, SupervisorDetail, Wait } from '../../shared/snapshot.ts'
import type { Envelope } from './envelope.ts'
import type { ExitReason } from './exit.ts'
import { Mailbox } from './mailbox.ts'
import type { Stats } from './stats.ts'
import { Ties } from './tie.ts'
import type { TreeFacts, TreeHistory } from './tree-change.ts'

/** How a crash is charged (PROTOCOL P1). */
export type CrashVerdict = {
  /** `intensity`: counts for the supervisor's limit. `message`: the message pays, only the strategy applies. */
  charge: 'intensity' | 'message'
  /** Back-off before the restart when the message pays; the supervisor's own back-off holds otherwise. */
  delayMs: number
  /** Whether the message in hand goes back to the front with one attempt more. */
  redeliver: boolean
}

/** `ignore`: there is nothing to run; the start succeeds without a process (OTP `ignore`). */
export type InitResult = void | 'ignore'

/** What runs in a process. One object serves all processes of an agent; state lives in `state` and `slot`. */
export interface Behaviour {
  /** Whether mailbox and state outlive an incarnation. */
  readonly durable: boolean
  /** Init only makes a value: it starts nothing that would have to be found under its process, so it runs without a
   *  context of its own. Entering one for the first time costs as much as the rest of a birth. */
  readonly plainInit?: boolean
  /** Start acknowledgement: the start of a child is over when this has finished. Throwing fails the start. */
  init(process: Process): InitResult | Promise<InitResult>
  /** One message; settles when the turn is over; throwing crashes the process. */
  turn(process: Process, envelope: Envelope): void | Promise<void>
  /** Graceful stop only, bounded by the shutdown time of the child; never on kill or crash. */
  terminate?(process: Process, reason: ExitReason): void | Promise<void>
  /** After death by whatever cause, before links, monitors and supervisor are told; a promise is awaited. */
  exited?(process: Process, reason: ExitReason): void | Promise<void>
  /** Judges a crash; without it a crash is charged to intensity and the message in hand is lost. */
  crashed?(process: Process, error: unknown, envelope: Envelope | null): CrashVerdict
}

/** What a supervisor or pool offers to the kernel for its own process. */
export interface Overseer {
  /** A child died by itself; `verdict` is null unless it crashed. Must not run user code. */
  childExited(child: Process, reason: ExitReason, verdict: CrashVerdict | null): void
  /** Whether that exit will be followed by a new incarnation, as far as is known now. */
  wouldRestart(child: Process, reason: ExitReason): boolean
  /** Whether that exit, which the child came to by itself, is the last one as far as this overseer is concerned. */
  endsForGood(child: Process, reason: ExitReason): boolean
  /** A child left memory without an end (Kernel.passivate). */
  passivated(child: Process): void
  /** Works off what is queued; called by the run queue only. */
  pump(): void
  /** Every child that has a process object, in start order. */
  processes(): Iterable<Process>
  readonly childCount: number
  readonly strategy: string
  detail(now: number): SupervisorDetail
  /** The tree below it as it is now, for whoever stores it (S53). */
  facts(): TreeFacts
  /** Its place in the store was taken over from a node that died: that history counts here too (S56). */
  inherit(history: TreeHistory): void
  /** It gave up on the node whose place was taken over: it gives up here. */
  giveUp(child: string): void
}

export class Process {
  readonly id: ProcessId
  readonly key: string | null
  readonly agent: string | null
  readonly kind: ProcessKind
  readonly hidden: boolean
  readonly stats: Stats
  readonly mailboxLimit: number
  parent: Process | null
  behaviour: Behaviour
  incarnation = 0
  status: ProcessStatus = 'starting'
  /** From the beginning of init until the death of the incarnation. */
  alive = false
  /** The last incarnation is dead, stored and announced: the id may be born again. */
  gone = false
  /** Value of an ephemeral agent; the durable layer keeps its own in `slot`. */
  state: unknown = undefined
  /** Context object of an ephemeral incarnation, made at its first use. */
  ctx: unknown = undefined
  mailbox: Mailbox | null = null
  wait: Wait | null = null
  ties: Ties<Process> | null = null
  trapExit = false
  suspended = false
  /** Another node runs it: what is sent to it here is the runtime's business (ports.missing). */
  elsewhere = false
  /** Reason of the last death; null while alive. */
  exit: ExitReason | null = null
  /** The death before the present incarnation. */
  lastExit: { reason: ExitReason; at: number } | null = null
  /** The message in hand. */
  current: Envelope | null = null
  supervisor: Overseer | null = null
  /** Owned by the durable layer. */
  slot: unknown = null

  /** Rises at each death (K2). */
  epoch = 0
  /** A turn, init or terminate is open. */
  busy = false
  /** Waits in the run queue. */
  queued = false

  constructor(spec: ProcessSpec, parent: Process | null, stats: Stats) {
    this.id = spec.id
    this.key = spec.key
    this.agent = spec.agent
    this.kind = spec.kind
    this.behaviour = spec.behaviour
    this.hidden = spec.hidden ?? false
    this.mailboxLimit = spec.mailboxLimit ?? MAILBOX_LIMIT
    this.parent = parent
    this.stats = stats
  }

  get durable(): boolean {
    return this.behaviour.durable
  }

  get mailboxLength(): number {
    return this.mailbox === null ? 0 : this.mailbox.length
  }

  /** The mailbox, made on first use. */
  box(): Mailbox {
    this.mailbox ??= new Mailbox()
    return this.mailbox
  }

  /** The ties, made on first use. */
  tie(): Ties<Process> {
    this.ties ??= new Ties()
    return this.ties
  }

  get links(): ReadonlySet<Process> {
    return this.ties?.links ?? NONE
  }
}

/** What a process is, apart from its place in the tree. */
export type ProcessSpec = {
  id: ProcessId
  key: string | null
  agent: string | null
  kind: ProcessKind
  behaviour: Behaviour
  mailboxLimit?: number
  hidden?: boolean
}

/** Messages. Deep enough for a burst, shallow enough that a stuck agent is noticed before memory is. */
export const MAILBOX_LIMIT = 10_000

const NONE: ReadonlySet<Process> = new Set()
