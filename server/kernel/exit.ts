/**
 * Exit reasons are values with the meanings of Erlang/OTP; they are never thrown and never matched by text.
 *
 * | kind     | supervisors          | kills a linked process that does not trap | reported |
 * |----------|----------------------|--------------------------------------------|----------|
 * | normal   | normal end           | no                                         | no       |
 * | shutdown | normal end           | yes                                        | no       |
 * | kill     | (signal only)        | untrappable; observed by others as killed  | yes      |
 * | killed   | abnormal             | yes                                        | yes      |
 * | noproc   | abnormal             | yes                                        | yes      |
 * | crash    | abnormal             | yes                                        | yes      |
 * | fenced   | not judged: another node owns the process now           | no      | no       |
 */
import type { ErrorData } from '../../shared/error.ts'

export type ExitReason =
  | { kind: 'normal' }
  | { kind: 'shutdown'; detail: string | null }
  | { kind: 'kill' }
  | { kind: 'killed'; detail?: string }
  | { kind: 'noproc' }
  | { kind: 'fenced' }
  | { kind: 'crash'; error: ErrorData }

export const NORMAL: ExitReason = { kind: 'normal' }
export const SHUTDOWN: ExitReason = { kind: 'shutdown', detail: null }
export const KILL: ExitReason = { kind: 'kill' }
export const KILLED: ExitReason = { kind: 'killed' }
export const NOPROC: ExitReason = { kind: 'noproc' }
export const FENCED: ExitReason = { kind: 'fenced' }

export function shutdown(detail: string): ExitReason {
  return { kind: 'shutdown', detail }
}

/** Killed by somebody who said why. */
export function killed(detail: string | undefined): ExitReason {
  return detail === undefined ? KILLED : { kind: 'killed', detail }
}

export function crash(error: ErrorData): ExitReason {
  return { kind: 'crash', error }
}

/** What supervisors count as an end rather than a failure. */
export function isNormalish(reason: ExitReason): boolean {
  return reason.kind === 'normal' || reason.kind === 'shutdown'
}

/** For lists and logs: `crash TypeError: x is not a function`. */
export function exitText(reason: ExitReason): string {
  switch (reason.kind) {
    case 'crash':
      return `crash ${reason.error.code}: ${reason.error.message}`
    case 'shutdown':
      return reason.detail === null ? 'shutdown' : `shutdown: ${reason.detail}`
    case 'killed':
      return reason.detail === undefined ? 'killed' : `killed: ${reason.detail}`
    default:
      return reason.kind
  }
}
