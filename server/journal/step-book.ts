/**
 * What the journal holds of steps that have begun and have no result yet: attempts, token, progress.
 *
 * - A step that failed with an attempt of its message begins anew (J1): new attempts, a new total time, a new token;
 *   its `round` tells the attempts of one round from those of another.
 * - Only a replayed turn has one; a turn that was never interrupted pays nothing.
 */
import type { Value } from '../../shared/value.ts'
import { type Entry, isResult } from './entry.ts'

export type StepNotes = {
  /** Times the step began anew. */
  readonly round: number
  readonly failed: number
  readonly began: number | null
  readonly due: number
  readonly progress: Value | undefined
  readonly token: string | null
  /** Attempts after which the function of an external step was done; null while it is not. */
  readonly handed: number | null
}

const FRESH: StepNotes = {
  round: 0,
  failed: 0,
  began: null,
  due: 0,
  progress: undefined,
  token: null,
  handed: null,
}

export type StepBook = ReadonlyMap<string, StepNotes>

export function bookOf(entries: readonly Entry[]): StepBook {
  const book = new Map<string, StepNotes>()
  const note = (key: string, more: Partial<StepNotes>): void => {
    book.set(key, { ...(book.get(key) ?? FRESH), ...more })
  }
  /** The step whose failure is taken back when the attempt of the message fails with it. */
  let last: string | null = null
  for (const entry of entries) {
    if (isResult(entry)) last = entry.k === 'step' && 'err' in entry.out ? entry.key : null
    switch (entry.k) {
      case 'opened':
        note(entry.key, { began: entry.at, token: entry.token })
        break
      case 'retry': {
        const { attempt, began, due, progress } = entry
        note(entry.key, { failed: attempt, began, due, ...(progress === undefined ? {} : { progress }) })
        break
      }
      case 'progress':
        note(entry.key, { progress: entry.value })
        break
      case 'handed':
        note(entry.key, { handed: entry.attempts })
        break
      case 'failed':
        if (last !== null) book.set(last, { ...FRESH, round: (book.get(last)?.round ?? 0) + 1 })
        last = null
        break
      default: // says nothing of a step
    }
  }
  return book
}
