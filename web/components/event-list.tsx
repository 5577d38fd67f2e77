/** The newest events of a topic, newest first, with what was lost in between. */
import type { RuntimeEvent } from '../../shared/event.ts'
import { useLog, useSubscription } from '../feed/hooks.ts'
import { clockText, dateText } from '../ui/duration.ts'
import { plural } from '../ui/quantity.ts'
import { eventLine } from './event-text.ts'
import { ProcessLink } from './process-name.tsx'

const SHOWN = 40

type EventListProps = { topic: string; title: string; named?: boolean }

export function EventList({ topic, title, named = false }: EventListProps) {
  const { entries, loaded } = useLog(useSubscription(topic))
  const newest = entries.slice(-SHOWN).reverse()
  return (
    <section className="events" aria-label={title}>
      <h3>{title}</h3>
      {newest.length === 0 ? (
        <p className="dim">
          {loaded ? 'None yet.' : 'None since this view was opened. They appear here as they happen.'}
        </p>
      ) : null}
      <ol>
        {newest.map((entry) =>
          entry.kind === 'gap' ? (
            <li key={entry.key} className="event-gap">
              {plural(entry.n, 'event')} not shown: more than the page can carry
            </li>
          ) : (
            // The topic promises events.
            <EventItem key={entry.key} event={entry.value as RuntimeEvent} named={named} />
          ),
        )}
      </ol>
    </section>
  )
}

function EventItem({ event, named }: { event: RuntimeEvent; named: boolean }) {
  const line = eventLine(event)
  const id = 'id' in event ? event.id : null
  return (
    <li>
      <time title={dateText(event.at)}>{clockText(event.at)}</time>
      <span className={`event-text tone-${line.tone}`}>
        {named && id !== null ? <ProcessLink id={id} /> : null} {line.text}
      </span>
    </li>
  )
}
