/**
 * Failures as records: the class by which supervision and metrics tell them apart, and the black box that is kept.
 */
import { type ErrorData, errorData } from '../../shared/error.ts'
import type { BlackBox, ProcessStatus } from '../../shared/snapshot.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { ExitReason } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import type { NewFailure } from '../store/store.ts'
import { plain } from './message.ts'

export type FailureClass =
  | 'RateLimited'
  | 'ProviderUnavailable'
  | 'InvalidOutput'
  | 'Timeout'
  | 'ToolFailed'
  | 'NonDeterminism'
  | 'Fenced'
  | 'Killed'
  | 'SuspectedPoison'
  | 'CommitRejected'
  | 'GaveUp'
  | 'RollbackFailed'
  | 'Crash'

const BY_CODE: Readonly<Record<string, FailureClass>> = {
  STEP_TIMEOUT: 'Timeout',
  STEP_HEARTBEAT_TIMEOUT: 'Timeout',
  CALL_TIMEOUT: 'Timeout',
  STEP_FAILED: 'ToolFailed',
  SCHEMA_MISMATCH: 'InvalidOutput',
  TURN_DIVERGED: 'NonDeterminism',
  FENCED: 'Fenced',
  COMMIT_REJECTED: 'CommitRejected',
}

/** Ms before a message that crashed is tried again: first wait, doubled per attempt, bounded. */
const BACKOFF_MS_FIRST = 50
const BACKOFF_MS_MAX = 10_000

export function backoffMs(attempt: number): number {
  return Math.min(BACKOFF_MS_FIRST * 2 ** (attempt - 1), BACKOFF_MS_MAX)
}

/** Mailbox heads remembered in a black box. */
const HEADS_MAX = 10

export function classify(error: ErrorData): FailureClass {
  // A failed step is what its cause is: a rate limit stays one although a step carried it.
  const inner = error.code === 'STEP_FAILED' && error.cause !== undefined ? BY_CODE[error.cause.code] : undefined
  return inner ?? BY_CODE[error.code] ?? 'Crash'
}

export type FailureInit = {
  id: string
  process: Process
  error: unknown
  class?: FailureClass
  envelope: Envelope | null
  attempt: number
  decision: string
}

export function newFailure(init: FailureInit): NewFailure {
  const { process, envelope } = init
  const error = plain(errorData(init.error)) as unknown as ErrorData // plain() keeps the shape
  return {
    id: init.id,
    incarnation: process.incarnation,
    class: init.class ?? classify(error),
    error,
    attempt: init.attempt,
    messageId: envelope?.messageId ?? null,
    op: envelope?.op ?? null,
    decision: init.decision,
    box: blackBox(process, envelope),
  }
}

function blackBox(process: Process, envelope: Envelope | null): BlackBox {
  const heads = process.mailbox?.peek(0, HEADS_MAX) ?? []
  return {
    events: [],
    mailbox: { length: process.mailboxLength, heads: heads.map((item) => `${item.op} from ${item.from ?? 'outside'}`) },
    wait: process.wait,
    status: process.status,
    turn: envelope === null ? null : { id: envelope.messageId, op: envelope.op, since: process.stats.since },
  }
}

/** What a dead process was doing; its own status tells only of the end. */
function statusOf(process: Process, envelope: Envelope | null): ProcessStatus {
  if (process.wait !== null) return 'waiting'
  return envelope === null ? 'idle' : 'running'
}

/** The record of a kill or a crash that left none, with the message that was in hand; null for any other end. */
export function killFailure(init: {
  id: string
  process: Process
  reason: ExitReason
  envelope: Envelope | null
}): NewFailure | null {
  const { id, process, reason, envelope } = init
  if (reason.kind !== 'killed' && reason.kind !== 'crash') return null
  const error =
    reason.kind === 'crash'
      ? reason.error
      : { code: 'killed', message: reason.detail ?? 'Killed by an operator or supervisor.' }
  const failure = newFailure({
    id,
    process,
    error: new Error(error.message),
    class: reason.kind === 'killed' ? 'Killed' : 'Crash',
    envelope,
    attempt: Math.max(1, envelope?.attempts ?? 1), // the kernel has counted this one already
    decision: 'restart',
  })
  return { ...failure, error, box: { ...failure.box, status: statusOf(process, envelope) } }
}
