/** The sheet every action passes: what, what it would do, why; then Ctrl/⌘+Enter. */
import { type FormEvent, useState } from 'react'
import type { ProcessDetail } from '../../shared/snapshot.ts'
import { useConnection, useFeed, useRow, useSubscription } from '../feed/hooks.ts'
import { Kbd } from '../ui/kbd.tsx'
import { useKeys } from '../ui/keys.ts'
import { Sheet } from '../ui/sheet.tsx'
import {
  type Action,
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
import { BlastRadiusView } from './blast-radius.tsx'
import { type Edited, editProblem, NOTHING_EDITED, StateField, StepField, stepProblem } from './mend-fields.tsx'
import { type Message, MessageFields } from './message-fields.tsx'
import { ProcessName } from './process-name.tsx'

export function ActionSheet({ asked }: { asked: NonNullable<Asked> }) {
  const { id } = asked
  const feed = useFeed()
  const connected = useConnection().kind === 'live'
  const [verb, setVerb] = useState<ProcessVerb>(asked.verb)
  const [reason, setReason] = useState('')
  const [incarnation, setIncarnation] = useState(asked.incarnation)
  const [message, setMessage] = useState<Message>({ op: '', text: '', args: null, problem: null })
  const [edited, setEdited] = useState<Edited>(NOTHING_EDITED)
  const [step, setStep] = useState('')
  const [complaint, setComplaint] = useState<string | null>(null)
  const row = useRow<ProcessDetail>(useSubscription(`process:${id}`), id)
  const reborn = row !== undefined && row.incarnation !== incarnation
  const confirm = () => {
    const missing = missingText({ verb, reason, connected, reborn, message, edited, step })
    setComplaint(missing)
    if (missing !== null) return
    const why = reason.trim()
    if (why !== '') rememberReason(why)
    submit(feed, {
      verb,
      target: id,
      incarnation,
      ...(why === '' ? {} : { reason: why }),
      ...fieldsOf(verb, { asked, message, edited, step }),
    })
    ask(null)
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
        <VerbChoice verbs={verbsFor(asked, row)} verb={verb} onChange={setVerb} />
        <p className="verb-explained">
          {VERB_EXPLAINED[verb]}
          {verb === 'rewind' ? <strong> To version {asked.version}.</strong> : null}
        </p>
        {reborn ? <Reborn now={row.incarnation} onAdopt={() => setIncarnation(row.incarnation)} /> : null}
        {verb === 'send' ? <MessageFields ops={row?.ops ?? []} message={message} onChange={setMessage} /> : null}
        {verb === 'edit-state' ? (
          <StateField id={id} stateVersion={row?.stateVersion ?? 0} edited={edited} onChange={setEdited} />
        ) : null}
        {verb === 'retry-turn' ? <StepField text={step} onChange={setStep} /> : null}
        {verb === 'send' || verb === 'edit-state' ? null : (
          <BlastRadiusView verb={verb} target={id} incarnation={incarnation} />
        )}
        <ReasonField reason={reason} required={verb === 'kill'} onChange={setReason} />
        {complaint === null ? null : (
          <p className="complaint" role="alert">
            {complaint}
          </p>
        )}
        <footer className="sheet-foot">
          <button type="button" className="button" onClick={() => ask(null)}>
            Cancel <Kbd keys="Esc" />
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
const DANGEROUS: ReadonlySet<ProcessVerb> = new Set(['kill', 'stop', 'skip-message'])

function verbsFor({ version }: NonNullable<Asked>, row: ProcessDetail | undefined): ProcessVerb[] {
  const mending = row !== undefined && isMendable(row) ? MEND_VERBS : []
  return [...PROCESS_VERBS, ...mending.filter((verb) => verb !== 'rewind' || version !== undefined)]
}

type Given = { asked: NonNullable<Asked>; message: Message; edited: Edited; step: string }

function fieldsOf(verb: ProcessVerb, { asked, message, edited, step }: Given): Partial<Action> {
  switch (verb) {
    case 'send':
      return { op: message.op, args: message.args }
    case 'edit-state':
      return { args: edited.value, expectedVersion: edited.version ?? 0 }
    case 'rewind':
      return { version: asked.version ?? 0 }
    case 'retry-turn':
      return step.trim() === '' ? {} : { step: Number(step) }
    default:
      return {}
  }
}

type Ready = Omit<Given, 'asked'> & { verb: ProcessVerb; reason: string; connected: boolean; reborn: boolean }

function missingText({ verb, reason, connected, reborn, message, edited, step }: Ready): string | null {
  if (!connected) return 'There is no connection to the server. Nothing was sent.'
  if (reborn) return 'The process was reborn since this sheet opened. Look at the new incarnation first.'
  if (verb === 'kill' && reason.trim() === '') return 'Say why: a kill needs a reason for the audit.'
  if (verb === 'send' && message.op === '') return 'Choose what to send.'
  if (verb === 'send') return message.problem
  if (verb === 'edit-state') return editProblem(edited)
  if (verb === 'retry-turn') return stepProblem(step)
  return null
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
