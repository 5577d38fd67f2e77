/** What the open turn waits for and an operator can give: one line each, with the sheet to answer it. */
import type { Answerable, ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection } from '../feed/hooks.ts'
import { dateText, durationText } from '../ui/duration.ts'
import { ask } from './action.ts'

export function AnswerableList({ row, now }: { row: ProcessDetail; now: number }) {
  const list = row.answerable ?? []
  if (list.length === 0) return null
  return (
    <section className="answerable" aria-label="Waits for an answer">
      <h3>Waits for an answer</h3>
      <ul>
        {list.map((item, index) => (
          <Line key={item.key} row={row} item={item} now={now} isFirst={index === 0} />
        ))}
      </ul>
    </section>
  )
}

type LineProps = { row: ProcessDetail; item: Answerable; now: number; isFirst: boolean }

function Line({ row: { id, incarnation }, item, now, isFirst }: LineProps) {
  const connected = useConnection().kind === 'live'
  const { key, kind, what, args, since } = item
  const hint = isFirst ? 'Answer… (A)' : 'Answer…'
  return (
    <li>
      <span className="answerable-what">
        <code>{what}</code>
        {args === null ? null : <code className="answerable-args">{args}</code>}
        <span className="dim">
          {kind === 'sandbox' ? 'not done: this is a sandbox' : 'given out; somebody outside completes it'} ·{' '}
          <time title={dateText(since)}>{durationText(now - since)}</time>
        </span>
      </span>
      <button
        type="button"
        className="button button-small"
        disabled={!connected}
        title={connected ? hint : 'Not connected'}
        onClick={() => ask({ verb: 'answer', id, incarnation, request: key })}
      >
        Answer…
      </button>
    </li>
  )
}
