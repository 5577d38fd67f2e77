/**
 * The tree-list of processes. Sorting, filtering and the window are the server's; this shows the window, moves the
 * cursor, and asks for more.
 *
 * - The cursor is a process, not a position: when rows move it stays on its process.
 * - Order is frozen on the server while the pointer is over the list or a row is selected.
 */
import { type KeyboardEvent, memo, useCallback, useEffect, useId, useMemo } from 'react'
import type { View } from '../../shared/frame.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'
import { useRow, useWindow } from '../feed/hooks.ts'
import type { Subscription } from '../feed/subscription.ts'
import { type Column, type Sort, Table } from '../ui/table.tsx'
import { ProcessCells } from './process-row.tsx'

export const PROCESS_COLUMNS: readonly Column[] = [
  { id: 'name', title: 'Process', sort: 'id' },
  { id: 'status', title: 'Status', sort: 'status' },
  { id: 'wait', title: 'Doing or waiting for', sort: 'since', hint: 'Sorts by how long the status holds' },
  { id: 'mailbox', title: 'Mailbox', sort: 'mailbox', align: 'end', hint: 'Messages that wait' },
  { id: 'turns', title: 'Turns', sort: 'turns', align: 'end', hint: 'Messages handled' },
  { id: 'busy', title: 'Busy', sort: 'busyMs', align: 'end', hint: 'Time in its handlers, up to their first await' },
  { id: 'restarts', title: 'Restarts', sort: 'restarts', align: 'end' },
  { id: 'failures', title: 'Failures', sort: 'failures', align: 'end' },
]

/** Rows asked for beyond the visible ones, and the step of the window: scrolling a little asks for nothing. */
const MARGIN = 20
const STEP = 20

/** `follow`: moved by a key, so the list scrolls along. */
export type Cursor = { id: string; index: number; follow: boolean }

type ProcessTableProps = {
  subscription: Subscription
  total: number
  sort: Sort | null
  /** A flat list is not indented. */
  flat: boolean
  selected: string | null
  cursor: Cursor | null
  onCursor: (cursor: Cursor) => void
  onOpen: (id: string) => void
  onToggle: (id: string, open: boolean) => void
  onSort: (by: string) => void
  onWindow: (window: NonNullable<View['window']>) => void
  onHover: (over: boolean) => void
}

export function ProcessTable(props: ProcessTableProps) {
  const { subscription, cursor, onCursor, onOpen, onToggle, onWindow } = props
  const prefix = useId()
  const window = useWindow(subscription)
  const place = useMemo(() => placeOf(subscription, cursor, window.order), [subscription, cursor, window])
  useEffect(() => {
    if (place !== null && cursor !== null && place.index !== cursor.index) onCursor(place)
  }, [place, cursor, onCursor])
  const onRange = useCallback(
    (from: number, to: number) => {
      const start = Math.max(0, Math.floor((from - MARGIN) / STEP) * STEP)
      onWindow([start, Math.ceil((to + MARGIN) / STEP) * STEP])
    },
    [onWindow],
  )
  const move = (index: number) => {
    const bounded = Math.max(0, Math.min(props.total - 1, index))
    const id = subscription.rows.idAt(bounded)
    if (id !== undefined) onCursor({ id, index: bounded, follow: true })
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const command = commandOf(event)
    if (command === null) return
    event.preventDefault()
    const at = cursor?.index ?? -1
    if (typeof command === 'number')
      return move(Number.isFinite(command) ? at + command : command < 0 ? 0 : props.total - 1)
    if (cursor === null) return
    if (command === 'open') return onOpen(cursor.id)
    onToggle(cursor.id, command === 'expand')
  }
  return (
    <Table
      label="Processes"
      role="treegrid"
      className="process-table"
      columns={PROCESS_COLUMNS}
      count={props.total}
      sort={props.sort}
      onSort={props.onSort}
      cursor={cursor?.index ?? -1}
      follow={cursor?.follow ?? false}
      cursorId={cursor === null ? undefined : `${prefix}-${cursor.index}`}
      onKeyDown={onKeyDown}
      onRange={onRange}
      onHover={props.onHover}
      row={(index) => {
        const id = window.order[index - window.from]
        const next = window.order[index - window.from + 1]
        return id === undefined ? (
          <SkeletonRow key={`empty-${index}`} index={index} />
        ) : (
          <TableRow
            key={id}
            elementId={`${prefix}-${index}`}
            subscription={subscription}
            id={id}
            nextId={next}
            index={index}
            flat={props.flat}
            selected={id === props.selected}
            active={id === cursor?.id}
            onCursor={onCursor}
            onOpen={onOpen}
            onToggle={onToggle}
          />
        )
      }}
    />
  )
}

type TableRowProps = {
  elementId: string
  subscription: Subscription
  id: string
  nextId: string | undefined
  index: number
  flat: boolean
  selected: boolean
  active: boolean
} & Pick<ProcessTableProps, 'onCursor' | 'onOpen' | 'onToggle'>

const TableRow = memo(function TableRow(props: TableRowProps) {
  const { subscription, id, nextId, index, onCursor, onOpen, onToggle } = props
  const row = useRow<ProcessRow>(subscription, id)
  const next = useRow<ProcessRow>(subscription, nextId ?? id)
  if (row === undefined) return <SkeletonRow index={index} />
  const open =
    row.children === 0 || props.flat ? undefined : next !== undefined && next !== row && next.depth > row.depth
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid handles keys for the row under its cursor
    <div
      id={props.elementId}
      role="row"
      tabIndex={-1}
      aria-rowindex={index + 2}
      aria-level={props.flat ? 1 : row.depth + 1}
      aria-expanded={open}
      aria-selected={props.selected}
      data-depth={props.flat ? 0 : Math.min(row.depth, 16)}
      className={`table-row process-row st-row-${row.status}${props.active ? ' row-active' : ''}`}
      onClick={(event) => {
        if (event.defaultPrevented) return // a link in the row went elsewhere
        onCursor({ id, index, follow: false })
        onOpen(id)
      }}
    >
      <ProcessCells row={row} open={open} onToggle={(opened) => onToggle(id, opened)} />
    </div>
  )
})

function SkeletonRow({ index }: { index: number }) {
  return (
    <div role="row" aria-rowindex={index + 2} className="table-row row-skeleton">
      <div role="gridcell" className="cell cell-name">
        <span className="skeleton" />
        <span className="sr-only">Row {index + 1} is loading</span>
      </div>
    </div>
  )
}

function placeOf(subscription: Subscription, cursor: Cursor | null, order: readonly string[]): Cursor | null {
  if (cursor === null || order.length === 0) return null
  const index = subscription.rows.indexOf(cursor.id)
  return index < 0 ? null : { id: cursor.id, index, follow: cursor.follow && index === cursor.index }
}

/** Rows to move by, or what to do with the row under the cursor. */
function commandOf(event: KeyboardEvent): number | 'open' | 'expand' | 'collapse' | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null
  switch (event.key) {
    case 'ArrowDown':
    case 'j':
      return 1
    case 'ArrowUp':
    case 'k':
      return -1
    case 'PageDown':
      return 20
    case 'PageUp':
      return -20
    case 'Home':
      return Number.NEGATIVE_INFINITY
    case 'End':
      return Number.POSITIVE_INFINITY
    case 'ArrowRight':
    case 'l':
      return 'expand'
    case 'ArrowLeft':
    case 'h':
      return 'collapse'
    case 'Enter':
      return 'open'
    default:
      return null
  }
}
