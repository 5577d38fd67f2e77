/** The last line of the page: what the page itself costs, and what was lost on the way. */
import { useEffect, useRef, useState } from 'react'
import { useConnection, useFeed } from '../feed/hooks.ts'
import { useNow } from '../ui/now.ts'
import { bytesText, countText, plural } from '../ui/quantity.ts'
import { useVitals } from './vitals.ts'

export function Footer() {
  const feed = useFeed()
  const connection = useConnection()
  const rate = useByteRate()
  const vitals = useVitals().at(-1)
  return (
    <footer className="foot">
      <span>this page {bytesText(rate)}/s</span>
      {vitals === undefined ? null : (
        <>
          <span>{plural(vitals.feed.viewers, 'viewer')}</span>
          <span>observer {vitals.feed.cpuPercent.toFixed(1)} % CPU</span>
          <span className={vitals.feed.dropped > 0 ? 'alarm' : undefined}>
            dropped {countText(vitals.feed.dropped)}
          </span>
        </>
      )}
      {feed.unknownFrames > 0 ? (
        <span className="alarm">
          {plural(feed.unknownFrames, 'frame')} not understood: the server is another version, reload the page
        </span>
      ) : null}
      <span className="foot-end">{connection.kind === 'live' ? `${connection.node} · ${connection.version}` : ''}</span>
    </footer>
  )
}

/** Bytes per second, smoothed over five seconds. */
function useByteRate(): number {
  const feed = useFeed()
  const now = useNow()
  const samples = useRef<{ at: number; bytes: number }[]>([])
  const [rate, setRate] = useState(0)
  useEffect(() => {
    samples.current = [...samples.current, { at: now, bytes: feed.bytes }].slice(-6)
    const first = samples.current[0]
    if (first !== undefined && now > first.at) setRate(((feed.bytes - first.bytes) / (now - first.at)) * 1_000)
  }, [feed, now])
  return rate
}
