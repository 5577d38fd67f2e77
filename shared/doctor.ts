/**
 * What the doctor says: work that does not go on by itself, each with the reason and with what to do.
 * `Symptoms` are facts read from the tables; `Finding` is what they mean (server/host/doctor.ts).
 */
import type { ProcessId } from './id.ts'
import type { DesiredState, Wait } from './snapshot.ts'

/** Ms after which work that nobody took counts as unowned: recovery looks every second. */
export const UNOWNED_MS = 10_000
/** Ms a timer may be late before it counts as overdue: each node looks every two seconds. */
export const OVERDUE_MS = 10_000
/** Ms in one wait after which it is worth a look: an agent counts as stuck. */
export const WAITING_MS = 60_000
/** Ms of the past in which failures of one process are counted, and how many make a loop. */
export const LOOP_MS = 10 * 60 * 1_000
export const LOOP_FAILURES = 3
/** Messages of a process and claims of a node are counted up to here. */
export const COUNT_MAX = 1_000

export const SEVERITY_RANK = { critical: 0, warning: 1, notice: 2 } as const

/** The oldest message of a process, older than UNOWNED_MS, with what is stored of its receiver. */
export type WaitingMail = {
  process: ProcessId
  op: string
  at: number
  deadline: number | null
  attempts: number
  /** Messages that wait, counted up to COUNT_MAX. */
  pending: number
  /** Name of the live node that owns it; null when nobody does. */
  owner: string | null
  desired: DesiredState
  diverged: boolean
  ended: boolean
  stateVersion: number
  /** What its parked turn waits for, if none of the messages wakes it. */
  parked: Wait | null
}

export type Symptoms = {
  /** By the clock of the store. */
  now: number
  mail: WaitingMail[]
  /** Given up in the middle of a turn, or spawned and never begun; nobody owns it. `at` is its last row. */
  open: { process: ProcessId; at: number; stateVersion: number }[]
  /** Diverged, suspended or stopped, with the number of messages that wait. */
  held: { process: ProcessId; desired: DesiredState; diverged: boolean; open: boolean; pending: number }[]
  timers: { process: ProcessId; name: string; due: number }[]
  /** Claims that dead nodes left, by node; counted up to COUNT_MAX. */
  claims: { node: number; example: ProcessId; processes: number }[]
  loops: { process: ProcessId; failures: number; since: number; error: string }[]
  blobs: { process: ProcessId; seq: number; hash: string }[]
  /** Checks that were cut short, with the reason: what they would have found is not known. `minor`: only work
   *  that somebody has in hand is missing. */
  cut: { check: string; reason: string; minor?: true }[]
}

export type DoctorNode = {
  name: string
  state: 'live' | 'dead' | 'stopped'
  leaseUntil: number
  /** Agent and the highest state version its code knows; empty means every agent. */
  capabilities: Record<string, number>
}

export type FindingKind =
  | 'no-node'
  | 'unowned'
  | 'overdue'
  | 'stale'
  | 'deadline'
  | 'diverged'
  | 'suspended'
  | 'stopped'
  | 'waiting'
  | 'loop'
  | 'dead-node'
  | 'blob-missing'
  | 'dead-letter'
  | 'gave-up'
  | 'near-limit'
  | 'mailbox'
  | 'store'
  | 'not-looked'

export type Finding = {
  kind: FindingKind
  severity: keyof typeof SEVERITY_RANK
  process: ProcessId | null
  /** Epoch ms; null where it is not known. */
  since: number | null
  why: string
  /** A command or a deed. */
  todo: string
}

/** `ok`: nothing is worse than a notice. */
export type Diagnosis = { at: number; ok: boolean; findings: Finding[] }
