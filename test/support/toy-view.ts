/** The list of the toy world as one view sees it: filtered, sorted or as a tree, cut to a window. */
import type { View } from '../../shared/frame.ts'
import { matches, parseQuery } from '../../shared/query.ts'
import { PROCESS_STATUSES, type ProcessRow } from '../../shared/snapshot.ts'
import type { ToyWorld } from './toy-world.ts'

/** Children from which a supervisor is folded by itself. */
export const FOLD_CHILDREN = 50

export type ToyList = { ids: string[]; counts: Record<string, number> }

export function listOf(world: ToyWorld, view: View): ToyList {
  const query = parseQuery(view.q ?? '')
  const context = { now: Date.now(), isUnder: (id: string, ancestor: string) => isUnder(world, id, ancestor) }
  const matching = new Set<string>()
  for (const [id, { row }] of world.processes) if (matches(query, row, context)) matching.add(id)
  const flat = view.mode === 'flat' || view.sort !== undefined
  const ids = flat ? sorted(world, [...matching], view) : treeOf(world, matching, view)
  return { ids, counts: { total: world.processes.size, matched: matching.size, rows: ids.length } }
}

/** Folded supervisors carry how many of their children have which status. */
export function rowOf(world: ToyWorld, id: string, view: View): ProcessRow & { tally?: Record<string, number> } {
  const process = world.processes.get(id)
  if (process === undefined) throw new Error(`The toy world has no process ${id}.`)
  const { row } = process
  if (row.children === 0 || isOpen(row, view) || view.mode === 'flat') return row
  const tally: Record<string, number> = {}
  for (const child of process.children) {
    const status = world.processes.get(child)?.row.status
    if (status !== undefined) tally[status] = (tally[status] ?? 0) + 1
  }
  return { ...row, tally }
}

function treeOf(world: ToyWorld, matching: ReadonlySet<string>, view: View): string[] {
  const filtered = view.q !== undefined && view.q !== ''
  const ids: string[] = []
  const visit = (id: string): boolean => {
    const process = world.processes.get(id)
    if (process === undefined) return false
    const at = ids.length
    ids.push(id)
    // A filter opens the branches that lead to what it found, and hides the others.
    const open = filtered || isOpen(process.row, view)
    const found = open ? process.children.map(visit).some(Boolean) : false
    if (filtered && !found && !matching.has(id)) {
      ids.length = at
      return false
    }
    return true
  }
  for (const [id, { row }] of world.processes) if (row.parent === null) visit(id)
  return ids
}

function isOpen(row: ProcessRow, view: View): boolean {
  if (view.collapsed?.includes(row.id)) return false
  return view.expanded?.includes(row.id) === true || row.children <= FOLD_CHILDREN
}

function sorted(world: ToyWorld, ids: string[], view: View): string[] {
  const { sort = 'id', dir = 'asc' } = view
  const sign = dir === 'asc' ? 1 : -1
  const value = (id: string): number | string => {
    const row = world.processes.get(id)?.row
    if (row === undefined || sort === 'id' || sort === 'tree') return id
    if (sort === 'status') return PROCESS_STATUSES.indexOf(row.status)
    return sort === 'since' ? -row.since : row[sort]
  }
  const keyed = ids.map((id) => ({ id, value: value(id) }))
  keyed.sort((a, b) => sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0) || (a.id < b.id ? -1 : 1))
  return keyed.map(({ id }) => id)
}

function isUnder(world: ToyWorld, id: string, ancestor: string): boolean {
  for (let at: string | null = id; at !== null; at = world.processes.get(at)?.row.parent ?? null) {
    if (at === ancestor) return true
  }
  return false
}
