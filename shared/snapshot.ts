/**
 * What a reader sees of a process: plain data, shared by HTTP, feed, CLI, UI and tests.
 * Times are epoch milliseconds; durations end in Ms; a field that cannot be known is null, never guessed.
 */
import type { Divergence } from './divergence.ts'
import type { ErrorData } from './error.ts'
import type { ProcessId } from './id.ts'

export type ProcessKind = 'agent' | 'supervisor' | 'task' | 'service'

export const PROCESS_STATUSES = [
  'starting',
  'idle',
  'running',
  'waiting',
  'suspended',
  'passive',
  'restarting',
  'diverged',
  'exited',
] as const
export type ProcessStatus = (typeof PROCESS_STATUSES)[number]

/** What an operator may want a process to be; survives every restart (PROTOCOL F7). */
export type DesiredState = 'running' | 'suspended' | 'stopped'

export type WaitKind =
  | 'call' // reply of another process
  | 'step' // a recorded side effect is running
  | 'retry' // back-off before the next attempt; `attempt` counts
  | 'commit' // the store has not acknowledged yet
  | 'task' // a task's result
  | 'thread' // a task waits for a thread of the compute pool
  | 'compute' // a thread runs its code
  | 'user' // user code awaits something the runtime does not know
  | 'start' // children or activation
  | 'restart' // back-off before a restart
  | 'sleep'
  | 'receive' // a message the turn takes; `target` is the pattern
  | 'sandbox' // an operator's answer instead of what `target` would have done; `progress` is its argument

export type Wait = {
  kind: WaitKind
  /** What is waited for: a process id with op, a step name, ... */
  target: string | null
  since: number
  deadline: number | null
  attempt: number
  /** How many attempts there are in all, of a step that was tried before. */
  attempts?: number
  /** What the latest heartbeat of a step reported, as text, cut to what a line shows. Absent when nothing was. */
  progress?: string
}

/** Something an open turn waits for and an operator can give (`answer`). */
export type Answerable = {
  /** Of the request. */
  key: string
  /** `sandbox`: what a copy would have done. `step`: the outcome of a step that somebody outside completes. */
  kind: 'sandbox' | 'step'
  what: string
  /** Its argument as text, where one is known. */
  args: string | null
  since: number
}

/** A row of lists. Small on purpose: 60 of these are a viewport. */
export type ProcessRow = {
  id: ProcessId
  kind: ProcessKind
  agent: string | null
  parent: ProcessId | null
  status: ProcessStatus
  incarnation: number
  mailbox: number
  turns: number
  /** Ms the thread spent in its handlers up to their first `await`; what they do after one is not attributed. */
  busyMs: number
  restarts: number
  wait: Wait | null
  stateVersion: number
  durable: boolean
  /** Levels below the root of the tree; 0 is the root. */
  depth: number
  /** Direct children; 0 for leaves. */
  children: number
  /** Failures since the process row exists in memory. */
  failures: number
  /** Since when the current status holds. */
  since: number
  strategy: string | null
  /** Node that owns the process; null when nobody does. */
  node: string | null
  hidden: boolean
  /** Of which process it is a sandbox copy; absent for every other one. */
  sandbox?: ProcessId
}

/** Fields of a row that a list can be ordered by. */
export const PROCESS_SORTS = ['id', 'status', 'mailbox', 'turns', 'busyMs', 'restarts', 'since', 'failures'] as const
export type ProcessSort = (typeof PROCESS_SORTS)[number]

export type ExitSummary = { kind: string; text: string }

export type ProcessDetail = ProcessRow & {
  key: string | null
  names: string[]
  links: ProcessId[]
  monitors: ProcessId[]
  monitoredBy: ProcessId[]
  trapExit: boolean
  desired: DesiredState
  startedAt: number
  /** `at` is null where the time was not kept: of a stored process that went on after it. */
  lastExit: (ExitSummary & { at: number | null }) | null
  /** Supervisors only. */
  supervisor: SupervisorDetail | null
  ops: { name: string; kind: 'handler' | 'query' }[]
  mailboxLimit: number
  placement: 'shared' | 'isolated'
  stateBytes: number | null
  /** The message in hand, if a turn is open. */
  current: { op: string; from: string | null; since: number; attempt: number; messageId: string | null } | null
  /** Diverged processes only. */
  divergence?: DivergenceView
  /** Oldest first; absent when there is nothing to answer. */
  answerable?: Answerable[]
}

