/**
 * T5: a replay that asks for something else than the journal holds. Nothing is overwritten: the process is parked with
 * a description that says what was expected, what was found, where, and under which versions of the code.
 */
import { type Divergence, divergenceWords, type StepPlace } from '../../shared/divergence.ts'
import type { Shape } from './entry.ts'
import { keepPart } from './kept-part.ts'
import type { Recorded } from './replay.ts'
import type { Turn } from './turn.ts'

/** Recorded results shown on either side of the place. */
const AROUND = 5

/** Verbs whose results are recorded as a step's, by what their keys begin with. */
const VERBS: ReadonlySet<string> = new Set(['call', 'query', 'start', 'result', 'whereis', 'task', 'infer'])

export type Asked = { readonly key: string; readonly shape: Shape }
/** What the code did instead: it waits for something else, or the turn ended. */
export type Found = { readonly asked: readonly Asked[]; readonly ended: string | null }

export function placeOf({ key, shape }: Asked): StepPlace {
  const name = key.replace(/[#:][^#:]*$/, '')
  if (shape !== 'result') return { kind: shape, name, key }
  const [verb = ''] = key.split(':', 1)
  return { kind: VERBS.has(verb) ? verb : 'step', name, key }
}

export function divergenceOf(
  turn: { id: string; op: string; recordedBy: string; runs: string },
  items: readonly Recorded[],
  at: { position: number; found: Found },
): Divergence {
  const { position, found } = at
  const next = items[position]
  const from = Math.max(0, position - AROUND)
  const around = items
    .slice(from, position + AROUND + 1)
    .map((item, i) => ({ position: from + i + 1, ...placeOf(item) }))
  return {
    turn: turn.id,
    op: turn.op,
    expected: next === undefined ? null : placeOf(next),
    found: found.asked.map(placeOf),
    ended: found.ended,
    position: position + 1,
    recorded: items.length,
    around,
    recordedBy: turn.recordedBy,
    runs: turn.runs,
  }
}

/** Until an operator or the right code goes on. */
export function parkDiverged(turn: Turn, divergence: Divergence): void {
  const { process, ports, record } = turn
  if (process.epoch !== turn.epoch) return
  turn.close()
  const { expected, found } = divergenceWords(divergence)
  const { position, recorded, recordedBy, runs } = divergence
  const where = `result ${position} of ${recorded}, code ${recordedBy} then, ${runs} now`
  const target = `journal expects ${expected}, code asks for ${found} (${where})`
  const now = ports.clock.now()
  process.status = 'diverged'
  process.stats.since = now
  process.wait = { kind: 'user', target, since: now, deadline: null, attempt: 1 }
  ports.emit({
    kind: 'process:diverge',
    at: now,
    id: process.id,
    incarnation: process.incarnation,
    turn: turn.id,
    expected,
    found,
    codeVersion: ports.codeVersion,
  })
  record.diverged = true
  record.divergence = divergence
  keepPart(ports, record, {
    entries: [{ k: 'diverged', turn: turn.id, expected, found, where: divergence }],
    turn: turn.id,
    patch: { diverged: true },
  })
}
