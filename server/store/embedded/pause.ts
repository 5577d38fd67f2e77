/**
 * Waiting for time to pass while another process works. A seam: tests and the runtime hand in their own, and shutdown
 * ends a wait through the signal.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export type Pause = (ms: number) => Promise<void>

/** Waits in real time; rejects with the reason of `signal` when that is aborted. */
export function realPause(signal?: AbortSignal): Pause {
  return (ms) => sleep(ms, undefined, signal === undefined ? {} : { signal })
}
