/** A JSON value as a virtual tree: any size, only the visible lines are elements. */
import { useVirtualizer } from '@tanstack/react-virtual'
import { type KeyboardEvent, useId, useMemo, useRef, useState } from 'react'
import { useCssVars } from './css-var.ts'
import { type JsonLine, jsonLines, type Mark } from './json-node.ts'

const LINE_PX = 22
const NO_MARKS: ReadonlyMap<string, Mark> = new Map()

type JsonTreeProps = { value: unknown; label: string; marks?: ReadonlyMap<string, Mark>; compact?: boolean }

export function JsonTree({ value, label, marks = NO_MARKS, compact = false }: JsonTreeProps) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set())
  const [whole, setWhole] = useState<ReadonlySet<string>>(new Set())
  const [active, setActive] = useState(0)
  const prefix = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const spacer = useRef<HTMLDivElement>(null)
  const rows = useRef<HTMLDivElement>(null)
  const lines = useMemo(() => jsonLines(value, { toggled, whole, marks }), [value, toggled, whole, marks])
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE_PX,
    overscan: 10,
  })
  const items = virtual.getVirtualItems()
  useCssVars(spacer, { '--height': `${virtual.getTotalSize()}px` })
  useCssVars(rows, { '--top': `${items[0]?.start ?? 0}px` })
  useCssVars(scroller, { '--lines': String(lines.length) })

  const act = (line: JsonLine) => {
    if (line.tone === 'more') setWhole((was) => new Set(was).add(line.path))
    else if (line.open !== null) setToggled((was) => flipped(was, line.path))
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const next = nextActive(event.key, active, lines)
    const line = lines[active]
    if (next !== null) {
      setActive(next)
      virtual.scrollToIndex(next)
    } else if (line !== undefined && turns(event.key, line)) act(line)
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div
      ref={scroller}
      className={compact ? 'json-tree json-compact' : 'json-tree'}
      role="tree"
      aria-label={label}
      tabIndex={0}
      aria-activedescendant={`${prefix}-${active}`}
      onKeyDown={onKeyDown}
    >
      <div ref={spacer} className="virtual-space" role="presentation">
        <div ref={rows} className="virtual-rows" role="presentation">
          {items.map((item) => {
            const line = lines[item.index]
            return line === undefined ? null : (
              <Line
                key={`${line.path}${line.tone}`}
                id={`${prefix}-${item.index}`}
                line={line}
                active={item.index === active}
                onPress={() => {
                  setActive(item.index)
                  act(line)
                }}
              />
            )
          })}
        </div>
      </div>
    </div>
  )
}

type LineProps = { id: string; line: JsonLine; active: boolean; onPress: () => void }

function Line({ id, line, active, onPress }: LineProps) {
  const mark = line.mark === null ? '' : ` json-${line.mark}`
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles keys for its active line
    <div
      id={id}
      role="treeitem"
      tabIndex={-1}
      aria-level={line.depth + 1}
      aria-expanded={line.open ?? undefined}
      aria-selected={active}
      data-depth={Math.min(line.depth, 16)}
      className={`json-line${mark}`}
      title={line.path}
      onClick={onPress}
    >
      <span className={line.open === null ? 'twisty twisty-none' : `twisty${line.open ? ' twisty-open' : ''}`} />
      {line.name === '' ? null : <span className="json-name">{line.name}</span>}
      <span className={`json-${line.tone}`}>{line.text}</span>
      {line.mark === null ? null : <span className="json-mark">{line.mark}</span>}
    </div>
  )
}

function nextActive(key: string, active: number, lines: readonly JsonLine[]): number | null {
  const line = lines[active]
  if (key === 'ArrowDown') return Math.min(lines.length - 1, active + 1)
  if (key === 'ArrowUp') return Math.max(0, active - 1)
  if (key === 'Home') return 0
  if (key === 'End') return lines.length - 1
  if (line === undefined) return null
  if (key === 'ArrowRight' && line.open === true) return Math.min(lines.length - 1, active + 1)
  if (key === 'ArrowLeft' && line.open !== true) {
    for (let at = active - 1; at >= 0; at--) if ((lines[at]?.depth ?? 0) < line.depth) return at
    return null
  }
  return null
}

function turns(key: string, line: JsonLine): boolean {
  if (key === 'Enter' || key === ' ') return true
  return (key === 'ArrowRight' && line.open === false) || (key === 'ArrowLeft' && line.open === true)
}

function flipped(set: ReadonlySet<string>, path: string): Set<string> {
  const next = new Set(set)
  if (!next.delete(path)) next.add(path)
  return next
}
