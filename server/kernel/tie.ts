/**
 * Everything that ties a process to others or to the outside, allocated when the first tie is made.
 *
 * - All of it belongs to one incarnation and is gone at its death, except `waiters`, which learn of the death.
 * - Generic over the process type only so that this file does not import process.ts, which imports this one.
 */
import type { ErrorCode } from '../../shared/error.ts'
import type { Timer } from './clock-port.ts'
import type { ReplyTo } from './envelope.ts'
import type { ExitReason } from './exit.ts'

/** A monitor: one-directional, one-shot; each call makes its own. */
export type Monitor<P> = { readonly ref: string; readonly watcher: P; readonly target: P }

/** A request to end at the next boundary between turns. */
export type Stop = {
  reason: ExitReason
  /** Messages queued before the request that are still to be handled first. */
  behind: number
  /** `terminate` runs already. */
  begun: boolean
}

/** An asynchronous init that has not finished. */
export type Starting = {
  promise: Promise<void>
  resolve: () => void
  reject: (error: Error) => void
  timer: Timer | null
}

export type Verdict = { charge: 'intensity' | 'message'; delayMs: number; redeliver: boolean }

/** Something that must be released at death: a name, a membership, a subscription. */
export interface Holding<P> {
  release(process: P): void
}

export class Ties<P> {
  links: Set<P> | null = null
  /** Monitors this process holds, by reference. */
  monitors: Map<string, Monitor<P>> | null = null
  monitoredBy: Set<Monitor<P>> | null = null
  /** Registries, groups, topics and timers in which this process appears. */
  holdings: Set<Holding<P>> | null = null
  /** Children and tasks of a process that is not a supervisor. */
  children: Set<P> | null = null
  /** Calls whose answer was put off; they fail when the process dies. */
  deferred: Set<ReplyTo> | null = null
  /** Told of each message that is queued behind an open turn. */
  arrived: (() => void) | null = null
  stop: Stop | null = null
  starting: Starting | null = null
  verdict: Verdict | null = null
  /** Code of the refusal of messages to a dead process; null: PROCESS_EXITED. */
  refusal: ErrorCode | null = null
  /** F7: stopped by an operator: nobody else starts it again. */
  retired = false
  waiters: ((reason: ExitReason) => void)[] | null = null
}
