/** Vital signs as a history for charts: what the server kept, then one value a second. */
import { useMemo, useRef } from 'react'
import type { Vitals } from '../../shared/snapshot.ts'
import { useLog, useRows, useSubscription } from '../feed/hooks.ts'

/** Values kept; one a second. */
const HISTORY_MAX = 300

/** Oldest first; empty until the first value. */
export function useVitals(): readonly Vitals[] {
  const subscription = useSubscription('vitals')
  const rows = useRows<Vitals & { id: string }>(subscription)
  const log = useLog(subscription)
  const history = useRef<readonly Vitals[]>([])
  return useMemo(() => {
    const byTime = new Map(history.current.map((vitals) => [vitals.at, vitals]))
    // The topic promises vital signs; the history comes as rows or as items.
    for (const entry of log.entries) if (entry.kind === 'item') addTo(byTime, entry.value as Vitals)
    for (const row of rows) addTo(byTime, row)
    history.current = [...byTime.values()].sort((a, b) => a.at - b.at).slice(-HISTORY_MAX)
    return history.current
  }, [rows, log])
}

function addTo(byTime: Map<number, Vitals>, vitals: Vitals): void {
  if (typeof vitals.at === 'number') byTime.set(vitals.at, vitals)
}
