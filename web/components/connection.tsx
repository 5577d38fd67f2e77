/** How fresh everything on the page is: live, silent for too long, or away with a countdown. */
import '../feed/jitless.ts'
import { PING_MS } from '../../shared/frame.ts'
import { useConnection, useFeed } from '../feed/hooks.ts'
import { durationText } from '../ui/duration.ts'
import { useNow } from '../ui/now.ts'

/** Milliseconds. Two pings missed, with a little grace for a slow network. */
export const STALE_MS = 2 * PING_MS + 2_000

/** True when the server is connected but was not heard for two pings. */
export function useStale(): boolean {
  useNow()
  const feed = useFeed()
  return useConnection().kind === 'live' && feed.silenceMs > STALE_MS
}

export function ConnectionChip() {
  const connection = useConnection()
  const feed = useFeed()
  const stale = useStale()
  switch (connection.kind) {
    case 'live':
      return stale ? (
        <span className="live live-stale" title="The connection is open but silent">
          <i aria-hidden="true" /> {durationText(feed.silenceMs)} old
        </span>
      ) : (
        <span className="live live-on" title={`Connected to ${connection.node}, version ${connection.version}`}>
          <i aria-hidden="true" /> live
        </span>
      )
    case 'connecting':
      return (
        <span className="live live-wait">
          <i aria-hidden="true" /> connecting
        </span>
      )
    case 'waiting':
      return (
        <span className="live live-off">
          <i aria-hidden="true" /> away, {durationText(feed.silenceMs)} old
        </span>
      )
    default:
      return connection satisfies never
  }
}

export function ConnectionBar() {
  const now = useNow()
  const feed = useFeed()
  const connection = useConnection()
  const stale = useStale()
  if (connection.kind === 'waiting' || (connection.kind === 'connecting' && connection.attempt > 0)) {
    const seconds = connection.kind === 'waiting' ? Math.max(0, Math.ceil((connection.retryAt - now) / 1_000)) : 0
    return (
      <div className="bar bar-critical" role="alert">
        <strong>Not connected.</strong>
        <span>
          {connection.kind === 'waiting' ? `${connection.reason} ` : ''}
          What you see is what was last known; actions are off.
        </span>
        <span className="bar-end">
          {connection.kind === 'waiting' && seconds > 0 ? `next try in ${seconds} s` : 'trying now…'}
          <button type="button" className="button button-small" onClick={() => feed.retryNow()}>
            Retry
          </button>
        </span>
      </div>
    )
  }
  if (!stale) return null
  return (
    <div className="bar bar-warning" role="status">
      <strong>Silent for {durationText(feed.silenceMs)}.</strong>
      <span>The server has missed two pings. Values stay readable but may be old.</span>
    </div>
  )
}
