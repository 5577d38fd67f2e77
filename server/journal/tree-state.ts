/**
 * What is stored of a supervisor: its children, the restarts that still count, and whether it gave up. A value like any
 * other state: rows hold patches of it, snapshots hold it whole, and `fold` puts it together again.
 *
 * - T6: the live value is `applyPatches(before, patches)`, also here.
 * - Children stand in start order. A change of a few is a patch each; of many, or of their order, the whole list.
 */
import { copy, type Value } from '../../shared/value.ts'
import type { ChildFact, TreeChange } from '../kernel/tree-change.ts'
import type { Patch } from './patch.ts'

export type TreeState = {
  readonly children: ReadonlyMap<string, Omit<ChildFact, 'id'>>
  /** Epoch ms of the store, ascending. */
  readonly restarts: readonly number[]
  readonly gaveUp: { readonly at: number; readonly child: string } | null
}

/** In a journal row: what happened, as far as it was kept, and by whom where a person did it. */
export type TreeNote =
  /** `at`: epoch ms of the store, as everywhere in a note. */
  | (TreeChange & { readonly at: number })
  /** From here on this node writes. */
  | { readonly kind: 'owned'; readonly at: number; readonly node: string }
  /** A verb of an operator. */
  | {
      readonly kind: 'act'
      readonly at: number
      readonly verb: string
      readonly by: string
      readonly why: string | null
    }

export const EMPTY_TREE: TreeState = { children: new Map(), restarts: [], gaveUp: null }

/** Children changed at once from which on the list is written whole: patches of a map cost its size each. */
const WHOLE_FROM = 8

export function treeValue(state: TreeState): Value {
  return copy(state)
}

/** The patches that lead from one to the other. */
export function treePatches(before: TreeState, next: TreeState): Patch[] {
  const patches = childPatches(before.children, next.children)
  if (!same(before.restarts, next.restarts)) {
    patches.push({ op: 'set', path: ['restarts'], value: copy(next.restarts) })
  }
  if (!same(before.gaveUp, next.gaveUp)) patches.push({ op: 'set', path: ['gaveUp'], value: copy(next.gaveUp) })
  return patches
}

function childPatches(before: TreeState['children'], next: TreeState['children']): Patch[] {
  const gone = [...before.keys()].filter((id) => !next.has(id))
  const changed = [...next].filter(([id, fact]) => !same(before.get(id), fact))
  // Removals keep the order, additions go to the end: any other order is written whole.
  const order = [...[...before.keys()].filter((id) => next.has(id)), ...changed.map(([id]) => id)]
  const ordered = same([...new Set(order)], [...next.keys()])
  if (!ordered || gone.length + changed.length > WHOLE_FROM) {
    return [{ op: 'set', path: ['children'], value: copy(next) }]
  }
  return [
    ...gone.map((id): Patch => ({ op: 'delete', path: ['children', id] })),
    ...changed.map(([id, fact]): Patch => ({ op: 'set', path: ['children', id], value: copy(fact) })),
  ]
}

/** Both sides are plain and small; keys stand in the order in which this code writes them, or in the canonical one. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key)))
}

/** Children by id, as they are stored. */
export function treeChildren(facts: readonly ChildFact[]): TreeState['children'] {
  return new Map(facts.map(({ id, ...fact }) => [id, fact]))
}

/** Of a folded journal; undefined when nothing is stored yet. */
export function treeState(value: Value | undefined): TreeState {
  return value === undefined ? EMPTY_TREE : (value as unknown as TreeState) // written by treePatches
}
