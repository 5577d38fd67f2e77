/** Records of a topic, newest first, whether the server sends them as rows or as appended items. */
import { useMemo } from 'react'
import { useLog, useRows, useSubscription, useWindow } from '../feed/hooks.ts'

type Record = { id: string; at: number }

export function useItems<T extends Record>(topic: string): { items: readonly T[]; loaded: boolean } {
  const subscription = useSubscription(topic)
  const rows = useRows<T>(subscription)
  const window = useWindow(subscription)
  const log = useLog(subscription)
  const items = useMemo(() => {
    const byId = new Map<string, T>()
    // The topic promises the record type.
    for (const entry of log.entries) if (entry.kind === 'item') byId.set((entry.value as T).id, entry.value as T)
    for (const row of rows) byId.set(row.id, row)
    return [...byId.values()].sort((a, b) => b.at - a.at)
  }, [rows, log])
  return { items, loaded: window.loaded || log.loaded }
}
