/**
 * What is stored of a process's turns, as a value that can be kept in a file, and what a replay of them found.
 * Texts are those of the tables: a file read back gives the same turns byte for byte.
 */
import { z } from 'zod'
import { type Divergence, divergenceText } from './divergence.ts'

export const RECORDED_FORMAT = 'vivarium-recorded'
/** Raised with every change of the shape; a reader refuses what it does not know. */
export const RECORDED_VERSION = 1

export const recordedSchema = z.object({
  format: z.literal(RECORDED_FORMAT),
  version: z.literal(RECORDED_VERSION),
  id: z.string(),
  agent: z.string(),
  /** Of which process it is a sandbox copy; absent for every other one. */
  sandbox: z.string().optional(),
  /** Null where the journal goes back to the first row. */
  snapshot: z.object({ seq: z.int(), stateVersion: z.int(), value: z.string() }).nullable(),
  journal: z.array(
    z.object({ seq: z.int(), at: z.number(), stateVersion: z.int(), codeVersion: z.string(), payload: z.string() }),
  ),
})
export type RecordedProcess = z.infer<typeof recordedSchema>

export type ReplayOutcome =
  | { readonly kind: 'same' }
  /** The code asks for other results than the journal holds. */
  | { readonly kind: 'diverges'; readonly divergence: Divergence }
  /** It comes to another end: state, messages sent, or the kind of end. One line per difference. */
  | { readonly kind: 'differs'; readonly changes: readonly string[] }
  | { readonly kind: 'fails'; readonly error: string }

export type TurnReplay = {
  readonly turn: string
  readonly op: string
  /** Has not ended yet: it was replayed up to the last recorded result. */
  readonly open: boolean
  /** Recorded results. */
  readonly results: number
  readonly outcome: ReplayOutcome
}

export type ReplayReport = {
  readonly process: string
  readonly turns: readonly TurnReplay[]
  /** Turns that left no results: their messages are gone, nothing of them can be replayed, or diverge. */
  readonly unrecorded: number
  /** No turn diverges or fails. */
  readonly ok: boolean
}

const SIGNS = { same: 'same', diverges: 'DIVERGES', differs: 'differs', fails: 'FAILS' } as const

export function replayText({ process, turns, unrecorded, ok }: ReplayReport): string[] {
  const lines = turns.flatMap(({ turn, op, open, results, outcome }) => {
    const head = `${SIGNS[outcome.kind].padEnd(9)} ${op} ${turn}, ${open ? 'open, ' : ''}results: ${results}`
    return [head, ...detailOf(outcome).map((line) => `    ${line}`)]
  })
  const bad = turns.filter(({ outcome }) => outcome.kind === 'diverges' || outcome.kind === 'fails').length
  const more = unrecorded > 0 ? `; ${unrecorded} without recorded results are not among them` : ''
  const verdict = ok ? 'none diverges' : `${bad} would not go on`
  return [...lines, `${process}: ${turns.length} recorded turns, ${verdict}${more}.`]
}

function detailOf(outcome: ReplayOutcome): readonly string[] {
  switch (outcome.kind) {
    case 'same':
      return []
    case 'diverges':
      return divergenceText(outcome.divergence)
    case 'differs':
      return outcome.changes
    case 'fails':
      return [outcome.error]
    default:
      return outcome satisfies never
  }
}
