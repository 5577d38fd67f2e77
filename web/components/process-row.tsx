/** The cells of one process; the table row around them is the table's. */
import { memo } from 'react'
import { PROCESS_STATUSES, type ProcessRow, type ProcessStatus } from '../../shared/snapshot.ts'
import { useFeed } from '../feed/hooks.ts'
import { workText } from '../ui/duration.ts'
import { useNow } from '../ui/now.ts'
import { countText, shortText } from '../ui/quantity.ts'
import { ProcessName } from './process-name.tsx'
import { SandboxBadge } from './sandbox-badge.tsx'
import { Status, StatusMark } from './status.tsx'
import { waitLine } from './wait.ts'

type ProcessCellsProps = { row: ProcessRow; open: boolean | undefined; onToggle: (open: boolean) => void }

/** Messages in a mailbox from which the number is set in the warning colour. */
const MAILBOX_HIGH = 100

export const ProcessCells = memo(function ProcessCells({ row, open, onToggle }: ProcessCellsProps) {
  return (
    <>
      <div role="gridcell" className="cell cell-name">
        <Twisty open={open} onToggle={onToggle} />
        <ProcessName id={row.id} />
        {row.sandbox === undefined ? null : <SandboxBadge of={row.sandbox} inRow />}
        {row.strategy === null ? null : <span className="strategy">{row.strategy.replaceAll('_', ' ')}</span>}
        {row.children > 0 ? <span className="child-count">{countText(row.children)}</span> : null}
      </div>
      <div role="gridcell" className="cell cell-status">
        <Status status={row.status} />
      </div>
      <div role="gridcell" className="cell cell-wait">
        {open === false ? <FoldedLine row={row} /> : <WaitCell row={row} />}
      </div>
      <Numeric id="mailbox" value={row.mailbox} alarm={row.mailbox >= MAILBOX_HIGH} />
      <Numeric id="turns" value={row.turns} />
      <div role="gridcell" className={`cell cell-busy cell-end${row.busyMs === 0 ? ' zero' : ''}`}>
        {workText(row.busyMs)}
      </div>
      <Numeric id="restarts" value={row.restarts} alarm={row.restarts > 2} />
      <Numeric id="failures" value={row.failures} alarm={row.failures > 0} />
    </>
  )
})

function Twisty({ open, onToggle }: Omit<ProcessCellsProps, 'row'>) {
  if (open === undefined) return <span className="twisty twisty-none" />
  return (
    <button
      type="button"
      tabIndex={-1}
      className={open ? 'twisty twisty-open' : 'twisty'}
      aria-label={open ? 'Fold' : 'Unfold'}
      onClick={(event) => {
        event.stopPropagation()
        onToggle(!open)
      }}
    />
  )
}

function WaitCell({ row }: { row: ProcessRow }) {
  useNow()
  const line = waitLine(row, useFeed().now())
  return (
    <span className={line.long ? 'wait wait-long' : 'wait'}>
      {line.text}
      {line.time === null ? null : <span className="wait-time"> · {line.time}</span>}
    </span>
  )
}

/** A folded pool in one line: how many of what. */
function FoldedLine({ row }: { row: ProcessRow }) {
  const tally = tallyOf(row)
  if (tally === null) return <span className="wait">{`${countText(row.children)} inside, folded`}</span>
  return (
    <span className="tally">
      {PROCESS_STATUSES.filter((status) => (tally[status] ?? 0) > 0).map((status) => (
        <span key={status} className={`tally-item st-${status}`}>
          <StatusMark status={status} />
          {shortText(tally[status] ?? 0)} {status}
        </span>
      ))}
    </span>
  )
}

/** Folded rows carry how many of their descendants have which status. */
function tallyOf(row: ProcessRow): Partial<Record<ProcessStatus, number>> | null {
  const tally: unknown = Reflect.get(row, 'tally')
  return typeof tally === 'object' && tally !== null ? tally : null
}

function Numeric({ id, value, alarm = false }: { id: string; value: number; alarm?: boolean }) {
  return (
    <div role="gridcell" className={`cell cell-${id} cell-end${value === 0 ? ' zero' : ''}${alarm ? ' alarm' : ''}`}>
      {shortText(value)}
    </div>
  )
}
