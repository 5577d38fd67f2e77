/** The list of agents as the address says it: what to ask of the server, and how the address changes. */
import '../feed/jitless.ts'
import { EXPANDED_IDS_MAX, type View, viewSchema } from '../../shared/frame.ts'
import type { Search } from '../ui/location.ts'
import type { Sort } from '../ui/table.tsx'

export type AgentsView = {
  view: View
  sort: Sort | null
  /** The change of the address for a click on a column. */
  sortChange: (by: string) => Record<string, string | undefined>
}

/** Columns of numbers and ages start with the highest, names with the first letter. */
const ASCENDING_FIRST = new Set(['id', 'status', 'tree'])

export function agentsViewOf(search: Search): AgentsView {
  const view: View = { mode: search.mode === 'flat' ? 'flat' : 'tree' }
  if (search.q) view.q = search.q
  if (search.under) view.under = search.under
  const sort = viewSchema.shape.sort.safeParse(search.sort).data
  const dir = search.dir === 'asc' ? 'asc' : 'desc'
  if (sort !== undefined) {
    view.sort = sort
    view.dir = dir
  }
  if (search.open) view.expanded = idsOf(search.open)
  if (search.fold) view.collapsed = idsOf(search.fold)
  const shown: Sort | null = sort === undefined ? null : { by: sort, dir }
  return { view, sort: shown, sortChange: (by) => sortChange(shown, by) }
}

/** First click sorts, the second turns it round, the third gives the natural order back. */
function sortChange(sort: Sort | null, by: string): Record<string, string | undefined> {
  const first = ASCENDING_FIRST.has(by) ? 'asc' : 'desc'
  if (sort?.by !== by) return { sort: by, dir: first }
  if (sort.dir === first) return { sort: by, dir: first === 'asc' ? 'desc' : 'asc' }
  return { sort: undefined, dir: undefined }
}

/** Folding is kept in the address as well: ids that differ from what the server folds by itself. */
export function foldChange(shown: AgentsView, id: string, opened: boolean): Record<string, string | undefined> {
  const expanded = (shown.view.expanded ?? []).filter((each) => each !== id)
  const collapsed = (shown.view.collapsed ?? []).filter((each) => each !== id)
  const target = opened ? expanded : collapsed
  target.push(id)
  return { open: textOf(expanded), fold: textOf(collapsed) }
}

function idsOf(text: string): string[] {
  return text.split(',').map(decoded).slice(0, EXPANDED_IDS_MAX)
}

function textOf(ids: readonly string[]): string | undefined {
  return ids.length === 0 ? undefined : ids.slice(-EXPANDED_IDS_MAX).map(encodeURIComponent).join(',')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // mistyped by hand: names no process, folds nothing
  }
}
