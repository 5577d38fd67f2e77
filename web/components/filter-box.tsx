/** The query: one language for list, links and API. Sent to the server shortly after typing stops. */
import { type KeyboardEvent, useEffect, useRef, useState } from 'react'

/** Milliseconds without typing before the list changes. */
const SETTLE_MS = 150

type FilterBoxProps = { query: string; problem: string | null; onQuery: (query: string) => void; onLeave: () => void }

export function FilterBox({ query, problem, onQuery, onLeave }: FilterBoxProps) {
  const [text, setText] = useState(query)
  const typed = useRef(query)
  useEffect(() => {
    // The address changed without typing: a link, or back.
    if (query !== typed.current) {
      typed.current = query
      setText(query)
    }
  }, [query])
  useEffect(() => {
    if (text === typed.current) return
    const timer = setTimeout(() => {
      typed.current = text
      onQuery(text)
    }, SETTLE_MS)
    return () => clearTimeout(timer)
  }, [text, onQuery])
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' && event.key !== 'Enter') return
    event.preventDefault()
    event.stopPropagation()
    if (event.key === 'Escape' && text !== '') setText('')
    else onLeave()
  }
  return (
    <div className="filter">
      <label className="sr-only" htmlFor="filter">
        Filter processes
      </label>
      <input
        id="filter"
        type="search"
        className="filter-input"
        placeholder="Filter: text, status:waiting, agent:order, mailbox>10, wait.age>60s"
        autoComplete="off"
        spellCheck={false}
        value={text}
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : 'filter-problem'}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {text === '' ? <kbd className="filter-key">/</kbd> : null}
      {problem === null ? null : (
        <p id="filter-problem" className="field-problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  )
}
