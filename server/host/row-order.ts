/**
 * Orders of process lists, and places in them. Ties are broken by id, so that pages neither repeat nor miss a row.
 *
 * - A cursor is the sort value and the id of the last row of a page: a place, which is there when the row is not.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessRow, ProcessSort } from '../../shared/snapshot.ts'

type SortValue = string | number
/** Failures are ordered by `at`. */
export type Order = { sort: ProcessSort | 'at'; dir: 'asc' | 'desc' }
export type Place<V extends SortValue = SortValue> = { value: V; id: string }

/** Orders by text; all others are by numbers. */
const TEXTUAL: ReadonlySet<Order['sort']> = new Set(['id', 'status'])

export function placeOf(sort: ProcessSort, row: ProcessRow): Place {
  return { value: row[sort], id: row.id }
}

export function comparePlaces({ sort, dir }: Order): (a: Place, b: Place) => number {
  const sign = dir === 'desc' ? -1 : 1
  // By id there are no ties to break, and the direction is that of the ids.
  const tie = sort === 'id' ? sign : 1
  return (a, b) => {
    if (a.value !== b.value) return (a.value < b.value ? -1 : 1) * sign
    return (a.id < b.id ? -1 : a.id > b.id ? 1 : 0) * tie
  }
}

export function cursorOf({ sort, dir }: Order, { value, id }: Place): string {
  return Buffer.from(JSON.stringify([sort, dir, value, id])).toString('base64url')
}

/** @param name  of the parameter that holds the cursor  @throws REQUEST_INVALID */
export function placeAt({ sort, dir }: Order, cursor: string, name = 'cursor'): Place {
  const parsed: unknown = jsonOf(cursor)
  const [usedSort, usedDir, value, id] = Array.isArray(parsed) ? (parsed as unknown[]) : []
  if (typeof id !== 'string' || (typeof value !== 'string' && typeof value !== 'number')) {
    throw refused(name, 'is not one that a page gave out. Use the cursor of the page before as it is, or leave it out.')
  }
  if (usedSort !== sort || usedDir !== dir || typeof value !== (TEXTUAL.has(sort) ? 'string' : 'number')) {
    throw refused(
      name,
      `is a place in the order ${usedSort} ${usedDir}, the list is in the order ${sort} ${dir}. Begin anew.`,
    )
  }
  return { value, id }
}

function jsonOf(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return null // refused by whoever reads it, who says so
  }
}

function refused(name: string, what: string): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `The cursor ${what}`, { detail: { path: `query.${name}` } })
}
