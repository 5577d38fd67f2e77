/** Timeline: the journal of the process, newest first; each entry opens to what it holds. */
import { useState } from 'react'
import type { JournalItem, ProcessDetail } from '../../shared/snapshot.ts'
import { useBlob, useConnection, useLog, useProblem, useSubscription } from '../feed/hooks.ts'
import { Chip } from '../ui/chip.tsx'
import { clockText, dateText } from '../ui/duration.ts'
import { JsonTree } from '../ui/json-tree.tsx'
import { bytesText, plural } from '../ui/quantity.ts'
import { StateNote } from '../ui/state-note.tsx'
import { ask, isMendable } from './action.ts'
import { EventList } from './event-list.tsx'

/** Entries shown at first, and added by each press of the button below them. */
const PAGE = 100

/** The journal's words where they are not a reader's. */
const KIND_TITLE: Readonly<Record<string, string>> = {
  init: 'start',
  edited: 'edit',
  retried: 'run again',
  forked: 'fork',
  called: 'call',
  end: 'turn',
  failed: 'failure',
  activated: 'activation',
}

export function TimelineTab({ row }: { row: ProcessDetail }) {
  return row.durable ? (
    <Journal key={row.id} row={row} />
  ) : (
    <div>
      <StateNote title="This process keeps no journal.">It is ephemeral: what it did is told as events only.</StateNote>
      <EventList topic={`events:${row.id}`} title="Events" />
    </div>
  )
}

function Journal({ row }: { row: ProcessDetail }) {
  const subscription = useSubscription(`journal:${row.id}`)
  const { entries, dropped, loaded } = useLog(subscription)
  const problem = useProblem(subscription)
  const [shown, setShown] = useState(PAGE)
  if (problem !== null) return <StateNote title={problem.detail} />
  if (!loaded) return <StateNote title="Reading the journal…" />
  const newest = [...entries].reverse()
  if (newest.length === 0) return <StateNote title="Nothing yet.">Its first turn will appear here.</StateNote>
  return (
    <div className="timeline">
      <ol>
        {newest.slice(0, shown).map((entry) =>
          entry.kind === 'gap' ? (
            <li key={entry.key} className="event-gap">
              {plural(entry.n, 'entry', 'entries')} not shown
            </li>
          ) : (
            // The topic promises journal items.
            <Entry key={entry.key} row={row} item={entry.value as JournalItem} />
          ),
        )}
      </ol>
      {newest.length > shown ? (
        <button type="button" className="button" onClick={() => setShown(shown + PAGE)}>
          Show {Math.min(PAGE, newest.length - shown)} older
        </button>
      ) : null}
      {dropped > 0 ? (
        <Chip tone="notice">{plural(dropped, 'older entry', 'older entries')} not kept in this page</Chip>
      ) : null}
    </div>
  )
}

function Entry({ row, item }: { row: ProcessDetail; item: JournalItem }) {
  const [open, setOpen] = useState(false)
  return (
    <li className={`entry entry-${item.kind}`}>
      <button type="button" className="entry-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className={open ? 'twisty twisty-open' : 'twisty'} />
        <span className="entry-seq">{item.seq}</span>
        <span className="entry-summary">
          <span className="entry-kind">{KIND_TITLE[item.kind] ?? item.kind}</span> {item.summary}
        </span>
        <time className="entry-time" title={dateText(item.at)}>
          {clockText(item.at)}
        </time>
      </button>
      {open ? <EntryBody row={row} item={item} /> : null}
    </li>
  )
}

function EntryBody({ row, item }: { row: ProcessDetail; item: JournalItem }) {
  const { id, incarnation } = row
  const connected = useConnection().kind === 'live'
  return (
    <div className="entry-body">
      <dl className="facts facts-dense">
        <dt>Size</dt>
        <dd>
          {bytesText(item.bytes)}, state schema {item.stateVersion}
        </dd>
        <Fact title="Actor" value={item.actor} />
        <Fact title="Cause" value={item.cause} />
        <Fact title="Conversation" value={item.root} />
        <Fact title="Trace" value={item.traceparent} />
        <Fact title="Turns" value={item.turns.length === 0 ? null : item.turns.join(', ')} />
      </dl>
      {isMendable(row) ? (
        <div className="verbs">
          {item.seq === row.stateVersion ? null : (
            <button
              type="button"
              className="button button-small"
              disabled={!connected}
              onClick={() => ask({ verb: 'rewind', id, incarnation, version: item.seq })}
            >
              Rewind to here…
            </button>
          )}
          <button
            type="button"
            className="button button-small"
            disabled={!connected}
            onClick={() => ask({ verb: 'fork', id, incarnation, version: item.seq })}
          >
            Fork from here…
          </button>
        </div>
      ) : null}
      {item.payload === null || item.payload === undefined ? (
        <LazyPayload id={id} seq={item.seq} />
      ) : (
        <JsonTree compact value={item.payload} label={`Payload of entry ${item.seq}`} />
      )}
    </div>
  )
}

/** Bodies are not sent with the list; one is read when its entry is opened. */
function LazyPayload({ id, seq }: { id: string; seq: number }) {
  const { blob, problem } = useBlob(`journal:${id}:${seq}`, seq)
  if (problem !== null) return <p className="dim">{problem.detail}</p>
  if (blob === null) return <p className="dim">Reading…</p>
  return <JsonTree compact value={blob.body} label={`Payload of entry ${seq}`} />
}

function Fact({ title, value }: { title: string; value: string | null }) {
  if (value === null) return null
  return (
    <>
      <dt>{title}</dt>
      <dd className="code">{value}</dd>
    </>
  )
}
