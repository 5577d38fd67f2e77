/**
 * Branches (PROTOCOL T4): what is derived after an operator went back in time differs from what was derived before.
 *
 * - A rewind allocates a branch for all turns that begin after it: its number is the sequence of its row (E3). A
 *   retry adds one to the branch of its turn. Each of them is a row, so no number is given twice: a rewind's is above
 *   all that was added before it.
 * - Ids of what leaves (messages, calls, tokens, idempotency keys of steps) are of the newest branch.
 * - What the code of a turn that runs again reads while it passes results it keeps (random numbers, keys of starts,
 *   keys of children) is of the branch in which those results were made, or the code would not find its way to them.
 */
import type { OpenTurn } from './record.ts'

/** Results before position `until` were made in this branch, those of the entries before it excepted. */
export type Past = { readonly branch: number; readonly until: number }

/** Of turns that were never run again: nearly all. */
export const NO_PAST: readonly Past[] = []

type Branches = Pick<OpenTurn, 'branch' | 'past'>

/** @param position  results that were handed over so far */
export function branchAt({ branch, past }: Branches, position: number): number {
  for (const one of past) if (position < one.until) return one.branch
  return branch
}

/** The branches once results from position `kept` on are made anew. */
export function pastOf({ branch, past }: Branches, kept: number): readonly Past[] {
  const found: Past[] = []
  for (const one of [...past, { branch, until: Number.POSITIVE_INFINITY }]) {
    if (one.until < kept) found.push(one)
    else {
      if (kept > 0) found.push({ branch: one.branch, until: kept })
      break
    }
  }
  return found
}

/** An attempt failed and took a result with it (replay.ts): there are `results` now, none later is of a past branch. */
export function pastWithin(past: readonly Past[], results: number): readonly Past[] {
  return past.map(({ branch, until }) => ({ branch, until: Math.min(until, results) }))
}

/** How a turn is named in everything that is derived from it. */
export function turnName(turn: string, branch: number): string {
  return branch === 0 ? turn : `${turn}~${branch}`
}

/** The same for what the code reads at its place: names of timers, keys of children, references of monitors. */
export function nameHere({ id, branchHere }: { readonly id: string; readonly branchHere: number }): string {
  return turnName(id, branchHere)
}

export function nameOf({ turn, branch }: Pick<OpenTurn, 'turn' | 'branch'>): string {
  return turnName(turn, branch)
}
