/** Needs you: what a person should look at, worst first, each one a way there. */
import type { Need } from '../../shared/snapshot.ts'
import { useFeed, useRows, useSubscription, useWindow } from '../feed/hooks.ts'
import { ageText } from '../ui/duration.ts'
import { Link } from '../ui/link.tsx'
import { useNow } from '../ui/now.ts'
import { countText } from '../ui/quantity.ts'
import { StateNote } from '../ui/state-note.tsx'
import { ProcessName } from './process-name.tsx'

const KIND_TITLE: Record<Need['kind'], string> = {
  'gave-up': 'gave up',
  diverged: 'diverged',
  'dead-letter': 'dead letter',
  'crash-loop': 'crash loop',
  stuck: 'stuck',
  mailbox: 'mailbox',
  store: 'store',
  'near-limit': 'near limit',
  suspended: 'suspended',
  thread: 'held thread',
}

/** Needs listed; the rest is counted. */
const SHOWN = 9

export function useNeeds(): readonly (Need & { id: string })[] {
  return useRows<Need & { id: string }>(useSubscription('needs'))
}

export function NeedList() {
  useNow()
  const now = useFeed().now()
  const needs = useNeeds()
  const { loaded } = useWindow(useSubscription('needs'))
  if (!loaded) return <StateNote title="Asking the server…" />
  if (needs.length === 0) {
    return <StateNote title="Nothing needs you.">No process is stuck, failing, or near a limit.</StateNote>
  }
  return (
    <>
      <ul className="needs">
        {needs.slice(0, SHOWN).map((need) => (
          <li key={need.id}>
            <NeedLink need={need}>
              <span className={`need-kind need-${need.severity}`}>{KIND_TITLE[need.kind]}</span>
              <span className="need-what" title={need.text}>
                {need.process === null || namesItself(need) ? null : <ProcessName id={need.process} />}
                <span className="need-text">{textWithoutName(need)}</span>
              </span>
              <span className="need-age">{ageText(now - need.since)}</span>
            </NeedLink>
          </li>
        ))}
      </ul>
      {needs.length > SHOWN ? <p className="dim more-line">and {countText(needs.length - SHOWN)} more</p> : null}
    </>
  )
}

/** A text that tells of the process in its middle needs no name before it. */
function namesItself({ process, text }: Need): boolean {
  return process !== null && text.indexOf(process) > 0
}

/** The name is shown before the text already. */
function textWithoutName({ process, text }: Need): string {
  return process !== null && text.startsWith(`${process} `) ? text.slice(process.length + 1) : text
}

function NeedLink({ need, children }: { need: Need; children: React.ReactNode }) {
  if (need.kind === 'dead-letter') {
    return (
      <Link to="failures" search={{ tab: 'dead-letters' }} className="need">
        {children}
      </Link>
    )
  }
  if (need.process === null) return <div className="need">{children}</div>
  const tab =
    need.kind === 'crash-loop' || need.kind === 'diverged'
      ? 'failures'
      : need.kind === 'mailbox'
        ? 'mailbox'
        : undefined
  return (
    <Link to="agents" search={{ sel: need.process, tab }} className="need">
      {children}
    </Link>
  )
}
