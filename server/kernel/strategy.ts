/**
 * Strategies: which siblings stop and start with a child. Pure.
 *
 * - S20 one_for_one: the child alone. S21 rest_for_one: the child and all started after it. S22 one_for_all: everybody.
 * - S23: stops run in reverse start order, starts in start order; a temporary sibling stopped by a strategy is removed,
 *   not restarted; every other one in the group is started, also one that had ended normally or was stopped by hand.
 */
import type { Child } from './child.ts'

export const STRATEGIES = ['one_for_one', 'rest_for_one', 'one_for_all'] as const
export type Strategy = (typeof STRATEGIES)[number]

/** The group that goes down and up with `failed`, in start order; `failed` is always part of it. */
export function groupOf(strategy: Strategy, children: readonly Child[], failed: Child): Child[] {
  switch (strategy) {
    case 'one_for_one':
      return [failed]
    case 'rest_for_one':
      return children.slice(children.indexOf(failed))
    case 'one_for_all':
      return children.slice()
    default:
      return strategy satisfies never
  }
}
