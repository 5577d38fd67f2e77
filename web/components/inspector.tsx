/** Everything about one process: header with verbs, and tabs. Drawer and full page show the same. */
import { useEffect, useState } from 'react'
import type { ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection, useFeed, useProblem, useRow, useSubscription, useWindow } from '../feed/hooks.ts'
import { copyText } from '../ui/clipboard.ts'
import { useKeys } from '../ui/keys.ts'
import { Link } from '../ui/link.tsx'
import { useNow } from '../ui/now.ts'
import { StateNote } from '../ui/state-note.tsx'
import { type Tab, Tabs } from '../ui/tabs.tsx'
import { ask, isMendable, type ProcessVerb, VERB_TITLE } from './action.ts'
import { agentPath } from './address.ts'
import { GoneStrip, RebornStrip } from './life-strip.tsx'
import { ProcessName } from './process-name.tsx'
import { SandboxBadge } from './sandbox-badge.tsx'
import { Status } from './status.tsx'
import { FailuresTab } from './tab-failures.tsx'
import { MailboxTab } from './tab-mailbox.tsx'
import { NowTab } from './tab-now.tsx'
import { StateTab } from './tab-state.tsx'
import { TimelineTab } from './tab-timeline.tsx'
import { useVerbKeys, type VerbTarget } from './verb-keys.ts'
import { waitLine } from './wait.ts'

export const INSPECTOR_TABS = ['now', 'timeline', 'state', 'mailbox', 'failures'] as const
export type InspectorTab = (typeof INSPECTOR_TABS)[number]

type InspectorProps = {
  id: string
  tab: string | undefined
  full: boolean
  onTab: (tab: string) => void
  onClose: () => void
}

export function Inspector({ id, tab, full, onTab, onClose }: InspectorProps) {
  const subscription = useSubscription(`process:${id}`)
  const row = useRow<ProcessDetail>(subscription, id)
  const problem = useProblem(subscription)
  const loaded = useWindow(subscription).loaded
  const last = useLast(id, row)
  useInspectorKeys(row, onTab)
  if (last === undefined) {
    return <Missing id={id} text={problem?.detail ?? null} loaded={loaded} onClose={onClose} />
  }
  const tabs = tabsOf(last)
  const current: InspectorTab =
    INSPECTOR_TABS.find((each) => each === tab && tabs.some(({ id: has }) => has === each)) ?? 'now'
  const gone = row === undefined || row.status === 'exited'
  const discarded = loaded && row === undefined && last.sandbox !== undefined
  return (
    <article className={`inspector${gone ? ' inspector-gone' : ''}`} aria-label={`Inspector of ${id}`}>
      <Head row={last} gone={gone} discarded={discarded} full={full} onClose={onClose} />
      {gone ? <GoneStrip row={last} discarded={discarded} /> : null}
      <RebornStrip key={id} row={last} gone={gone} onFailures={() => onTab('failures')} />
      <Tabs label={`Details of ${id}`} tabs={tabs} current={current} onChange={onTab}>
        {current === 'now' ? <NowTab row={last} /> : null}
        {current === 'timeline' ? <TimelineTab row={last} /> : null}
        {current === 'state' ? <StateTab key={id} row={last} /> : null}
        {current === 'mailbox' ? <MailboxTab row={last} /> : null}
        {current === 'failures' ? <FailuresTab row={last} /> : null}
      </Tabs>
    </article>
  )
}

/** The newest detail seen of this process: a process that vanished stays readable. */
function useLast(id: string, row: ProcessDetail | undefined): ProcessDetail | undefined {
  const [last, setLast] = useState(row)
  useEffect(() => {
    if (row !== undefined) setLast(row)
  }, [row])
  const candidate = row ?? last
  return candidate?.id === id ? candidate : undefined
}

type HeadProps = { row: ProcessDetail; gone: boolean; discarded: boolean; full: boolean; onClose: () => void }

function Head({ row, gone, discarded, full, onClose }: HeadProps) {
  useNow()
  const line = waitLine(row, useFeed().now())
  return (
    <header className="inspector-head">
      <div className="inspector-title">
        <h2>
          <ProcessName id={row.id} />
        </h2>
        {row.sandbox === undefined ? null : <SandboxBadge of={row.sandbox} />}
        {full ? null : (
          <Link to={agentPath(row.id)} className="icon-button" title="Full page (f)">
            <svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14" fill="none" stroke="currentColor">
              <path d="M8 2h4v4M12 2 7.5 6.5M6 12H2V8M2 12l4.5-4.5" />
            </svg>
            <span className="sr-only">Full page</span>
          </Link>
        )}
        <button
          type="button"
          className="icon-button"
          aria-label="Close inspector"
          title="Close (Esc)"
          onClick={onClose}
        >
          ×
        </button>
      </div>
      {discarded ? null : (
        <p className="inspector-line">
          <Status status={row.status} />
          <span className={line.long ? 'wait wait-long' : 'wait'}>
            {line.text}
            {line.time === null ? null : <span className="wait-time"> · {line.time}</span>}
          </span>
        </p>
      )}
      {discarded ? null : <Verbs row={row} gone={gone} />}
    </header>
  )
}

