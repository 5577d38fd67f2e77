/** The list is empty: because of the filter, or because nothing runs yet. */
import { StateNote } from '../ui/state-note.tsx'

const SNIPPET = `const runtime = await createRuntime({
  root: supervisor({ children: [greeter.child('ada')] }),
})`

export function ListNote({ query, onClear }: { query: string; onClear: () => void }) {
  if (query === '') {
    return (
      <StateNote title="No processes yet.">
        <p>They appear here as they start. A tree begins like this:</p>
        <pre className="preview">{SNIPPET}</pre>
      </StateNote>
    )
  }
  return (
    <StateNote title="Nothing matches.">
      <p>
        No process fits <code>{query}</code>.
      </p>
      <button type="button" className="button" onClick={onClear}>
        Clear the filter
      </button>
    </StateNote>
  )
}
