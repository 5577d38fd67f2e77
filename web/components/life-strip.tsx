/** What happened to the process one looks at: it was reborn, or it is gone. Neither is an empty panel. */
import { useState } from 'react'
import type { ProcessDetail } from '../../shared/snapshot.ts'
import { clockText, dateText } from '../ui/duration.ts'

type RebornStripProps = { row: ProcessDetail; gone: boolean; onFailures: () => void }

/** Mounted also while the process is gone, so that it knows which incarnation was seen before. */
export function RebornStrip({ row, gone, onFailures }: RebornStripProps) {
  const [seen, setSeen] = useState(row.incarnation)
  if (gone || row.incarnation <= seen) return null
  const exit = row.lastExit
  return (
    <div className="strip strip-warning" role="status">
      <span>
        New incarnation <strong>#{row.incarnation}</strong>
        {exit === null
          ? null
          : ` · the one before ended${exit.at === null ? '' : ` ${clockText(exit.at)}`}: ${exit.text}`}
      </span>
      <button type="button" className="button button-small" onClick={onFailures}>
        Show why
      </button>
      <button type="button" className="icon-button" aria-label="Close notice" onClick={() => setSeen(row.incarnation)}>
        ×
      </button>
    </div>
  )
}

/** @param discarded  a sandbox copy that is stored no more; nothing else takes one away */
export function GoneStrip({ row, discarded }: { row: ProcessDetail; discarded: boolean }) {
  const exit = row.lastExit
  if (discarded) {
    return (
      <div className="strip strip-warning" role="status">
        <span>Discarded. Nothing is stored of it any more but its audit.</span>
      </div>
    )
  }
  return (
    <div className="strip strip-critical" role="status">
      <span>
        {exit === null ? (
          'Gone. What is shown is the last that was seen of it.'
        ) : (
          <>
            Exited {exit.at === null ? null : <time title={dateText(exit.at)}>{clockText(exit.at)}</time>} · {exit.text}
          </>
        )}
        {row.desired === 'stopped' ? ' · stays stopped until restarted' : null}
      </span>
    </div>
  )
}
