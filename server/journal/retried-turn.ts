/**
 * An open turn that an operator lets run again: which of its results it keeps, and what it is afterwards. The same
 * function makes it in memory and from the journal.
 *
 * - Nothing is taken out of the journal: the entry says from where on it does not count.
 * - What a checkpoint or transaction stored is a fact. A turn runs again from after its last one, never from before.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { pastOf, pastWithin } from './branch.ts'
import { type Entry, isResult } from './entry.ts'
import type { OpenTurn } from './record.ts'
import { resultsOf } from './replay.ts'
import { keptTaken } from './taken.ts'

export type Retried = Extract<Entry, { k: 'retried' }>

/** How many results a turn keeps that is to run again from its nth one; null is from the start.
 *  @throws REQUEST_INVALID  a place that it has not come to, or before its last checkpoint; it rolls back */
export function keptResults(id: ProcessId, { turn, entries }: OpenTurn, step: number | null): number {
  if (entries.some(({ k }) => k === 'rollback')) {
    // Y4: what its compensations took back cannot be kept, nor be taken back once more.
    throw new RuntimeError(
      'REQUEST_INVALID',
      `Turn ${turn} of ${id} rolls back. Wait for its end, or skip its message.`,
    )
  }
  const results = resultsOf(entries)
  const fixed = results.findLastIndex(({ entry }) => entry.k === 'checkpoint') + 1
  if (step === null) return fixed
  if (step < 1 || step > results.length + 1) {
    const { length } = results
    const text = `Turn ${turn} of ${id} has ${length} results; it can run again from 1 to ${length + 1}.`
    throw new RuntimeError('REQUEST_INVALID', text, { detail: { turn, results: length } })
  }
  if (step > fixed) return step - 1
  const text = `Result ${fixed} of turn ${turn} of ${id} is a checkpoint: what it stored stays. Begin at ${fixed + 1}.`
  throw new RuntimeError('REQUEST_INVALID', text, { detail: { turn, checkpoint: fixed } })
}

/** The turn as it begins again. */
export function retriedTurn(open: OpenTurn, { branch, kept }: Pick<Retried, 'branch' | 'kept'>): OpenTurn {
  const entries = keptEntries(open.entries, kept)
  open.envelope.attempts = 0
  return {
    ...open,
    ...{ branch, past: pastOf(open, kept), entries, stored: entries.length + 1 },
    ...{ recoveries: 0, alone: 0, marked: false, taken: keptTaken(open, entries) },
  }
}

/** An attempt of the turn failed. */
export function noteFailed(open: OpenTurn, entry: Extract<Entry, { k: 'failed' }>): void {
  open.entries.push(entry)
  if (open.past.length > 0) open.past = pastWithin(open.past, resultsOf(open.entries).length)
}

/** Up to the last result that is kept, without what had begun and has none. Who asked for the end of the turn has asked
 *  for it still (Y1). */
function keptEntries(entries: readonly Entry[], kept: number): Entry[] {
  const last = kept === 0 ? -1 : (resultsOf(entries)[kept - 1]?.index ?? entries.length - 1)
  const before = entries.slice(0, last + 1)
  const keys = new Set(before.flatMap((entry) => (isResult(entry) ? [entry.key] : [])))
  return [
    ...before.filter((entry) => !('key' in entry) || keys.has(entry.key)),
    ...entries.slice(last + 1).filter(({ k }) => k === 'cancel'),
  ]
}
