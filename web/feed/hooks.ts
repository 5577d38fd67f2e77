/** The feed for components; the only file of the feed that knows React. */
import { createContext, use, useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import type { Problem, View } from '../../shared/frame.ts'
import type { LogSnapshot } from './buffer.ts'
import { type Blob, type Connection, type FeedClient, toProblem } from './client.ts'
import type { Row, RowWindow } from './store.ts'
import type { Subscription } from './subscription.ts'

export const FeedContext = createContext<FeedClient | null>(null)

export function useFeed(): FeedClient {
  const feed = use(FeedContext)
  if (feed === null) throw new Error('No feed above this component. Render it inside FeedContext.')
  return feed
}

export function useConnection(): Connection {
  const feed = useFeed()
  const listen = useCallback((listener: () => void) => feed.listen(listener), [feed])
  return useSyncExternalStore(listen, () => feed.connection)
}

/** Subscribes while mounted. A changed `view` is sent on; a changed topic opens another subscription. */
export function useSubscription(topic: string, view?: View, maxHz?: number): Subscription {
  const feed = useFeed()
  const viewText = JSON.stringify(view)
  // biome-ignore lint/correctness/useExhaustiveDependencies: a changed view is sent on below, it is no new subscription
  const subscription = useMemo(() => feed.prepare(topic, options(view, maxHz)), [feed, topic, maxHz])
  useEffect(() => {
    feed.retain(subscription)
    return () => feed.release(subscription)
  }, [feed, subscription])
  useEffect(() => {
    if (viewText === undefined || viewText === JSON.stringify(subscription.view)) return
    feed.setView(subscription, JSON.parse(viewText)) // our own text of a View, made above
  }, [feed, subscription, viewText])
  return subscription
}

export function useWindow(subscription: Subscription): RowWindow {
  const { rows } = subscription
  const listen = useCallback((listener: () => void) => rows.onWindow(listener), [rows])
  return useSyncExternalStore(listen, () => rows.window)
}

/** Rerenders for changes of this row only. The caller names the row type its topic promises. */
export function useRow<T extends { id: string }>(subscription: Subscription, id: string): T | undefined {
  const { rows } = subscription
  const listen = useCallback((listener: () => void) => rows.onRow(id, listener), [rows, id])
  // The topic decides the shape; the frame schema only promises an id.
  return useSyncExternalStore(listen, () => rows.row(id)) as T | undefined
}

/** All rows of a small topic (needs, nodes, a mailbox window). */
export function useRows<T extends { id: string }>(subscription: Subscription): readonly T[] {
  const window = useWindow(subscription)
  const rows = window.order.map((id) => subscription.rows.row(id)).filter((row): row is Row => row !== undefined)
  return rows as unknown as readonly T[] // the topic decides the shape, as above
}

export function useLog(subscription: Subscription): LogSnapshot {
  const { log } = subscription
  const listen = useCallback((listener: () => void) => log.listen(listener), [log])
  return useSyncExternalStore(listen, () => log.snapshot)
}

export function useProblem(subscription: Subscription): Problem | null {
  const listen = useCallback((listener: () => void) => subscription.onProblem(listener), [subscription])
  return useSyncExternalStore(listen, () => subscription.problem)
}

export type BlobState = { blob: Blob | null; problem: Problem | null; loading: boolean }

/** Milliseconds between two requests for one value that keeps changing. */
const BLOB_PERIOD_MS = 500

/** The value behind `ref`, asked again when `version` changes, at most twice a second. Keeps the old one meanwhile. */
export function useBlob(ref: string, version: unknown, wanted = true): BlobState {
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const [state, setState] = useState<BlobState & { ref: string }>({ blob: null, problem: null, loading: true, ref })
  const askedAt = useRef(0)
  // biome-ignore lint/correctness/useExhaustiveDependencies: `version` is what makes the value worth asking again
  useEffect(() => {
    if (!connected || !wanted) return
    let live = true
    const ask = () => {
      askedAt.current = Date.now()
      feed.get(ref).then(
        (blob) => live && setState({ blob, problem: null, loading: false, ref }),
        (thrown: unknown) => live && setState((was) => ({ ...was, ref, problem: toProblem(thrown), loading: false })),
      )
    }
    const timer = setTimeout(ask, Math.max(0, askedAt.current + BLOB_PERIOD_MS - Date.now()))
    return () => {
      live = false
      clearTimeout(timer)
    }
  }, [feed, ref, version, connected, wanted])
  return state.ref === ref ? state : { blob: null, problem: null, loading: true }
}

function options(view: View | undefined, maxHz: number | undefined) {
  return { ...(view === undefined ? {} : { view }), ...(maxHz === undefined ? {} : { maxHz }) }
}
