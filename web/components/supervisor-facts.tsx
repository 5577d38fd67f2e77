/** How a supervisor restarts, how close it is to giving up, and its children. */
import type { SupervisorDetail } from '../../shared/snapshot.ts'
import { durationText } from '../ui/duration.ts'
import { plural } from '../ui/quantity.ts'
import { ProcessLink } from './process-name.tsx'
import { StatusMark } from './status.tsx'

/** Children listed here; all of them are in the tree. */
const CHILDREN_MAX = 50

export function SupervisorFacts({ supervisor }: { supervisor: SupervisorDetail }) {
  const { strategy, intensity, periodMs, recentRestarts, gaveUp } = supervisor
  return (
    <>
      <dt>Strategy</dt>
      <dd>{strategy.replaceAll('_', ' ')}</dd>
      <dt>Intensity</dt>
      <dd className={gaveUp || recentRestarts >= intensity ? 'alarm' : undefined}>
        {gaveUp ? 'gave up: ' : ''}
        {recentRestarts} of {plural(intensity, 'restart')} in {durationText(periodMs)}
        {!gaveUp && recentRestarts >= intensity && intensity > 0 ? '; the next failure escalates' : ''}
      </dd>
    </>
  )
}

export function ChildList({ supervisor }: { supervisor: SupervisorDetail }) {
  const { children } = supervisor
  if (children.length === 0) return <p className="dim">No children.</p>
  return (
    <section className="children" aria-label="Children">
      <h3>Children</h3>
      <ul>
        {children.slice(0, CHILDREN_MAX).map((child) => (
          <li key={child.id}>
            {child.status === 'undefined' ? <span className="status-mark" /> : <StatusMark status={child.status} />}
            {child.process === null ? <span>{child.id}</span> : <ProcessLink id={child.process} />}
            <span className="dim">
              {child.status === 'undefined' ? 'not running' : child.status} · {child.restart}
            </span>
          </li>
        ))}
      </ul>
      {children.length > CHILDREN_MAX ? (
        <p className="dim">and {plural(children.length - CHILDREN_MAX, 'more', 'more')}</p>
      ) : null}
    </section>
  )
}
