/** Tabs by the book: arrows move, one tab is in the tab order, the panel is named by its tab. */
import { type KeyboardEvent, type ReactNode, useId, useRef } from 'react'

export type Tab = { id: string; title: string; badge?: string | undefined }

type TabsProps = {
  label: string
  tabs: readonly Tab[]
  current: string
  onChange: (id: string) => void
  children: ReactNode
}

export function Tabs({ label, tabs, current, onChange, children }: TabsProps) {
  const prefix = useId()
  const list = useRef<HTMLDivElement>(null)
  const onKeyDown = (event: KeyboardEvent) => {
    const at = tabs.findIndex((tab) => tab.id === current)
    const next = moved(event.key, at, tabs.length)
    const tab = next === null ? undefined : tabs[next]
    if (tab === undefined) return
    event.preventDefault()
    event.stopPropagation()
    onChange(tab.id)
    list.current?.querySelector<HTMLElement>(`[data-tab="${tab.id}"]`)?.focus()
  }
  return (
    <div className="tabs">
      <div role="tablist" aria-label={label} className="tab-list" ref={list} onKeyDown={onKeyDown}>
        {tabs.map((tab) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`${prefix}-${tab.id}`}
            data-tab={tab.id}
            aria-selected={tab.id === current}
            aria-controls={`${prefix}-panel`}
            tabIndex={tab.id === current ? 0 : -1}
            className="tab"
            onClick={() => onChange(tab.id)}
          >
            {tab.title}
            {tab.badge === undefined ? null : <span className="tab-badge">{tab.badge}</span>}
          </button>
        ))}
      </div>
      <div
        role="tabpanel"
        id={`${prefix}-panel`}
        aria-labelledby={`${prefix}-${current}`}
        tabIndex={0}
        className="tab-panel"
      >
        {children}
      </div>
    </div>
  )
}

function moved(key: string, at: number, count: number): number | null {
  switch (key) {
    case 'ArrowRight':
      return (at + 1) % count
    case 'ArrowLeft':
      return (at + count - 1) % count
    case 'Home':
      return 0
    case 'End':
      return count - 1
    default:
      return null
  }
}
