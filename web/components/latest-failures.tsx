/** The newest failures in one line each; the page behind holds their black boxes. */
import type { FailureRecord } from '../../shared/snapshot.ts'
import { clockText, dateText } from '../ui/duration.ts'
import { Link } from '../ui/link.tsx'
import { useItems } from './item-list.ts'
import { ProcessName } from './process-name.tsx'

const SHOWN = 6

export function LatestFailures() {
  const { items } = useItems<FailureRecord>('failures')
  if (items.length === 0) return <p className="dim more-line">None so far.</p>
  return (
    <ul>
      {items.slice(0, SHOWN).map((failure) => (
        <li key={failure.id}>
          <Link to="agents" search={{ sel: failure.process, tab: 'failures' }} className="latest">
            <time className="dim" title={dateText(failure.at)}>
              {clockText(failure.at)}
            </time>
            <ProcessName id={failure.process} />
            <span>
              <span className="failure-class">{failure.class}</span> {failure.error.message}
            </span>
            <span className="dim">{failure.decision}</span>
          </Link>
        </li>
      ))}
    </ul>
  )
}
