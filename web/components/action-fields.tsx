/** What a verb asks for besides the reason, what is missing of it, and how it is sent. */
import type { ProcessDetail } from '../../shared/snapshot.ts'
import type { Action, Asked, ProcessVerb } from './action.ts'
import { BlastRadiusView } from './blast-radius.tsx'
import { type Edited, editProblem, NOTHING_EDITED, StateField, StepField, stepProblem } from './mend-fields.tsx'
import { type Message, MessageFields } from './message-fields.tsx'
import {
  type Answer,
  AnswerFields,
  answerFields,
  answerProblem,
  type Forked,
  ForkFields,
  forkFields,
  forkProblem,
} from './turn-fields.tsx'

type Open = NonNullable<Asked>

/** Everything typed into the sheet, whatever verb is chosen: changing the verb loses nothing. */
export type Given = { message: Message; edited: Edited; step: string; forked: Forked; answer: Answer }

export function nothingGiven({ version, request }: Open): Given {
  return {
    message: { op: '', text: '', args: null, problem: null },
    edited: NOTHING_EDITED,
    step: '',
    forked: {
      from: version === undefined ? 'now' : 'version',
      version: version === undefined ? '' : `${version}`,
      as: '',
    },
    answer: { request: request ?? null, kind: 'value', value: '', error: '' },
  }
}

/** Verbs whose audit must say why. */
const REASON_NEEDED: ReadonlySet<ProcessVerb> = new Set(['kill', 'cancel', 'discard'])

export function needsReason(verb: ProcessVerb): boolean {
  return REASON_NEEDED.has(verb)
}

type Ready = { id: string; verb: ProcessVerb; reason: string; given: Given; row: ProcessDetail | undefined }

/** Null when it can be sent. */
export function missingText({ id, verb, reason, given, row }: Ready): string | null {
  if (needsReason(verb) && reason.trim() === '') return 'Say why: the audit needs a reason for this.'
  switch (verb) {
    case 'send':
      return given.message.op === '' ? 'Choose what to send.' : given.message.problem
    case 'edit-state':
      return editProblem(given.edited)
    case 'retry-turn':
      return stepProblem(given.step)
    case 'fork':
      return forkProblem(given.forked, id)
    case 'answer':
      if ((row?.answerable ?? []).length === 0) return 'It waits for no answer any more. Nothing was sent.'
      return answerProblem(given.answer)
    default:
      return null
  }
}

export function fieldsOf(
  verb: ProcessVerb,
  given: Given,
  { asked, row }: { asked: Open; row: ProcessDetail | undefined },
) {
  const { message, edited, step } = given
  const fields = (more: Partial<Action>): Partial<Action> => more
  switch (verb) {
    case 'send':
      return fields({ op: message.op, args: message.args })
    case 'edit-state':
      return fields({ args: edited.value, expectedVersion: edited.version ?? 0 })
    case 'rewind':
      return fields({ version: asked.version ?? 0 })
    case 'retry-turn':
      return fields(step.trim() === '' ? {} : { step: Number(step) })
    case 'cancel':
      return fields(asked.message === undefined ? {} : { message: asked.message.id })
    case 'fork':
      return forkFields(given.forked)
    case 'answer':
      return answerFields(given.answer, row?.answerable ?? [])
    default:
      return fields({})
  }
}

type ActionFieldsProps = {
  asked: Open
  verb: ProcessVerb
  incarnation: number
  row: ProcessDetail | undefined
  given: Given
  onChange: (given: Given) => void
}

export function ActionFields({ asked, verb, incarnation, row, given, onChange }: ActionFieldsProps) {
  const { id } = asked
  const plan = <BlastRadiusView verb={verb} target={id} incarnation={incarnation} />
  switch (verb) {
    case 'send':
      return (
        <MessageFields
          ops={row?.ops ?? []}
          message={given.message}
          onChange={(message) => onChange({ ...given, message })}
        />
      )
    case 'edit-state':
      return (
        <StateField
          id={id}
          stateVersion={row?.stateVersion ?? 0}
          edited={given.edited}
          onChange={(edited) => onChange({ ...given, edited })}
        />
      )
    case 'retry-turn':
      return (
        <>
          <StepField text={given.step} onChange={(step) => onChange({ ...given, step })} />
          {plan}
        </>
      )
    case 'cancel':
      return asked.message === undefined ? plan : <TakenBack op={asked.message.op} />
    case 'fork':
      return (
        <>
          <ForkFields row={row} id={id} forked={given.forked} onChange={(forked) => onChange({ ...given, forked })} />
          {given.forked.from === 'now' ? plan : null}
        </>
      )
    case 'answer':
      return (
        <>
          <AnswerFields
            list={row?.answerable ?? []}
            loaded={row !== undefined}
            answer={given.answer}
            onChange={(answer) => onChange({ ...given, answer })}
          />
          {plan}
        </>
      )
    default:
      return plan
  }
}

function TakenBack({ op }: { op: string }) {
  return (
    <section className="blast" aria-label="What this will do">
      <p>
        <code>{op}</code> has not begun: it leaves the mailbox, and its caller hears CANCELLED. Should it begin
        meanwhile, its code hears it at a wait.
      </p>
    </section>
  )
}
