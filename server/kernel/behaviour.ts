/**
 * What runs in a process, as the layers above import it, and what is needed to give birth to one.
 *
 * The interface itself stands in process.ts: process and behaviour are one thing seen from both sides.
 */
import type { CrashVerdict, Process, ProcessSpec } from './process.ts'

export type { Behaviour, CrashVerdict, InitResult, Overseer, ProcessSpec } from './process.ts'

/** The verdict on a crash of anything that does not judge itself: the message in hand is lost, intensity pays. */
export const PLAIN_CRASH: CrashVerdict = { charge: 'intensity', delayMs: 0, redeliver: false }

export type SpawnSpec = ProcessSpec & {
  /** Place in the tree; null for roots. */
  parent: Process | null
  /** Linked before init runs: there is no window in which the child exists unlinked. */
  link?: Process
  /** Monitored before init runs. */
  monitor?: Process
  trapExit?: boolean
  /** First incarnation is 1; the durable layer continues the stored count. */
  incarnation?: number
  /** Init that takes longer is killed and fails the start; no limit by default, as in OTP. */
  startTimeoutMs?: number
}
