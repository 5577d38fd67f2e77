/** Waiting for another process to get on: the one way this folder lets time pass. */
import type { Clock } from '../../clock.ts'

export type Pause = (ms: number) => Promise<void>

/** Waits on `clock`; rejects at once with the reason of `signal` when that is aborted. */
export function clockPause(clock: Clock, signal?: AbortSignal): Pause {
  return async (ms) => {
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = clock.after(ms, resolve)
    const abort = () => {
      timer.cancel()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }
}