const HEADER_VERBS: readonly { verb: ProcessVerb; key: string }[] = [
  { verb: 'answer', key: 'A' },
  { verb: 'send', key: 'M' },
  { verb: 'suspend', key: 'P' },
  { verb: 'restart', key: 'R' },
  { verb: 'stop', key: 'S' },
  { verb: 'fork', key: 'F' },
  { verb: 'kill', key: 'K' },
  { verb: 'discard', key: 'Del' },
]

/** Verbs that need no living process. */
const ALSO_GONE: ReadonlySet<ProcessVerb> = new Set(['restart', 'fork', 'discard'])
const DANGEROUS: ReadonlySet<ProcessVerb> = new Set(['kill', 'discard'])

function isOffered(row: ProcessDetail, verb: ProcessVerb): boolean {
  switch (verb) {
    case 'send':
      return takesMessages(row)
    case 'answer':
      return row.answerable !== undefined
    case 'fork':
      return isMendable(row)
    case 'discard':
      return row.sandbox !== undefined
    default:
      return true
  }
}

function Verbs({ row, gone }: { row: ProcessDetail; gone: boolean }) {
  const connected = useConnection().kind === 'live'
  return (
    <div className="verbs" role="group" aria-label="Actions">
      {HEADER_VERBS.filter(({ verb }) => isOffered(row, verb)).map(({ verb, key }) => {
        const real = verb === 'suspend' && row.desired === 'suspended' ? 'resume' : verb
        return (
          <button
            key={verb}
            type="button"
            className={`button button-small${DANGEROUS.has(verb) ? ' button-danger-quiet' : ''}`}
            disabled={!connected || (gone && !ALSO_GONE.has(verb))}
            title={connected ? `${VERB_TITLE[real]}… (${key})` : 'Not connected'}
            onClick={() => ask({ verb: real, id: row.id, incarnation: row.incarnation })}
          >
            {VERB_TITLE[real]}…
          </button>
        )
      })}
    </div>
  )
}

function takesMessages(row: ProcessDetail): boolean {
  return row.ops.some((op) => op.kind === 'handler')
}

function Missing({
  id,
  text,
  loaded,
  onClose,
}: {
  id: string
  text: string | null
  loaded: boolean
  onClose: () => void
}) {
  return (
    <article className="inspector" aria-label={`Inspector of ${id}`}>
      <header className="inspector-head">
        <div className="inspector-title">
          <h2>
            <ProcessName id={id} />
          </h2>
          <button type="button" className="icon-button" aria-label="Close inspector" onClick={onClose}>
            ×
          </button>
        </div>
      </header>
      {text === null && !loaded ? (
        <StateNote title="Asking the server…" />
      ) : (
        <StateNote title={`There is no process ${id}.`}>
          {text ?? 'It may have ended before this page was opened. Its failures and audit entries are still there.'}
        </StateNote>
      )}
    </article>
  )
}

function useInspectorKeys(row: ProcessDetail | undefined, onTab: (tab: string) => void): void {
  const tabKeys = INSPECTOR_TABS.map((tab, index) => [`Alt+Digit${index + 1}`, () => onTab(tab)])
  useKeys({
    ...Object.fromEntries(tabKeys),
    'Shift+Y': () => row !== undefined && void copyText(row.id, 'Id'),
  })
  useVerbKeys(row === undefined ? null : targetOf(row))
}

function targetOf(row: ProcessDetail): VerbTarget {
  const { id, incarnation, desired } = row
  return {
    ...{ id, incarnation, suspended: desired === 'suspended', takesMessages: takesMessages(row) },
    ...{ mendable: isMendable(row), answerable: row.answerable !== undefined, sandbox: row.sandbox !== undefined },
  }
}

function tabsOf(row: ProcessDetail): Tab[] {
  const tabs: Tab[] = [
    { id: 'now', title: 'Now' },
    { id: 'timeline', title: 'Timeline' },
    { id: 'state', title: 'State', badge: row.stateVersion > 0 ? `v${row.stateVersion}` : undefined },
    { id: 'mailbox', title: 'Mailbox', badge: row.mailbox > 0 ? String(row.mailbox) : undefined },
    { id: 'failures', title: 'Failures', badge: row.failures > 0 ? String(row.failures) : undefined },
  ]
  // A supervisor's state is in `now`; one that is stored has a journal: what started, ended and was stopped below it,
  // and at whose word.
  if (row.kind === 'supervisor') return tabs.filter(({ id }) => id !== 'state' && (id !== 'timeline' || row.durable))
  return tabs
}
