/** One clock for all relative times on the page: a tick a second while anything listens and the tab is visible. */
import { useSyncExternalStore } from 'react'

/** Milliseconds. Relative times are shown in whole seconds. */
const TICK_MS = 1_000

const listeners = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined
let present = Date.now()

function listen(listener: () => void): () => void {
  listeners.add(listener)
  timer ??= setInterval(() => {
    if (document.hidden) return
    present = Date.now()
    for (const each of listeners) each()
  }, TICK_MS)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

/** Epoch milliseconds of this machine, renewed once a second. */
export function useNow(): number {
  return useSyncExternalStore(listen, () => {
    // The first reader after a pause must not see the time of the last tick; those who ask with it see the same.
    if (timer === undefined && Date.now() - present >= TICK_MS) present = Date.now()
    return present
  })
}
