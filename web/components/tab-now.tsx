/** Now: the message in hand, what is around the process, and what it did last. */
import { useEffect, useRef, useState } from 'react'
import type { ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection, useFeed } from '../feed/hooks.ts'
import { dateText, durationText, workText } from '../ui/duration.ts'
import { useNow } from '../ui/now.ts'
import { bytesText, countText, plural } from '../ui/quantity.ts'
import { Sparkline } from '../ui/sparkline.tsx'
import { ask, isMendable } from './action.ts'
import { AnswerableList } from './answerable-list.tsx'
import { DivergenceSection } from './divergence.tsx'
import { EventList } from './event-list.tsx'
import { ProcessLink } from './process-name.tsx'
import { ChildList, SupervisorFacts } from './supervisor-facts.tsx'

/** Samples of the mailbox kept while the tab is open. */
const SAMPLES = 60

export function NowTab({ row }: { row: ProcessDetail }) {
  useNow()
  const now = useFeed().now()
  return (
    <div className="tab-now">
      <InHand row={row} now={now} />
      <AnswerableList row={row} now={now} />
      <DivergenceSection row={row} />
      {row.kind === 'supervisor' ? null : <MailboxGauge row={row} />}
      <dl className="facts">
        <dt>Supervisor</dt>
        <dd>{row.parent === null ? 'none: the root' : <ProcessLink id={row.parent} />}</dd>
        <dt>Kind</dt>
        <dd>
          {row.durable ? 'durable' : 'ephemeral'} {row.kind}
          {row.placement === 'isolated' ? ', in a thread of its own' : ''}
        </dd>
        <dt>Alive</dt>
        <dd title={dateText(row.startedAt)}>
          {durationText(now - row.startedAt)}, incarnation {row.incarnation}
        </dd>
        {row.kind === 'supervisor' ? null : <WorkFacts row={row} />}
        <dt>Failures</dt>
        <dd>
          {row.failures === 0 ? 'none' : countText(row.failures)}, {plural(row.restarts, 'restart')}
        </dd>
        <Optional title="Names" ids={row.names} plain />
        <Optional title="Links" ids={row.links} />
        <Optional title="Monitors" ids={row.monitors} />
        <Optional title="Monitored by" ids={row.monitoredBy} />
        {row.trapExit ? (
          <>
            <dt>Exits</dt>
            <dd>trapped: exits of linked processes arrive as messages</dd>
          </>
        ) : null}
        {row.node === null ? null : (
          <>
            <dt>Node</dt>
            <dd>{row.node}</dd>
          </>
        )}
        {row.supervisor === null ? null : <SupervisorFacts supervisor={row.supervisor} />}
      </dl>
      {row.supervisor === null ? null : <ChildList supervisor={row.supervisor} />}
      <EventList topic={`events:${row.id}`} title="Last events" />
    </div>
  )
}

function WorkFacts({ row }: { row: ProcessDetail }) {
  return (
    <>
      <dt>Work</dt>
      <dd>
        {plural(row.turns, 'turn')}, {workText(row.busyMs)} busy
        {row.turns > 0 ? `, ${workText(row.busyMs / row.turns)} each` : ''}
      </dd>
      <dt>State</dt>
      <dd>
        version {countText(row.stateVersion)}
        {row.stateBytes === null ? '' : `, ${bytesText(row.stateBytes)}`}
      </dd>
    </>
  )
}

function InHand({ row, now }: { row: ProcessDetail; now: number }) {
  const { current } = row
  if (current === null) return null
  return (
    <section className="in-hand" aria-label="Message in hand">
      <span className="in-hand-op">{current.op}</span>
      <span className="dim">
        {current.from === null ? 'from outside' : <>from {current.from}</>} · in hand for{' '}
        {durationText(now - current.since)}
        {current.attempt > 1 ? ` · attempt ${current.attempt}` : ''}
      </span>
      {isMendable(row) ? <InHandVerbs row={row} /> : null}
    </section>
  )
}

function InHandVerbs({ row: { id, incarnation } }: { row: ProcessDetail }) {
  const connected = useConnection().kind === 'live'
  return (
    <span className="verbs">
      <button
        type="button"
        className="button button-small"
        disabled={!connected}
        title={connected ? 'Run turn again… (T)' : 'Not connected'}
        onClick={() => ask({ verb: 'retry-turn', id, incarnation })}
      >
        Run again…
      </button>
      <button
        type="button"
        className="button button-small button-danger-quiet"
        disabled={!connected}
        title={connected ? 'Skip message… (X)' : 'Not connected'}
        onClick={() => ask({ verb: 'skip-message', id, incarnation })}
      >
        Skip…
      </button>
      <button
        type="button"
        className="button button-small button-danger-quiet"
        disabled={!connected}
        title={connected ? 'Cancel operation… (C)' : 'Not connected'}
        onClick={() => ask({ verb: 'cancel', id, incarnation })}
      >
        Cancel…
      </button>
    </span>
  )
}

function MailboxGauge({ row }: { row: ProcessDetail }) {
  const samples = useSamples(row.id, row.mailbox)
  return (
    <section className="gauge" aria-label="Mailbox">
      <div>
        <span className="gauge-value">{countText(row.mailbox)}</span>
        <span className="dim">{row.mailboxLimit === 0 ? '' : ` of ${countText(row.mailboxLimit)}`} in the mailbox</span>
      </div>
      <Sparkline
        values={samples}
        slots={SAMPLES}
        label={`Mailbox over the last ${samples.length} s, now ${row.mailbox}`}
      />
    </section>
  )
}

/** One sample a second of a number that changes at its own pace. */
function useSamples(id: string, value: number): readonly number[] {
  const now = useNow()
  const [samples, setSamples] = useState<readonly number[]>([])
  const latest = useRef(value)
  latest.current = value
  // biome-ignore lint/correctness/useExhaustiveDependencies: another process starts anew
  useEffect(() => setSamples([]), [id])
  // biome-ignore lint/correctness/useExhaustiveDependencies: the tick is what asks for a sample
  useEffect(() => setSamples((was) => [...was, latest.current].slice(-SAMPLES)), [now])
  return samples
}

function Optional({ title, ids, plain = false }: { title: string; ids: readonly string[]; plain?: boolean }) {
  if (ids.length === 0) return null
  return (
    <>
      <dt>{title}</dt>
      <dd className="names">
        {ids.map((id) => (plain ? <code key={id}>{id}</code> : <ProcessLink key={id} id={id} />))}
      </dd>
    </>
  )
}
