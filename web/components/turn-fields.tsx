/** What fork and answer ask for besides the reason: which state the copy has, what is given instead of an effect. */
import { fromPlain } from '../../shared/plain.ts'
import type { Answerable, ProcessDetail } from '../../shared/snapshot.ts'
import type { Action } from './action.ts'

/** `now` takes the open turn along; `version` is the state alone. */
export type Forked = { from: 'now' | 'version'; version: string; as: string }

export function forkProblem({ from, version, as }: Forked, id: string): string | null {
  if (from === 'version' && !/^[1-9]\d{0,14}$/.test(version.trim())) {
    return 'Give the number of a version, as the timeline shows them.'
  }
  const agent = id.slice(0, id.indexOf('/') + 1)
  const name = as.trim()
  if (name !== '' && (!name.startsWith(agent) || name === agent))
    return `The id of the copy is ${agent}KEY, or nothing.`
  return null
}

export function forkFields({ from, version, as }: Forked): Partial<Action> {
  const name = as.trim()
  return {
    ...(from === 'version' ? { version: Number(version) } : {}),
    ...(name === '' ? {} : { as: name }),
  }
}

type ForkFieldsProps = { row: ProcessDetail | undefined; id: string; forked: Forked; onChange: (next: Forked) => void }

export function ForkFields({ row, id, forked, onChange }: ForkFieldsProps) {
  const op = row?.current?.op ?? null
  return (
    <>
      <fieldset className="choices">
        <legend>The copy begins with</legend>
        <label className="choice">
          <input
            type="radio"
            name="from"
            checked={forked.from === 'now'}
            onChange={() => onChange({ ...forked, from: 'now' })}
          />
          {op === null ? 'the newest state' : `its open turn ${op}, where that is now`}
        </label>
        <label className="choice">
          <input
            type="radio"
            name="from"
            checked={forked.from === 'version'}
            onChange={() => onChange({ ...forked, from: 'version' })}
          />
          the state of version
          <input
            aria-label="Version"
            className="version-input"
            inputMode="numeric"
            value={forked.version}
            onChange={(event) => onChange({ ...forked, from: 'version', version: event.target.value })}
          />
          <span className="dim">and nothing in hand</span>
        </label>
      </fieldset>
      <div className="field">
        <label htmlFor="as">
          Id of the copy <span className="dim">empty for the first free one of {id}~1, ~2 …</span>
        </label>
        <input
          id="as"
          spellCheck={false}
          autoComplete="off"
          value={forked.as}
          onChange={(event) => onChange({ ...forked, as: event.target.value })}
        />
      </div>
    </>
  )
}

/** `request` is the key of what is answered; null for the oldest. */
export type Answer = { request: string | null; kind: 'value' | 'error'; value: string; error: string }

export function answerProblem({ kind, value, error }: Answer): string | null {
  if (kind === 'error') return error.trim() === '' ? 'Say what went wrong: the code gets it as the error.' : null
  return readValue(value).problem
}

export function answerFields(answer: Answer, list: readonly Answerable[]): Partial<Action> {
  const request = chosen(answer, list)?.key
  return {
    ...(request === undefined ? {} : { request }),
    ...(answer.kind === 'error' ? { error: answer.error.trim() } : { args: readValue(answer.value).value }),
  }
}

function chosen({ request }: Answer, list: readonly Answerable[]): Answerable | undefined {
  return list.find(({ key }) => key === request) ?? (request === null ? list[0] : undefined)
}

/** Read here as the server reads it, so that a text it would refuse is not given away with its sheet. */
function readValue(text: string): { value: unknown; problem: string | null } {
  if (text.trim() === '') return { value: null, problem: 'Give the value as JSON; null is one, too.' }
  try {
    const value: unknown = JSON.parse(text)
    fromPlain(value)
    return { value, problem: null }
  } catch (error) {
    const why = error instanceof Error ? error.message : 'it cannot be read.'
    return { value: null, problem: error instanceof SyntaxError ? `Not JSON: ${why}` : why }
  }
}

type AnswerFieldsProps = {
  list: readonly Answerable[]
  /** Whether it is known what can be answered. */
  loaded: boolean
  answer: Answer
  onChange: (next: Answer) => void
}

export function AnswerFields({ list, loaded, answer, onChange }: AnswerFieldsProps) {
  const item = chosen(answer, list)
  return (
    <>
      {loaded ? <Asked list={list} item={item} onChange={(request) => onChange({ ...answer, request })} /> : null}
      <fieldset className="choices">
        <legend>Its outcome</legend>
        {(['value', 'error'] as const).map((kind) => (
          <label key={kind} className="choice">
            <input
              type="radio"
              name="outcome"
              checked={answer.kind === kind}
              onChange={() => onChange({ ...answer, kind })}
            />
            {kind === 'value' ? 'a value, as if it had been done' : 'an error, as if it had failed for good'}
          </label>
        ))}
      </fieldset>
      <div className="field">
        <label htmlFor="answer">
          {answer.kind === 'value' ? 'Value' : 'Error'}{' '}
          <span className="dim">{answer.kind === 'value' ? 'JSON' : 'text, which the code hears'}</span>
        </label>
        <textarea
          id="answer"
          className={answer.kind === 'value' ? 'code' : undefined}
          rows={4}
          spellCheck={answer.kind === 'error'}
          data-first-focus
          value={answer.kind === 'value' ? answer.value : answer.error}
          onChange={(event) => onChange({ ...answer, [answer.kind]: event.target.value })}
        />
      </div>
    </>
  )
}

type AskedProps = { list: readonly Answerable[]; item: Answerable | undefined; onChange: (key: string) => void }

function Asked({ list, item, onChange }: AskedProps) {
  if (item === undefined) {
    return <p className="complaint">It does not wait for this any more: somebody was faster, or the turn is over.</p>
  }
  return (
    <div className="field">
      {list.length < 2 ? null : (
        <>
          <label htmlFor="request">
            What is answered <span className="dim">{list.length} requests wait</span>
          </label>
          <select id="request" value={item.key} onChange={(event) => onChange(event.target.value)}>
            {list.map(({ key, what }) => (
              <option key={key} value={key}>
                {what} ({key})
              </option>
            ))}
          </select>
        </>
      )}
      <p className="asked-what">
        {item.kind === 'sandbox' ? 'Instead of' : 'Outcome of'} <code>{item.what}</code>
        {item.args === null ? null : <code className="answerable-args">{item.args}</code>}
      </p>
    </div>
  )
}
