/**
 * `ctx.patched`: which of two versions of the code a turn goes on with, decided once per turn and id (V6).
 *
 * - True where nothing recorded lies ahead of the call: then it is an entry of the turn, and every replay says so.
 * - False while something recorded lies ahead: results not handed over yet, requests that had begun, refused sends.
 *   They came of code that did not ask.
 * - An entry that the code does not ask for any more is no divergence: once no older turn is open, the branch and the
 *   question may go.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel } from '../../shared/id.ts'
import type { Entry } from './entry.ts'
import type { Turn } from './turn.ts'

/** Ids one turn may ask for. One that asks for more makes them up in a loop. */
const PATCHES_MAX = 1_000

type Patched = Extract<Entry, { k: 'patched' }>

export class PatchMarks {
  /** First answer per id, which holds for the rest of the turn. */
  readonly verdicts = new Map<string, boolean>()
  readonly recorded = new Set<string>()
  /** Marks made before the turn was accepted: recorded with it. */
  readonly early: Patched[] = []
  /** Requests that the journal knows and the code has not made yet. */
  readonly #ahead = new Set<string>()
  #refused = 0

  constructor(entries: readonly Entry[] = []) {
    for (const entry of entries) {
      if (entry.k === 'patched') this.recorded.add(entry.id)
      else if (entry.k === 'refused') this.#refused = Math.max(this.#refused, entry.n)
      else if ('key' in entry) this.#ahead.add(entry.key)
    }
  }

  asked(key: string): void {
    this.#ahead.delete(key)
  }

  /** @param sends  how many sends the code has made so far */
  isBehind(sends: number): boolean {
    return this.#ahead.size > 0 || this.#refused > sends
  }
}

export function patchedInTurn(turn: Turn, id: string): boolean {
  turn.assertOpen()
  assertLabel('Patch id', id)
  turn.marks ??= new PatchMarks()
  const { verdicts, recorded, early } = turn.marks
  const known = verdicts.get(id)
  if (known !== undefined) return known
  if (verdicts.size >= PATCHES_MAX) {
    const text = `A turn of ${turn.process.id} asked for ${PATCHES_MAX} patches. Name changes of the code, not data.`
    throw new RuntimeError('REQUEST_INVALID', text)
  }
  const isRecorded = recorded.has(id)
  const patched = isRecorded || !turn.isBehind
  verdicts.set(id, patched)
  if (!patched || isRecorded) return patched
  const entry = { k: 'patched' as const, turn: turn.id, id }
  if (turn.open === null) early.push(entry)
  else turn.append(entry, {}, () => turn.ports.crash.hit('patch:stored'))
  return true
}
