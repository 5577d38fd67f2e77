/**
 * Named points at which a test may kill the whole OS process with SIGKILL: the instants at which durability is proven.
 *
 * - Off unless a test asks by name (config.ts reads VIVARIUM_CRASH_POINT); then the n-th passage kills, after the hit
 *   was written to the log file with a synchronous call, so that a test can prove the point was reached.
 * - `test/crash` covers every name; tidy compares the lists.
 */
import { appendFileSync } from 'node:fs'

export const CRASH_POINTS = [
  'commit:before-statement',
  'commit:sent',
  'commit:stored-before-reply',
  'commit:before-hint',
  'transaction:before-commit',
  'transaction:committed',
  'replay:middle',
  'blob:write',
  'snapshot:write',
  'activation:loaded',
  'passivation:released',
  'claim:taken',
  'timer:fire',
  'migration:applied',
  'step:attempt-failed',
  'step:retry-stored',
  'step:progress-stored',
  'step:handed-over',
  'external:token-stored',
  'external:outcome-stored',
  'wait:due-stored',
  'sleep:woken',
  'receive:taken',
  'park:before-release',
  'park:released',
  'park:revived',
  'start:signal-stored',
  'start:result-read',
  'waiter:kept',
  'waiter:told',
  'cancel:stored',
  'cancel:taken',
  'cancel:heard',
  'rollback:begun',
  'rollback:undone',
  'rollback:over',
  'close:stored',
  'stream:stored',
  'stream:reset',
  'upgrade:made',
  'upgrade:stored',
  'patch:stored',
  'prune:step',
  'stream:pruned',
  'mend:taken',
  'mend:stored',
  'act:audited',
  'fork:stored',
  'answer:stored',
  'discard:middle',
  'import:middle',
  'import:stored',
  'embedded:started',
  'shutdown:drained',
] as const

export type CrashPointName = (typeof CRASH_POINTS)[number]

export interface CrashPoints {
  /** Returns, or never does. */
  hit(name: CrashPointName): void
}

export const NO_CRASH: CrashPoints = { hit() {} }

/** Kills this process at the `nth` passage of `name`; each passage of it is logged to `log`. */
export class ArmedCrashPoint implements CrashPoints {
  readonly #name: CrashPointName
  readonly #log: string
  #left: number

  constructor(name: CrashPointName, nth: number, log: string) {
    this.#name = name
    this.#left = nth
    this.#log = log
  }

  /** Null when there is no such point. */
  static named(name: string, nth: number, log: string): ArmedCrashPoint | null {
    const point = CRASH_POINTS.find((known) => known === name)
    return point === undefined ? null : new ArmedCrashPoint(point, nth, log)
  }

  hit(name: CrashPointName): void {
    if (name !== this.#name) return
    this.#left -= 1
    if (this.#left > 0) return
    appendFileSync(this.#log, `${name}\n`)
    process.kill(process.pid, 'SIGKILL')
    // SIGKILL is asynchronous by a hair: nothing after this point may run.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
}
