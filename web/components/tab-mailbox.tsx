/** Mailbox: the messages that wait, first first, and what can be done with one. */
import { useState } from 'react'
import type { MailboxItem, ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection, useFeed, useRows, useSubscription, useWindow } from '../feed/hooks.ts'
import { Chip } from '../ui/chip.tsx'
import { ageText, dateText } from '../ui/duration.ts'
import { useNow } from '../ui/now.ts'
import { bytesText, countText, plural } from '../ui/quantity.ts'
import { StateNote } from '../ui/state-note.tsx'
import { ask, isMendable, submit } from './action.ts'

/** Messages asked for; longer mailboxes are cut and say so. */
const WINDOW = 100
const VIEW = { window: [0, WINDOW] as [number, number] }

type MailboxRow = MailboxItem & { id: string }

export function MailboxTab({ row }: { row: ProcessDetail }) {
  const subscription = useSubscription(`mailbox:${row.id}`, VIEW)
  const { loaded, counts } = useWindow(subscription)
  const rows = useRows<MailboxRow>(subscription)
  const [open, setOpen] = useState<string | null>(null)
  if (!loaded) return <StateNote title="Reading the mailbox…" />
  const total = Math.max(row.mailbox, counts.total ?? 0, rows.length)
  if (rows.length === 0) {
    return <StateNote title="The mailbox is empty.">Nothing waits. A message in hand is shown under Now.</StateNote>
  }
  return (
    <div className="tab-mailbox">
      <div className="tab-bar">
        <strong>{plural(total, 'message')}</strong>
        <span className="dim">limit {countText(row.mailboxLimit)}</span>
        {total > rows.length ? <Chip tone="notice">first {rows.length} shown</Chip> : null}
      </div>
      <ol className="messages">
        {rows.map((item) => (
          <MessageItem
            key={item.id}
            process={row}
            item={item}
            open={item.id === open}
            onToggle={() => setOpen(item.id === open ? null : item.id)}
          />
        ))}
      </ol>
    </div>
  )
}

type MessageItemProps = { process: ProcessDetail; item: MailboxRow; open: boolean; onToggle: () => void }

function MessageItem({ process, item, open, onToggle }: MessageItemProps) {
  useNow()
  const now = useFeed().now()
  return (
    <li className="message">
      <button type="button" className="entry-head" aria-expanded={open} onClick={onToggle}>
        <span className={open ? 'twisty twisty-open' : 'twisty'} />
        <span className="entry-seq">{item.position}</span>
        <span className="entry-summary">
          <span className="entry-kind">{item.kind}</span> {item.op}
          <span className="dim"> from {item.from ?? 'outside'}</span>
          {item.attempts > 0 ? <span className="alarm"> · {plural(item.attempts, 'failed attempt')}</span> : null}
        </span>
        <time className="entry-time" title={dateText(item.at)}>
          {ageText(now - item.at)}
        </time>
      </button>
      {open ? <MessageBody process={process} item={item} /> : null}
    </li>
  )
}

function MessageBody({ process, item }: { process: ProcessDetail; item: MailboxRow }) {
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const { messageId } = item
  const act = (verb: 'drop-message' | 'redeliver-message') => () => {
    if (messageId === null) return
    submit(feed, { verb, target: process.id, incarnation: process.incarnation, message: messageId })
  }
  return (
    <div className="entry-body">
      <pre className="preview">{item.preview ?? 'The body is not shown here: it is redacted.'}</pre>
      <div className="verbs">
        <span className="dim">{item.bytes === null ? 'size unknown' : bytesText(item.bytes)}</span>
        <button
          type="button"
          className="button button-small"
          disabled={!connected || messageId === null}
          onClick={act('redeliver-message')}
        >
          Move to the front
        </button>
        <button
          type="button"
          className="button button-small button-danger-quiet"
          disabled={!connected || messageId === null}
          onClick={act('drop-message')}
        >
          Drop to dead letters
        </button>
        {isMendable(process) ? (
          <button
            type="button"
            className="button button-small button-danger-quiet"
            disabled={!connected || messageId === null}
            onClick={() =>
              messageId !== null &&
              ask({
                ...{ verb: 'cancel', id: process.id, incarnation: process.incarnation },
                message: { id: messageId, op: item.op },
              })
            }
          >
            Cancel…
          </button>
        ) : null}
        {messageId === null ? <span className="dim">not stored yet: nothing to act on</span> : null}
      </div>
    </div>
  )
}
