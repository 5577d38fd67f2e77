/** Go to anything by typing: pages, and processes the server finds. */
import { type KeyboardEvent, useId, useMemo, useState } from 'react'
import type { ProcessRow } from '../../shared/snapshot.ts'
import { useRows, useSubscription } from '../feed/hooks.ts'
import { go } from '../ui/location.ts'
import { Sheet } from '../ui/sheet.tsx'
import { agentPath } from './address.ts'
import { ProcessName } from './process-name.tsx'
import { StatusMark } from './status.tsx'

const FOUND_MAX = 12

type PaletteProps = { pages: readonly { path: string; title: string }[]; onClose: () => void }
type Item = { key: string; path: string; title: string; row: ProcessRow | null }

export function Palette({ pages, onClose }: PaletteProps) {
  const [text, setText] = useState('')
  const [at, setAt] = useState(0)
  const prefix = useId()
  const view = useMemo(
    () => ({ q: text.trim(), mode: 'flat' as const, window: [0, FOUND_MAX] as [number, number] }),
    [text],
  )
  const found = useRows<ProcessRow>(useSubscription('processes', view, 4))
  const items = itemsOf(pages, found, text)
  const active = Math.min(at, items.length - 1)
  const choose = (item: Item | undefined) => {
    if (item === undefined) return
    onClose()
    go(item.path)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setAt(Math.min(items.length - 1, active + 1))
    else if (event.key === 'ArrowUp') setAt(Math.max(0, active - 1))
    else if (event.key === 'Enter') choose(items[active])
    else return
    event.preventDefault()
  }
  return (
    <Sheet label="Go to" onClose={onClose} className="palette">
      <input
        role="combobox"
        aria-label="Page or process"
        aria-expanded="true"
        aria-controls={`${prefix}-list`}
        aria-activedescendant={`${prefix}-${active}`}
        className="palette-input"
        placeholder="Page, process id, or a query such as status:waiting"
        value={text}
        data-first-focus
        onChange={(event) => {
          setText(event.target.value)
          setAt(0)
        }}
        onKeyDown={onKeyDown}
      />
      <ul role="listbox" id={`${prefix}-list`} aria-label="Results" className="palette-list">
        {items.map((item, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input above handles keys for the list
          <li
            key={item.key}
            id={`${prefix}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === active}
            onClick={() => choose(item)}
          >
            {item.row === null ? (
              <>
                <span className="palette-kind">page</span> {item.title}
              </>
            ) : (
              <>
                <StatusMark status={item.row.status} /> <ProcessName id={item.row.id} />
                {item.row.sandbox === undefined ? null : (
                  <span className="sandbox-badge">sandbox of {item.row.sandbox}</span>
                )}
              </>
            )}
          </li>
        ))}
      </ul>
    </Sheet>
  )
}

function itemsOf(pages: PaletteProps['pages'], found: readonly ProcessRow[], text: string): Item[] {
  const needle = text.trim().toLowerCase()
  const matching = pages.filter((page) => page.title.toLowerCase().includes(needle))
  return [
    ...matching.map((page): Item => ({ key: `page-${page.path}`, path: page.path, title: page.title, row: null })),
    ...(needle === '' ? [] : found.map((row): Item => ({ key: row.id, path: agentPath(row.id), title: row.id, row }))),
  ]
}
