/**
 * What a process counts about itself: plain numbers, written in place, read by samplers at their own pace.
 *
 * - Nothing is emitted for a change here, and no reader may hold on to the object of a process that ended.
 * - `busyMs` is the time the thread spent in slices of this process: handlers up to their first `await`. What runs
 *   after an `await` is resumed by the engine, one microtask among others, and is not counted: no hook tells whose it
 *   is without a cost for every promise of the host, and an estimate would blame neighbours.
 */
export class Stats {
  turns = 0
  busyMs = 0
  /** New incarnations after the first. */
  restarts = 0
  /** Incarnations that crashed or were killed. */
  failures = 0
  /** Messages dropped here: unknown op, full mailbox of a topic subscriber, queue of a dead ephemeral process. */
  dropped = 0
  /** Raised with each turn that may have changed the state. */
  stateVersion = 0
  /** Epoch ms at which the present status began. */
  since: number
  /** Epoch ms at which the present incarnation began. */
  startedAt: number

  constructor(at: number) {
    this.since = at
    this.startedAt = at
  }
}
