/**
 * Small values with which the kernel tells how something came out.
 */
import { type ErrorCode, type GivenUp, isRuntimeError, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { type ExitReason, exitText } from './exit.ts'
import type { Process, ProcessSpec } from './process.ts'
import type { Sender } from './signal.ts'

/** What becomes of a durable message in hand when its process dies. */
export type InHand = 'attempt' | 'free' | 'leave'

/** Thrown by `exitSelf` to unwind user code; never seen by anybody but the turn that ends with it. */
export class ExitUnwind extends Error {
  readonly reason: ExitReason
  constructor(reason: ExitReason) {
    super(`The process exits: ${exitText(reason)}`)
    this.name = 'ExitUnwind'
    this.reason = reason
  }
}

/** Marks a timer message: it is dropped at dequeue when the timer was cancelled after it fired. */
export abstract class TimerTicket {
  /** False when the message is to be dropped. */
  abstract take(process: Process): boolean
}

export function alreadyStarted(spec: ProcessSpec): RuntimeError {
  return new RuntimeError('CHILD_ALREADY_STARTED', `${spec.id} is alive already.`, { detail: { id: spec.id } })
}

/** How a caller hears of the death of its target. One that ended because it is another node's now may have been carried
 *  out, there or here (N1). */
export function exited(process: Sender, reason: ExitReason, code: ErrorCode = 'PROCESS_EXITED'): RuntimeError {
  const known = reason.kind === 'fenced' && code === 'PROCESS_EXITED' ? 'CALL_OUTCOME_UNKNOWN' : code
  return new RuntimeError(known, `${process.id} ended before it answered: ${exitText(reason)}`, {
    detail: { id: process.id, incarnation: process.incarnation, reason },
  })
}

export const GIVEN_UP_TEXT: Readonly<Record<GivenUp, string>> = {
  withdrawn: 'It was taken back before it began and is not carried out.',
  unknown: 'It may still be carried out.',
}

/** How callers hear that nobody will answer them any more (K20). */
export function runtimeStopped(target: ProcessId, op: string): RuntimeError {
  return new RuntimeError(
    'RUNTIME_STOPPED',
    `The runtime stopped before ${op} of ${target} was answered. ${GIVEN_UP_TEXT.unknown}`,
    { detail: { target, op, outcome: 'unknown' } },
  )
}

/** What the caller of a process that ended hears.
 *  @param ending  the whole runtime ends: then it is not the process that had to */
export function unanswered(process: Process, reason: ExitReason, op: string | null, ending: boolean): RuntimeError {
  if (ending && op !== null && (reason.kind === 'shutdown' || reason.kind === 'killed')) {
    return runtimeStopped(process.id, op)
  }
  return exited(process, reason, process.ties?.refusal ?? 'PROCESS_EXITED')
}

export function isIgnore(error: unknown): boolean {
  return isRuntimeError(error, 'CHILD_START_FAILED') && error.detail['ignore'] === true
}
