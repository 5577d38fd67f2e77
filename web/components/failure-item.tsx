/** One failure: what happened and what was decided; opened, the black box of the moment. */
import { useState } from 'react'
import type { ErrorData } from '../../shared/error.ts'
import type { FailureRecord } from '../../shared/snapshot.ts'
import { clockText, dateText } from '../ui/duration.ts'
import { plural } from '../ui/quantity.ts'
import { ProcessLink } from './process-name.tsx'
import { Status } from './status.tsx'
import { waitLine } from './wait.ts'

export function FailureItem({ failure, named }: { failure: FailureRecord; named: boolean }) {
  const [open, setOpen] = useState(false)
  return (
    <li className="failure">
      <button type="button" className="entry-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className={open ? 'twisty twisty-open' : 'twisty'} />
        <span className="entry-summary">
          <span className="failure-class">{failure.class}</span> {failure.error.message}
        </span>
        <time className="entry-time" title={dateText(failure.at)}>
          {clockText(failure.at)}
        </time>
      </button>
      <p className="failure-line">
        {named ? <ProcessLink id={failure.process} /> : null}
        <span className="dim">
          {`${failure.op === null ? 'outside a message' : `in ${failure.op}`} · incarnation ${failure.incarnation}`}
          {` · attempt ${failure.attempt} ·`}
        </span>
        <span className="decision">{failure.decision}</span>
      </p>
      {open ? <BlackBoxView failure={failure} /> : null}
    </li>
  )
}

function BlackBoxView({ failure }: { failure: FailureRecord }) {
  const { box } = failure
  const line = waitLine({ status: box.status, wait: box.wait, since: failure.at, kind: 'agent' }, failure.at)
  return (
    <div className="entry-body black-box">
      <dl className="facts facts-dense">
        <dt>Status then</dt>
        <dd>
          <Status status={box.status} /> {box.wait === null ? null : <span className="dim">{line.text}</span>}
        </dd>
        <dt>Open turn</dt>
        <dd>{box.turn === null ? 'none' : `${box.turn.op}, since ${clockText(box.turn.since)}`}</dd>
        <dt>Mailbox then</dt>
        <dd>
          {plural(box.mailbox.length, 'message')}
          {box.mailbox.heads.length > 0 ? <span className="dim"> · {box.mailbox.heads.join(', ')}</span> : null}
        </dd>
        {failure.messageId === null ? null : (
          <>
            <dt>Message</dt>
            <dd className="code">{failure.messageId}</dd>
          </>
        )}
      </dl>
      <Stack error={failure.error} />
      {box.events.length > 0 ? (
        <ol className="box-events" aria-label="Last events before the failure">
          {box.events.map((event) => (
            <li key={`${event.at}${event.text}`}>
              <time>{clockText(event.at)}</time> {event.text}
            </li>
          ))}
        </ol>
      ) : null}
      <p className="dim">
        Recorded {dateText(failure.at)} as {failure.id}
      </p>
    </div>
  )
}

function Stack({ error }: { error: ErrorData }) {
  return (
    <div className="stack" tabIndex={0} role="group" aria-label="Stack">
      <pre>{error.stack ?? `${error.code}: ${error.message}`}</pre>
      {error.cause === undefined ? null : (
        <>
          <p className="dim">caused by</p>
          <Stack error={error.cause} />
        </>
      )}
    </div>
  )
}
