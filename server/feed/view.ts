/**
 * The list a viewer asked for, computed from all rows: filter, order, tree and folds. Pure; the window is cut later.
 *
 * - Tree: a process is shown when it or a descendant matches; a node with more than FOLD_CHILDREN visible children is
 *   folded to one row with a tally of what is inside, until the viewer unfolds it.
 * - Everything is linear in the number of rows; orders that need sorting come from the sampler, which shares them.
 */
import type { View } from '../../shared/frame.ts'
import type { ProcessId } from '../../shared/id.ts'
import { matches, parseQuery, type Query, type QueryContext } from '../../shared/query.ts'
import type { ProcessRow } from '../../shared/snapshot.ts'
import type { Listing, Row } from './row-source.ts'

/** Children above which a node is folded by default: about one screen. */
export const FOLD_CHILDREN = 50

export type SortKey = Exclude<NonNullable<View['sort']>, 'tree'>
export type Direction = 'asc' | 'desc'

/** All rows of a moment, with the orders that several views share. */
export interface Census {
  readonly rows: ReadonlyMap<ProcessId, ProcessRow>
  readonly now: number
  readonly roots: readonly ProcessId[]
  childrenOf(id: ProcessId): readonly ProcessId[]
  order(sort: SortKey, direction: Direction): readonly ProcessId[]
  /** Rows from the store; empty unless some view asks for them. */
  readonly passive: readonly ProcessRow[]
}

/** Whether views with equal keys list the same ids. */
export function viewKey(view: View): string {
  const { window: _window, freeze: _freeze, ...rest } = view
  return JSON.stringify(rest, Object.keys(rest).sort())
}

/** A list ranked by a number is flat: what is looked for may stand in any fold. */
export function isTree(view: View): boolean {
  return view.mode !== 'flat' && (view.sort === undefined || view.sort === 'tree')
}

/** Whether a view is about passive processes too. @throws REQUEST_INVALID for a query that does not parse */
export function asksForPassive({ passive, q }: View): boolean {
  return passive === true || (q?.includes('passive') === true && parseQuery(q).passive)
}

/** @throws REQUEST_INVALID for a query that does not parse */
export function listProcesses(census: Census, view: View): Listing {
  const query = parseQuery(view.q ?? '')
  const scope = new Scope(census, view, query)
  const ids = isTree(view) ? treeIds(scope) : flatIds(scope)
  return { ids, counts: scope.counts(ids.length), row: (id) => scope.rowOf(id) }
}

/** The rows a view is about, and how they are counted. */
class Scope {
  readonly census: Census
  readonly view: View
  readonly #query: Query
  readonly #context: QueryContext
  readonly #passive: ReadonlyMap<ProcessId, ProcessRow>
  readonly #folded = new Map<ProcessId, Row>()
  readonly #statuses: Record<string, number> = {}
  #total = 0
  #matched = 0

  constructor(census: Census, view: View, query: Query) {
    this.census = census
    this.view = view
    this.#query = query
    this.#context = { now: census.now, isUnder: (id, ancestor) => isUnder(census.rows, id, ancestor) }
    const passive = asksForPassive(view) ? census.passive.filter((row) => !census.rows.has(row.id)) : []
    this.#passive = new Map(passive.map((row) => [row.id, row]))
  }

  get passive(): Iterable<ProcessRow> {
    return this.#passive.values()
  }

  /** Counts the row when it is in scope, and tells whether it matches. */
  admit(row: ProcessRow): boolean {
    if (row.hidden && this.view.hidden !== true) return false
    this.#total++
    if (this.view.under !== undefined && !this.#context.isUnder(row.id, this.view.under)) return false
    if (!matches(this.#query, row, this.#context)) return false
    this.#matched++
    this.#statuses[row.status] = (this.#statuses[row.status] ?? 0) + 1
    return true
  }

  fold(row: ProcessRow, tally: Readonly<Record<string, number>>): void {
    const folded: Row & { tally: unknown } = { ...row, tally }
    this.#folded.set(row.id, folded)
  }

  rowOf(id: ProcessId): Row | undefined {
    return this.#folded.get(id) ?? this.census.rows.get(id) ?? this.#passive.get(id)
  }

  counts(rows: number): Record<string, number> {
    return { ...this.#statuses, rows, matched: this.#matched, total: this.#total }
  }
}

function flatIds(scope: Scope): ProcessId[] {
  const { census, view } = scope
  const sort = view.sort === undefined || view.sort === 'tree' ? 'id' : view.sort
  const ids: ProcessId[] = []
  for (const id of census.order(sort, view.dir ?? 'asc')) {
    const row = census.rows.get(id)
    if (row !== undefined && scope.admit(row)) ids.push(id)
  }
  for (const row of scope.passive) if (scope.admit(row)) ids.push(row.id)
  return ids
}

function treeIds(scope: Scope): ProcessId[] {
  const { census, view } = scope
  const shown = shownIds(scope)
  const expanded = new Set(view.expanded)
  const collapsed = new Set(view.collapsed)
  const passive = passiveByParent(scope)
  const ids: ProcessId[] = []
  const roots = view.under === undefined ? census.roots : [view.under]
  // A stack, not recursion: a chain of ten thousand processes is a legal tree.
  const stack = roots.filter((id) => shown.has(id)).reverse()
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    ids.push(id)
    const row = census.rows.get(id)
    const inside = census.childrenOf(id).filter((child) => shown.has(child))
    const stored = passive.get(id) ?? []
    const inner = inside.length + stored.length
    if (row === undefined || inner === 0) continue
    const open = expanded.has(id) || (!collapsed.has(id) && inner <= FOLD_CHILDREN)
    if (!open) scope.fold(row, tallyOf(census, { inside, shown, stored: stored.length }))
    else stack.push(...stored.toReversed(), ...inside.toReversed())
  }
  return ids
}

/** Ids that match, and the ancestors that lead to them. */
function shownIds(scope: Scope): ReadonlySet<ProcessId> {
  const { rows } = scope.census
  const shown = new Set<ProcessId>()
  for (const row of rows.values()) {
    if (!scope.admit(row)) continue
    let at: ProcessRow | undefined = row
    while (at !== undefined && !shown.has(at.id)) {
      shown.add(at.id)
      at = at.id === scope.view.under || at.parent === null ? undefined : rows.get(at.parent)
    }
  }
  return shown
}

/** Passive processes stand below their parent; without one that lives they are left to the flat list. */
function passiveByParent(scope: Scope): ReadonlyMap<ProcessId, ProcessId[]> {
  const found = new Map<ProcessId, ProcessId[]>()
  for (const row of scope.passive) {
    if (row.parent === null || !scope.admit(row)) continue
    const siblings = found.get(row.parent)
    if (siblings === undefined) found.set(row.parent, [row.id])
    else siblings.push(row.id)
  }
  return found
}

type Inside = { inside: readonly ProcessId[]; shown: ReadonlySet<ProcessId>; stored: number }

function tallyOf(census: Census, { inside, shown, stored }: Inside): Record<string, number> {
  const tally: Record<string, number> = stored === 0 ? {} : { passive: stored }
  const stack = [...inside]
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    const row = census.rows.get(id)
    if (row === undefined || !shown.has(id)) continue
    tally[row.status] = (tally[row.status] ?? 0) + 1
    stack.push(...census.childrenOf(id))
  }
  return tally
}

function isUnder(rows: ReadonlyMap<ProcessId, ProcessRow>, id: ProcessId, ancestor: ProcessId): boolean {
  for (let at: ProcessId | null | undefined = id; at != null; at = rows.get(at)?.parent)
    if (at === ancestor) return true
  return false
}
