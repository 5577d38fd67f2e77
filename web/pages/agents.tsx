/** Agents: the tree-list with filter, sort and folding; the inspector of the selected process beside it. */
import { Suspense, useCallback, useEffect, useMemo, useState } from 'react'
import type { View } from '../../shared/frame.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'
import { isAnswerable, isMendable } from '../components/action.ts'
import { agentPath } from '../components/address.ts'
import { type AgentsView, agentsViewOf, foldChange } from '../components/agents-view.ts'
import { FilterBox } from '../components/filter-box.tsx'
import { ListNote } from '../components/list-note.tsx'
import { type Cursor, ProcessTable } from '../components/process-table.tsx'
import { useVerbKeys, type VerbTarget } from '../components/verb-keys.ts'
import { useProblem, useSubscription, useWindow } from '../feed/hooks.ts'
import type { Subscription } from '../feed/subscription.ts'
import { Chip } from '../ui/chip.tsx'
import { useKeys } from '../ui/keys.ts'
import { lazyPart } from '../ui/lazy-part.ts'
import { adjust, go, step, usePlace } from '../ui/location.ts'
import { countText } from '../ui/quantity.ts'
import { Segmented } from '../ui/segmented.tsx'

const Inspector = lazyPart(async () => (await import('../components/inspector.tsx')).Inspector)

/** Updates of visible rows a second: more is not read, less feels dead. */
const ROWS_HZ = 2
/** Shown until the first answer. */
const SKELETON_ROWS = 12
const FIRST_WINDOW: [number, number] = [0, 80]

const focusFilter = () => document.getElementById('filter')?.focus()
const focusTable = () => document.querySelector<HTMLElement>('.process-table')?.focus({ preventScroll: true })

export function AgentsPage() {
  const { search } = usePlace()
  const shown = useMemo(() => agentsViewOf(search), [search])
  const selected = search.sel ?? null
  const [window, setWindow] = useState(FIRST_WINDOW)
  const [hovered, setHovered] = useState(false)
  const [held, setHeld] = useState(false)
  const [cursor, setCursor] = useState<Cursor | null>(null)
  const freeze = held || hovered || selected !== null
  const view = useMemo((): View => ({ ...shown.view, window, freeze }), [shown, window, freeze])
  const subscription = useSubscription('processes', view, ROWS_HZ)
  const problem = useProblem(subscription)
  const { counts, loaded } = useWindow(subscription)
  const waiting = problem === null ? SKELETON_ROWS : 0
  const total = loaded ? (counts.rows ?? counts.matched ?? counts.total ?? 0) : waiting

  const open = useCallback((id: string) => (selected === null ? step : adjust)({ sel: id }), [selected])
  const close = useCallback(() => step({ sel: undefined, tab: undefined }), [])
  const moveTo = useCallback(
    (next: Cursor) => {
      setCursor(next)
      // With the drawer open the cursor is the selection, as in a mail client.
      if (selected !== null && next.id !== selected) adjust({ sel: next.id })
    },
    [selected],
  )
  const toggle = useCallback((id: string, opened: boolean) => adjust(foldChange(shown, id, opened)), [shown])
  const onQuery = useCallback((q: string) => adjust({ q }), [])
  const current = cursor ?? (selected === null ? null : cursorAt(selected, subscription.rows.indexOf(selected)))
  useEffect(() => {
    if (selected === null) focusTable()
  }, [selected])
  useVerbKeys(selected === null && current !== null ? targetAt(subscription, current.id) : null)
  const neighbour = (by: number) => {
    const index = (current?.index ?? 0) + by
    const id = subscription.rows.idAt(index)
    if (id !== undefined) moveTo({ id, index, follow: true })
  }
  useKeys({
    '/': focusFilter,
    v: () => adjust({ mode: shown.view.mode === 'flat' ? undefined : 'flat' }),
    Space: () => setHeld(!held),
    Escape: () => (selected === null ? setCursor(null) : close()),
    f: () => selected !== null && go(agentPath(selected), search.tab === undefined ? {} : { tab: search.tab }),
    ']': () => neighbour(1),
    '[': () => neighbour(-1),
  })
  return (
    <div className={selected === null ? 'page page-agents' : 'page page-agents with-drawer'}>
      <section className="list" aria-label="Agents">
        <h1 className="sr-only">Agents</h1>
        <div className="toolbar">
          <FilterBox query={search.q ?? ''} problem={problem?.detail ?? null} onQuery={onQuery} onLeave={focusTable} />
          {loaded ? <Counts shown={shown} counts={counts} total={total} /> : <span className="counts" />}
          {held ? <Chip tone="notice">order held · Space lets go</Chip> : null}
          <Segmented
            label="Shape of the list"
            value={shown.view.mode ?? 'tree'}
            options={[
              { value: 'tree', title: 'Tree' },
              { value: 'flat', title: 'Flat' },
            ]}
            onChange={(mode) => adjust({ mode: mode === 'tree' ? undefined : mode })}
          />
        </div>
        <ProcessTable
          subscription={subscription}
          total={total}
          sort={shown.sort}
          flat={shown.view.mode === 'flat' || shown.sort !== null}
          selected={selected}
          cursor={current}
          onCursor={moveTo}
          onOpen={open}
          onToggle={toggle}
          onSort={(by) => adjust(shown.sortChange(by))}
          onWindow={setWindow}
          onHover={setHovered}
        />
        {loaded && total === 0 ? <ListNote query={search.q ?? ''} onClear={() => adjust({ q: undefined })} /> : null}
      </section>
      {selected === null ? null : (
        <aside className="drawer" aria-label="Inspector">
          <Suspense>
            <Inspector id={selected} tab={search.tab} full={false} onTab={(tab) => adjust({ tab })} onClose={close} />
          </Suspense>
        </aside>
      )}
    </div>
  )
}

type CountsProps = { shown: AgentsView; counts: Readonly<Record<string, number>>; total: number }

function Counts({ shown, counts, total }: CountsProps) {
  const all = counts.total ?? total
  const matched = counts.matched ?? total
  return (
    <span className="counts" role="status">
      {shown.view.q === undefined ? (
        <>
          <b>{countText(all)}</b> processes
        </>
      ) : (
        <>
          <b>{countText(matched)}</b> of {countText(all)}
        </>
      )}
    </span>
  )
}

/** Verbs act on the row under the cursor while no inspector is open; an open one has its own. */
function targetAt(subscription: Subscription, id: string): VerbTarget | null {
  const row = subscription.rows.row(id) as ProcessRow | undefined // the topic promises process rows
  if (row === undefined) return null
  const { incarnation, status, kind } = row
  return {
    ...{ id, incarnation, suspended: status === 'suspended', takesMessages: kind === 'agent' },
    ...{ mendable: isMendable(row), answerable: isAnswerable(row), sandbox: row.sandbox !== undefined },
  }
}

function cursorAt(id: string, index: number): Cursor | null {
  return index < 0 ? null : { id, index, follow: false }
}
