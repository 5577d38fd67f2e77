/** A message that was given up, with its body and the way back into the mailbox. */
import { useState } from 'react'
import type { DeadLetter } from '../../shared/snapshot.ts'
import { useConnection, useFeed } from '../feed/hooks.ts'
import { clockText, dateText } from '../ui/duration.ts'
import { JsonTree } from '../ui/json-tree.tsx'
import { submit } from './action.ts'
import { ProcessLink } from './process-name.tsx'

export function DeadLetterItem({ letter }: { letter: DeadLetter }) {
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const [open, setOpen] = useState(false)
  const back = letter.redeliveredAt
  return (
    <li className={back === null ? 'failure' : 'failure failure-settled'}>
      <button type="button" className="entry-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className={open ? 'twisty twisty-open' : 'twisty'} />
        <span className="entry-summary">
          <span className="failure-class">{letter.op}</span> {letter.reason}
        </span>
        <time className="entry-time" title={dateText(letter.at)}>
          {clockText(letter.at)}
        </time>
      </button>
      <p className="failure-line">
        <ProcessLink id={letter.process} />
        <span className="dim">from {letter.from ?? 'outside'}</span>
        {back === null ? (
          <button
            type="button"
            className="button button-small"
            disabled={!connected}
            onClick={() => submit(feed, { verb: 'redeliver-dead-letter', target: letter.process, message: letter.id })}
          >
            Redeliver
          </button>
        ) : (
          <span className="decision">redelivered {clockText(back)}</span>
        )}
      </p>
      {open ? (
        <div className="entry-body">
          <p className="code dim">{letter.messageId}</p>
          <JsonTree compact value={letter.args} label={`Argument of ${letter.op}`} />
        </div>
      ) : null}
    </li>
  )
}
