/** Audit: who did what to which process, why, and what came of it. */
import type { AuditItem } from '../../shared/snapshot.ts'
import { useItems } from '../components/item-list.ts'
import { ProcessLink } from '../components/process-name.tsx'
import { clockText, dateText } from '../ui/duration.ts'
import { StateNote } from '../ui/state-note.tsx'

const SHOWN = 300

export function AuditPage() {
  const { items, loaded } = useItems<AuditItem>('audit')
  return (
    <div className="page page-narrow">
      <h1 className="page-title">Audit</h1>
      {!loaded ? <StateNote title="Reading the audit…" /> : null}
      {loaded && items.length === 0 ? (
        <StateNote title="Nobody has acted yet.">
          Every kill, restart, message and other action is recorded here.
        </StateNote>
      ) : null}
      {items.length === 0 ? null : (
        <div className="plain-table-frame" tabIndex={0} role="region" aria-label="Audit entries">
          <table className="plain-table">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">Who</th>
                <th scope="col">Did</th>
                <th scope="col">To</th>
                <th scope="col">Why</th>
                <th scope="col">Outcome</th>
              </tr>
            </thead>
            <tbody>
              {items.slice(0, SHOWN).map((item) => (
                <AuditRow key={item.id} item={item} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}

function AuditRow({ item }: { item: AuditItem }) {
  return (
    <tr>
      <td>
        <time title={dateText(item.at)}>{clockText(item.at)}</time>
      </td>
      <td>{item.actor}</td>
      <td>
        <span className={`verb-name verb-${item.verb}`}>{item.verb}</span>
      </td>
      <td>{item.target.includes('/') ? <ProcessLink id={item.target} /> : item.target}</td>
      <td className="reason-cell">{item.reason ?? <span className="dim">none given</span>}</td>
      <td>{item.outcome}</td>
    </tr>
  )
}
