/**
 * The one table: a virtual grid whose rows may form a tree. It knows columns and rows by index, no domain.
 *
 * - Only visible rows are elements (about 60), whatever the count; positions are custom properties of one element.
 * - The grid is one stop in the tab order; `cursor` is the row that keys act on.
 */
import { useVirtualizer } from '@tanstack/react-virtual'
import { type KeyboardEvent, type ReactNode, useEffect, useRef } from 'react'
import { useCssVars } from './css-var.ts'

export type Column = {
  id: string
  title: string
  /** Sort key; columns without one are not sortable. */
  sort?: string
  align?: 'end'
  hint?: string
}

export type Sort = { by: string; dir: 'asc' | 'desc' }

type TableProps = {
  label: string
  role: 'grid' | 'treegrid'
  className: string
  columns: readonly Column[]
  count: number
  sort: Sort | null
  onSort: (by: string) => void
  /** Index that keys act on, -1 for none, and the element id of its row. */
  cursor: number
  cursorId: string | undefined
  /** The cursor was moved by a key: bring it into view. Rows that move by themselves must not move the reader. */
  follow: boolean
  onKeyDown: (event: KeyboardEvent) => void
  /** Visible range [from, to), with overscan. */
  onRange: (from: number, to: number) => void
  onHover: (over: boolean) => void
  row: (index: number) => ReactNode
}

export const ROW_PX = 30
const OVERSCAN = 8

export function Table(props: TableProps) {
  const { label, role, columns, count, cursor, cursorId, follow, onKeyDown, onRange, onHover, row } = props
  const scroller = useRef<HTMLDivElement>(null)
  const spacer = useRef<HTMLDivElement>(null)
  const rows = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: OVERSCAN,
    scrollPaddingStart: ROW_PX,
    useFlushSync: false,
  })
  const items = virtual.getVirtualItems()
  const first = items[0]
  useCssVars(spacer, { '--height': `${virtual.getTotalSize()}px` })
  useCssVars(rows, { '--top': `${first?.start ?? 0}px` })
  const from = first?.index ?? 0
  const to = (items.at(-1)?.index ?? -1) + 1
  useEffect(() => onRange(from, to), [onRange, from, to])
  useEffect(() => {
    if (follow && cursor >= 0) virtual.scrollToIndex(cursor, { align: 'auto' })
  }, [cursor, follow, virtual])
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the role is grid or treegrid, which both take keys
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: as above; both have rows, columns and an active descendant
    <div
      ref={scroller}
      className={`table ${props.className}`}
      role={role}
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
      aria-activedescendant={cursorId}
      tabIndex={0}
      onKeyDown={onKeyDown}
      onPointerEnter={() => onHover(true)}
      onPointerLeave={() => onHover(false)}
    >
      <Head columns={columns} sort={props.sort} onSort={props.onSort} />
      <div ref={spacer} className="virtual-space" role="rowgroup">
        <div ref={rows} className="virtual-rows" role="presentation">
          {items.map((item) => row(item.index))}
        </div>
      </div>
    </div>
  )
}

function Head({ columns, sort, onSort }: Pick<TableProps, 'columns' | 'sort' | 'onSort'>) {
  return (
    <div className="table-head" role="rowgroup">
      <div className="table-row" role="row" aria-rowindex={1}>
        {columns.map((column) => (
          <HeadCell key={column.id} column={column} sort={sort} onSort={onSort} />
        ))}
      </div>
    </div>
  )
}

function HeadCell({ column, sort, onSort }: { column: Column } & Pick<TableProps, 'sort' | 'onSort'>) {
  const by = column.sort
  const sorted = by !== undefined && sort?.by === by ? sort.dir : null
  return (
    <div
      role="columnheader"
      className={`cell cell-${column.id}${column.align === 'end' ? ' cell-end' : ''}`}
      aria-sort={sorted === null ? undefined : sorted === 'asc' ? 'ascending' : 'descending'}
      title={column.hint}
    >
      {by === undefined ? (
        column.title
      ) : (
        <button type="button" className="head-button" tabIndex={-1} onClick={() => onSort(by)}>
          {column.title}
          <span className={sorted === null ? 'sort-mark' : `sort-mark sort-${sorted}`} aria-hidden="true" />
        </button>
      )}
    </div>
  )
}
