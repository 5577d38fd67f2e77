/** The sheet every action passes: what, what it would do, why; then Ctrl/⌘+Enter. */
import { type FormEvent, useState } from 'react'
import type { ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection, useFeed, useRow, useSubscription } from '../feed/hooks.ts'
import { Kbd } from '../ui/kbd.tsx'
import { useKeys } from '../ui/keys.ts'
import { Sheet } from '../ui/sheet.tsx'
import {
  type Asked,
  ask,
  isMendable,
  MEND_VERBS,
  PROCESS_VERBS,
  type ProcessVerb,
  recentReasons,
  rememberReason,
  submit,
  VERB_EXPLAINED,
  VERB_TITLE,
} from './action.ts'
import { ActionFields, fieldsOf, missingText, needsReason, nothingGiven } from './action-fields.tsx'
import { ProcessName } from './process-name.tsx'

export function ActionSheet({ asked }: { asked: NonNullable<Asked> }) {
  const { id } = asked
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const [verb, setVerb] = useState<ProcessVerb>(asked.verb)
  const [reason, setReason] = useState('')
  const [incarnation, setIncarnation] = useState(asked.incarnation)
  const [given, setGiven] = useState(() => nothingGiven(asked))
  const [complaint, setComplaint] = useState<string | null>(null)
  const row = useRow<ProcessDetail>(useSubscription(`process:${id}`), id)
  const reborn = row !== undefined && row.incarnation !== incarnation
  const confirm = () => {
    const missing = awayText(connected, reborn) ?? missingText({ id, verb, reason, given, row })
    setComplaint(missing)
    if (missing !== null) return
    const why = reason.trim()
    if (why !== '') rememberReason(why)
    submit(feed, {
      verb,
      target: id,
      incarnation,
      ...(why === '' ? {} : { reason: why }),
      ...fieldsOf(verb, given, { asked, row }),
    })
    ask(null)
  }
  /** What was complained about may be there now. */
  const changing =
    <T,>(set: (next: T) => void) =>
    (next: T) => {
      setComplaint(null)
      set(next)
    }
  useKeys({ '$mod+Enter': confirm }, true)
  const onSubmit = (event: FormEvent) => {
    event.preventDefault()
    confirm()
  }
  return (
    <Sheet label={`${VERB_TITLE[verb]} ${id}`} onClose={() => ask(null)} className="action-sheet">
      <form onSubmit={onSubmit}>
        <header className="sheet-head">
          <h2>
            {VERB_TITLE[verb]} <ProcessName id={id} />
          </h2>
          <span className="dim">incarnation {incarnation}</span>
        </header>
        <VerbChoice verbs={verbsFor(asked, row)} verb={verb} onChange={changing(setVerb)} />
        <p className="verb-explained">
          {VERB_EXPLAINED[verb]}
          {verb === 'rewind' ? <strong> To version {asked.version}.</strong> : null}
        </p>
        {reborn ? <Reborn now={row.incarnation} onAdopt={() => setIncarnation(row.incarnation)} /> : null}
        <ActionFields {...{ asked, verb, incarnation, row, given }} onChange={changing(setGiven)} />
        <ReasonField reason={reason} required={needsReason(verb)} onChange={changing(setReason)} />
        {complaint === null ? null : (
          <p className="complaint" role="alert">
            {complaint}
          </p>
        )}
        <footer className="sheet-foot">
          <button type="button" className="button" onClick={() => ask(null)}>
            Close <Kbd keys="Esc" />
          </button>
          <button type="submit" className={DANGEROUS.has(verb) ? 'button button-danger' : 'button button-primary'}>
            {VERB_TITLE[verb]} <Kbd keys="$mod Enter" />
          </button>
        </footer>
      </form>
    </Sheet>
  )
}

/** Verbs after which something is gone for good. */
const DANGEROUS: ReadonlySet<ProcessVerb> = new Set(['kill', 'stop', 'skip-message', 'cancel', 'discard'])

/** What can be done now, and whatever the sheet was opened for. */
function verbsFor(
  { verb: wanted, version, message }: NonNullable<Asked>,
  row: ProcessDetail | undefined,
): ProcessVerb[] {
  // One message that waits is what the sheet is about: verbs on the process are none on it.
  if (message !== undefined) return [wanted]
  const mendable = row !== undefined && isMendable(row)
  const list: ProcessVerb[] = [...PROCESS_VERBS]
  if (mendable) list.push(...MEND_VERBS.filter((verb) => verb !== 'rewind' || version !== undefined))
  if (mendable && row.current !== null) list.push('cancel')
  if (mendable) list.push('fork')
  if (row?.answerable !== undefined) list.push('answer')
  if (row?.sandbox !== undefined) list.push('discard')
  return list.includes(wanted) ? list : [...list, wanted]
}

function awayText(connected: boolean, reborn: boolean): string | null {
  if (!connected) return 'There is no connection to the server. Nothing was sent.'
  return reborn ? 'The process was reborn since this sheet opened. Look at the new incarnation first.' : null
}

type VerbChoiceProps = { verbs: readonly ProcessVerb[]; verb: ProcessVerb; onChange: (verb: ProcessVerb) => void }

function VerbChoice({ verbs, verb, onChange }: VerbChoiceProps) {
  return (
    <fieldset className="verb-choice">
      <legend className="sr-only">Action</legend>
      {verbs.map((each) => (
        <label key={each} className={each === verb ? 'verb verb-chosen' : 'verb'}>
          <input type="radio" name="verb" value={each} checked={each === verb} onChange={() => onChange(each)} />
          {VERB_TITLE[each]}
        </label>
      ))}
    </fieldset>
  )
}

function Reborn({ now, onAdopt }: { now: number; onAdopt: () => void }) {
  return (
    <div className="strip strip-warning" role="alert">
      <span>Reborn as incarnation {now} while this sheet was open.</span>
      <button type="button" className="button button-small" onClick={onAdopt}>
        Act on incarnation {now}
      </button>
    </div>
  )
}

type ReasonFieldProps = { reason: string; required: boolean; onChange: (reason: string) => void }

function ReasonField({ reason, required, onChange }: ReasonFieldProps) {
  const [recent] = useState(recentReasons)
  return (
    <div className="field">
      <label htmlFor="reason">
        Reason <span className="dim">{required ? 'required, kept in the audit' : 'kept in the audit'}</span>
      </label>
      <textarea
        id="reason"
        rows={2}
        maxLength={2_000}
        value={reason}
        required={required}
        data-first-focus
        onChange={(event) => onChange(event.target.value)}
      />
      {recent.length === 0 ? null : (
        <div className="recent" role="group" aria-label="Recent reasons">
          {recent.map((each) => (
            <button key={each} type="button" className="recent-reason" onClick={() => onChange(each)}>
              {each}
            </button>
          ))}
        </div>
      )}
    </div>
  )
}