/** `text`: the comparison in lines for people. */
export type DivergenceView = Divergence & { text: string[] }

export type SupervisorDetail = {
  strategy: string
  intensity: number
  periodMs: number
  /** Restarts inside the window now. */
  recentRestarts: number
  gaveUp: boolean
  children: { id: string; process: ProcessId | null; restart: string; status: ProcessStatus | 'undefined' }[]
}

export type MailboxItem = {
  /** Null while the message has no row (a call not yet accepted). */
  messageId: string | null
  position: number
  kind: 'call' | 'send' | 'reply' | 'signal' | 'timer' | 'info'
  op: string
  from: string | null
  at: number
  bytes: number | null
  attempts: number
  /** Encoded body, capped; absent where redacted. */
  preview: string | null
}

export type JournalItem = {
  seq: number
  at: number
  kind: string
  /** Short sentence for people. */
  summary: string
  turns: string[]
  cause: string | null
  root: string | null
  traceparent: string | null
  actor: string | null
  stateVersion: number
  bytes: number
  /** Decoded payload: entries and patches. */
  payload: unknown
}

export type FailureRecord = {
  id: string
  process: ProcessId
  incarnation: number
  at: number
  class: string
  error: ErrorData
  attempt: number
  messageId: string | null
  op: string | null
  /** What the runtime decided: retried, restarted, dead-lettered, stopped ... */
  decision: string
  /** Black box: last events, mailbox summary, open turn. */
  box: BlackBox
}

export type BlackBox = {
  events: { at: number; text: string }[]
  mailbox: { length: number; heads: string[] }
  wait: Wait | null
  status: ProcessStatus
  turn: { id: string | null; op: string; since: number } | null
}

export type DeadLetter = {
  id: string
  process: ProcessId
  messageId: string
  op: string
  args: unknown
  from: string | null
  at: number
  reason: string
  failureId: string | null
  redeliveredAt: number | null
}

export type AuditItem = {
  id: string
  at: number
  actor: string
  verb: string
  target: string
  reason: string | null
  outcome: string
  detail: unknown
}

export type StateSnapshot = { version: number; value: unknown; seq: number | null; at: number | null }

/** One hold of a thread by code of one process; `vivarium/runtime` for code of none. */
export type ThreadBlock = { id: ProcessId; op: string | null; durationMs: number; at: number }

/** Vital signs of one node; every number is measured, none estimated. */
export type Vitals = {
  at: number
  node: string
  uptimeMs: number
  processes: Record<ProcessStatus, number>
  total: number
  turns: number
  turnsPerSecond: number
  commitsPerSecond: number
  commitRowsPerBatch: number
  commitLatencyMs: number
  mailbox: number
  restarts: number
  failures: number
  deadLetters: number
  eventLoopDelayP99Ms: number
  cpuPercent: number
  /** The thread of the agents: the part of the time since the last look in which it worked, 0 to 1, what garbage
   *  collection took of that; and since the start who held it for longer than the watchdog lets pass. */
  thread: {
    utilisation: number
    gcMs: number
    gcMaxMs: number
    blocks: number
    blockedMs: number
    longest: ThreadBlock | null
  }
  rssBytes: number
  heapBytes: number
  store: 'up' | 'down'
  /** The observer's own cost. */
  feed: { viewers: number; bytesPerSecond: number; dropped: number; cpuPercent: number }
}

/** A reason why a person should look. Sorted by severity, oldest first. */
export type Need = {
  key: string
  severity: 'critical' | 'warning' | 'notice'
  kind:
    | 'gave-up'
    | 'diverged'
    | 'dead-letter'
    | 'crash-loop'
    | 'stuck'
    | 'mailbox'
    | 'store'
    | 'near-limit'
    | 'suspended'
    | 'thread'
  process: ProcessId | null
  since: number
  text: string
}

/** What an action would do, before it is done. */
export type BlastRadius = {
  verb: string
  target: ProcessId
  incarnation: number
  /** Who restarts, stops or is cancelled with it, or is waited for, and why. */
  affected: {
    id: ProcessId
    effect: 'restarts' | 'stops' | 'redelivers' | 'cancels' | 'waits' | 'unaffected'
    why: string
  }[]
  message: string
  queue: string
  callers: string[]
  budget: string | null
}
