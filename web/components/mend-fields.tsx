/** What verbs over time ask for besides the reason: the new state, where to begin again, where to go back to. */
import { useEffect } from 'react'
import type { StateSnapshot } from '../../shared/snapshot.ts'
import { useBlob } from '../feed/hooks.ts'

/** Bytes. A frame of the feed has room for 256 KiB in all; larger states are edited over HTTP. */
const STATE_BYTES_MAX = 200_000

/** The state as its operator wants it. `version` is what he read, null until it is there; `newest` what it is now. */
export type Edited = {
  version: number | null
  newest: number | null
  text: string
  value: unknown
  problem: string | null
}

export const NOTHING_EDITED: Edited = { version: null, newest: null, text: '', value: null, problem: null }

/** Why it cannot be sent. A text that would be refused is not given away with its sheet. */
export function editProblem({ version, newest, problem }: Edited): string | null {
  if (version === null) return 'The state is not there yet.'
  if (version === newest) return problem
  return `It is version ${newest} by now. Keep what you changed, load that version and change it there.`
}

type StateFieldProps = { id: string; stateVersion: number; edited: Edited; onChange: (edited: Edited) => void }

/** Loaded once: what the process does meanwhile is told, never typed over. */
export function StateField({ id, stateVersion, edited, onChange }: StateFieldProps) {
  const { blob, problem } = useBlob(`state:${id}`, stateVersion)
  const snapshot = blob === null ? null : (blob.body as StateSnapshot) // `state:` references promise it
  const tooLarge = blob !== null && (blob.truncated || blob.bytes > STATE_BYTES_MAX)
  const load = () => {
    if (snapshot !== null) onChange(loaded(snapshot))
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: the first value is taken, later ones when asked for
  useEffect(() => {
    if (snapshot === null || tooLarge) return
    if (edited.version === null) load()
    else if (edited.newest !== snapshot.version) onChange({ ...edited, newest: snapshot.version })
  }, [snapshot])
  if (problem !== null) return <p className="field-problem">{problem.detail}</p>
  if (tooLarge) return <p className="field-problem">The state is too large to be edited here. Use viv edit.</p>
  return (
    <div className="field">
      <label htmlFor="state">
        State <span className="dim">{edited.version === null ? 'JSON' : `JSON, version ${edited.version}`}</span>
      </label>
      {edited.newest !== edited.version ? (
        <div className="strip strip-warning" role="alert">
          <span>It is version {edited.newest} now: what you edit would be refused.</span>
          <button type="button" className="button button-small" onClick={load}>
            Load version {edited.newest}
          </button>
        </div>
      ) : null}
      <textarea
        id="state"
        className="code"
        rows={14}
        spellCheck={false}
        data-first-focus
        readOnly={edited.version === null}
        value={edited.text}
        onChange={(event) => onChange({ ...edited, ...parsed(event.target.value) })}
      />
      {edited.problem === null ? null : <p className="field-problem">{edited.problem}</p>}
    </div>
  )
}

function loaded({ version, value }: StateSnapshot): Edited {
  return { version, newest: version, text: JSON.stringify(value, null, 2), value, problem: null }
}

function parsed(text: string): Pick<Edited, 'text' | 'value' | 'problem'> {
  try {
    return { text, value: JSON.parse(text), problem: null }
  } catch (error) {
    return { text, value: null, problem: error instanceof Error ? `Not JSON: ${error.message}` : 'Not JSON.' }
  }
}

type StepFieldProps = { text: string; onChange: (text: string) => void }

export function StepField({ text, onChange }: StepFieldProps) {
  return (
    <div className="field">
      <label htmlFor="step">
        From result <span className="dim">a number; empty is from the start, or from the last checkpoint</span>
      </label>
      <input id="step" inputMode="numeric" value={text} onChange={(event) => onChange(event.target.value)} />
      {stepProblem(text) === null ? null : <p className="field-problem">{stepProblem(text)}</p>}
    </div>
  )
}

export function stepProblem(text: string): string | null {
  return /^([1-9]\d{0,8})?$/.test(text.trim()) ? null : 'Give the number of a result, 1 or more, or nothing.'
}
