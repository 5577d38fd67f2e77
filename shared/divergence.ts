/**
 * Where the code left what the journal holds: the recorded results of a turn beside what the code asked for (T5).
 * Plain data: stored with the journal, served by every surface, told to people by `divergenceText`.
 */

/** A result that is recorded or asked for. `key` is the name and what tells it from others of that name. */
export type StepPlace = { readonly kind: string; readonly name: string; readonly key: string }

export type Divergence = {
  readonly turn: string
  readonly op: string
  /** What the journal holds next; null where it holds the end of the turn. */
  readonly expected: StepPlace | null
  /** What the code asks for, all of it where it waits for several; empty where the turn ended. */
  readonly found: readonly StepPlace[]
  /** How the turn ended before everything recorded was asked for. */
  readonly ended: string | null
  /** Which result of the turn it is, from 1, and how many are recorded. */
  readonly position: number
  readonly recorded: number
  /** Recorded results around that place. */
  readonly around: readonly (StepPlace & { readonly position: number })[]
  /** Code version under which the turn was accepted, and the one that runs. */
  readonly recordedBy: string
  readonly runs: string
}

const KIND_WIDTH = 11

/** One line per place, `-` what the journal holds, `+` what the code asks for. */
export function divergenceText(found: Divergence): string[] {
  const { position, recorded, around, expected, recordedBy, runs } = found
  const line = (sign: string, n: string, kind: string, text: string): string =>
    `${sign} ${n.padStart(4)}  ${kind.padEnd(KIND_WIDTH)}${text}`.trimEnd()
  const asked = found.found.map(({ kind, key }) => line('+', '', kind, key))
  if (found.ended !== null) asked.push(line('+', '', found.ended, ''))
  const lines = around.flatMap(({ position: n, kind, key }) =>
    n === position ? [line('-', String(n), kind, key), ...asked] : [line(' ', String(n), kind, key)],
  )
  if (expected === null) lines.push(line('-', '', 'the end of the turn', ''), ...asked)
  const place = expected === null ? `after ${recorded} recorded results` : `at result ${position} of ${recorded}`
  const versions = `Recorded by code version ${recordedBy}, running ${runs}.`
  return [`Turn ${found.turn} (${found.op}) diverged ${place}.`, ...lines, versions]
}

/** The same in a few words, for lists. */
export function divergenceWords({ expected, found, ended }: Divergence): { expected: string; found: string } {
  return {
    expected: expected?.key ?? 'the end of the turn',
    found: ended ?? found.map(({ key }) => key).join(', '),
  }
}
