/**
 * What latest-wins subscriptions read from: rows by id in an order, whoever collects them.
 *
 * - A row is never changed in place: an equal object is an unchanged row, another object may be a changed one.
 */
import type { Problem, View } from '../../shared/frame.ts'

export type Row = { readonly id: string }

export type Listing = {
  readonly ids: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  /** Undefined for ids outside the listing. */
  row(id: string): Row | undefined
}

export interface RowSource {
  /** False until the first data. */
  readonly loaded: boolean
  /** Why there is no newer data; null while all is well. */
  readonly problem: Problem | null
  list(view: View): Listing
  /** Whether the process or record still exists, listed or not. */
  has(id: string): boolean
}

/** Deep equality of plain data. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    return a.every((item, index) => same(item, b[index]))
  }
  const keys = Object.keys(a)
  if (Array.isArray(b) || keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key)))
}
