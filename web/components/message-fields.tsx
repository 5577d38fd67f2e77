/** Operation and argument of a message to send. The argument is JSON; empty means null. */
import type { ProcessDetail } from '../../shared/snapshot.ts'

export type Message = { op: string; text: string; args: unknown; problem: string | null }

type MessageFieldsProps = { ops: ProcessDetail['ops']; message: Message; onChange: (message: Message) => void }

export function MessageFields({ ops, message, onChange }: MessageFieldsProps) {
  const handlers = ops.filter((op) => op.kind === 'handler')
  return (
    <div className="field-pair">
      <div className="field">
        <label htmlFor="op">Operation</label>
        <select id="op" value={message.op} onChange={(event) => onChange({ ...message, op: event.target.value })}>
          <option value="">Choose…</option>
          {handlers.map((op) => (
            <option key={op.name} value={op.name}>
              {op.name}
            </option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="args">
          Argument <span className="dim">JSON, empty for none</span>
        </label>
        <textarea
          id="args"
          className="code"
          rows={4}
          spellCheck={false}
          value={message.text}
          onChange={(event) => onChange({ ...message, ...parsed(event.target.value) })}
        />
        {message.problem === null ? null : <p className="field-problem">{message.problem}</p>}
      </div>
    </div>
  )
}

function parsed(text: string): Pick<Message, 'text' | 'args' | 'problem'> {
  if (text.trim() === '') return { text, args: null, problem: null }
  try {
    return { text, args: JSON.parse(text), problem: null }
  } catch (error) {
    return { text, args: null, problem: error instanceof Error ? `Not JSON: ${error.message}` : 'Not JSON.' }
  }
}
