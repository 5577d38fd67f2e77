/**
 * What is there against what must be there, program by program. Every finding begins with the path it is about.
 *
 * - Exact both ways: what the oracle does not know of is as wrong as what is missing.
 * - A value that chance decided has witnesses: states, what others were told, rows, chunks, outcomes from outside. They
 *   agree, and for a step it is the value of its last run: once it was recorded it was never run again (J1).
 * - Runs of two commands of one turn do not overlap: an effect begins when everything before it is stored (T3, T5).
 */
import type { Expectation } from './expectation.ts'
import type { Line } from './line.ts'
import type { Body, Command } from './program.ts'
import type { ProgramWorld } from './world.ts'

type Effect = Extract<Line, { e: 'effect' }>

/** Everything that is wrong with one program. */
export function compare(expected: Expectation, world: ProgramWorld): string[] {
  const found = [
    ...compareCounts(expected, world),
    ...comparePlaces('value', expected.seen, new Map([...world.seen].map(([path, { process }]) => [path, process]))),
    ...compareHeard(expected, world),
    ...compareNotes(expected, world),
    ...compareTurns(expected, world),
    ...compareRows(expected, world),
    ...compareEffects(expected, world),
    ...compareExternal(expected, world),
    ...compareUndone(expected, world),
  ]
  const witnesses = new Witnesses()
  for (const [path, { value }] of world.seen) witnesses.say(path, value, 'its own state')
  for (const [path, { value }] of world.heard) witnesses.say(expected.heard.get(path)?.source ?? path, value, path)
  for (const { path, value } of world.rows) witnesses.say(path, value, 'the row')
  for (const { path, value } of world.settled) {
    if (value !== null && expected.external.get(path) === true) witnesses.say(path, value, 'the outside')
  }
  for (const [path, runs] of world.effects) {
    const last = runs.at(-1)
    if (expected.effects.get(path) !== null && last !== undefined) witnesses.say(path, last.value, 'its last run')
  }
  found.push(...compareStreams(expected, world, witnesses), ...witnesses.quarrels())
  checkOrder(expected.program.body, expected.program.id, world.order, found)
  return found
}

class Witnesses {
  readonly #values = new Map<string, Map<string, string>>()

  say(path: string, value: string, who: string): void {
    const said = this.#values.get(path) ?? new Map<string, string>()
    said.set(value, said.get(value) ?? who)
    this.#values.set(path, said)
  }

  of(path: string): string | null {
    const [value] = this.#values.get(path)?.keys() ?? []
    return value ?? null
  }

  quarrels(): string[] {
    return [...this.#values]
      .filter(([, said]) => said.size > 1)
      .map(([path, said]) => `${path}: ${[...said].map(([value, who]) => `${value} says ${who}`).join(', ')}`)
  }
}

function compareCounts({ program, counts, result }: Expectation, world: ProgramWorld): string[] {
  const found: string[] = []
  for (const key of new Set([...counts.keys(), ...world.counts.keys()])) {
    const [wanted, is] = [counts.get(key) ?? 0, world.counts.get(key) ?? 0]
    if (wanted !== is) found.push(`${program.id}: the counter of ${key} is ${is}, not ${wanted}`)
  }
  if (world.results.length === 0) found.push(`${program.id}: nobody was told its result`)
  for (const is of new Set(world.results)) {
    if (is !== result) found.push(`${program.id}: its result is ${is}, not ${result}`)
  }
  return found
}

function comparePlaces(what: string, wanted: Map<string, string>, is: Map<string, string>): string[] {
  const found: string[] = []
  for (const path of new Set([...wanted.keys(), ...is.keys()])) {
    const [a, b] = [wanted.get(path), is.get(path)]
    if (a !== b) found.push(`${path}: its ${what} is in ${b ?? 'no state'}, and belongs into ${a ?? 'none'}`)
  }
  return found
}

function compareHeard({ heard }: Expectation, world: ProgramWorld): string[] {
  const wanted = new Map([...heard].map(([path, { process }]) => [path, process]))
  const is = new Map([...world.heard].map(([path, { process }]) => [path, process]))
  return comparePlaces('message', wanted, is)
}

function compareNotes({ notes }: Expectation, world: ProgramWorld): string[] {
  const text = (list: readonly number[]): string => list.join(',')
  const wanted = new Map(
    [...notes].map(([path, { process, count }]) => [path, `${process} as ${text([...Array(count).keys()])}`]),
  )
  const is = new Map([...world.notes].map(([path, { process, list }]) => [path, `${process} as ${text(list)}`]))
  return comparePlaces('burst', wanted, is)
}

function compareTurns({ turns }: Expectation, world: ProgramWorld): string[] {
  const begun = new Set(world.begins.map(({ path }) => path))
  return [
    ...[...turns].filter((path) => !begun.has(path)).map((path) => `${path}: this turn never began`),
    ...[...begun].filter((path) => !turns.has(path)).map((path) => `${path}: this turn must not be`),
  ]
}

function compareRows({ program, rows }: Expectation, world: ProgramWorld): string[] {
  const times = new Map<string, number>()
  for (const { path } of world.rows) times.set(path, (times.get(path) ?? 0) + 1)
  const all = new Set([...rows, ...times.keys()])
  return [...all]
    .filter((path) => (times.get(path) ?? 0) !== (rows.has(path) ? 1 : 0))
    .map((path) => `${path}: ${program.id} has ${times.get(path) ?? 0} rows of it`)
}

function compareEffects({ effects }: Expectation, world: ProgramWorld): string[] {
  const found: string[] = []
  for (const path of world.effects.keys()) if (!effects.has(path)) found.push(`${path}: this step must not be`)
  const keys = new Map<string, string>()
  for (const [path, good] of effects) {
    const runs = world.effects.get(path) ?? []
    const used = new Set(runs.map(({ key }) => key))
    if (used.size !== 1) found.push(`${path}: ${used.size} idempotency keys in ${runs.length} runs`)
    for (const key of used) {
      const other = keys.get(key)
      if (other !== undefined) found.push(`${path}: shares its idempotency key with ${other}`)
      keys.set(key, path)
    }
    if (good !== null) found.push(...checkAttempts(path, runs, good))
  }
  return found
}

/** Each attempt up to the good one ran, a later one only after the one before, and none after the good one. */
function checkAttempts(path: string, runs: readonly Effect[], good: number): string[] {
  const attempts = runs.map(({ attempt }) => attempt)
  const inOrder = attempts.every(
    (attempt, i) => attempt - (attempts[i - 1] ?? 0) <= 1 && attempt >= (attempts[i - 1] ?? 1),
  )
  if (inOrder && attempts.at(-1) === good) return []
  return [`${path}: attempts ${attempts.join(', ')} instead of 1 to ${good}`]
}

/** One compensation begins when the one before is recorded, and so never runs again. */
function compareUndone({ undone }: Expectation, world: ProgramWorld): string[] {
  return undone.flatMap((paths) =>
    paths.flatMap((path, i) => {
      const before = paths[i - 1]
      const last = before === undefined ? undefined : world.order.get(before)?.at(-1)
      const first = world.order.get(path)?.at(0)
      if (last === undefined || first === undefined || last < first) return []
      return [`${path}: was taken back at line ${first}, before ${before} was at line ${last}`]
    }),
  )
}

/** Tokens of a step that is failed from outside, when its turn crashes right after: it begins anew then (J1, Q3). */
const FAILED_TOKENS_MAX = 2

function compareExternal({ external }: Expectation, world: ProgramWorld): string[] {
  const found: string[] = []
  const tokens = new Map<string, Set<string>>()
  for (const { path, token } of world.tokens) tokens.set(path, (tokens.get(path) ?? new Set<string>()).add(token))
  for (const [path, good] of external) {
    const used = tokens.get(path) ?? new Set<string>()
    const most = good ? 1 : FAILED_TOKENS_MAX
    if (used.size === 0 || used.size > most) found.push(`${path}: ${used.size} tokens were handed out`)
    for (const token of used) {
      const won = world.settled.filter((line) => line.token === token && line.value !== null).length
      if (won > 1) found.push(`${path}: ${won} outcomes were taken`)
    }
  }
  for (const path of tokens.keys()) if (!external.has(path)) found.push(`${path}: this token must not be`)
  return found
}

function compareStreams({ streams }: Expectation, world: ProgramWorld, witnesses: Witnesses): string[] {
  const found: string[] = []
  for (const path of new Set([...streams.keys(), ...world.streams.keys()])) {
    const [wanted, is] = [streams.get(path), world.streams.get(path)]
    if (wanted === undefined || is === undefined) {
      found.push(`${path}: its stream ${is === undefined ? 'is not there' : 'must not be'}`)
      continue
    }
    const stem = wanted.of === 'handler' ? path : witnesses.of(path)
    const chunks = Array.from({ length: wanted.count }, (_, i) => `${stem}:${i}`)
    if (is.process !== wanted.process) found.push(`${path}: its stream is one of ${is.process}`)
    if (!is.closed) found.push(`${path}: its stream is open`)
    if (JSON.stringify(chunks) !== JSON.stringify(is.chunks)) {
      found.push(`${path}: its stream holds ${is.chunks.join(' ')} instead of ${chunks.join(' ')}`)
    }
  }
  return found
}

type Span = { from: number; to: number } | null

/**
 * Places in the log where a turn's own commands, and what they waited for, acted; null for none.
 * @param order  places of the runs, by path
 */
function checkOrder(body: Body, path: string, order: ReadonlyMap<string, readonly number[]>, found: string[]): Span {
  let span: Span = null
  for (const [i, command] of body.entries()) {
    const at = `${path}.${i}`
    const own = spanOf(command, at, order, found)
    if (span !== null && own !== null && own.from < span.to) {
      found.push(`${at}: acted at line ${own.from}, before the commands ahead of it were done at line ${span.to}`)
    }
    span = join(span, own)
  }
  return span
}

function spanOf(command: Command, path: string, order: ReadonlyMap<string, readonly number[]>, found: string[]): Span {
  const places = order.get(path) ?? []
  const [first, last] = [places.at(0), places.at(-1)]
  const own = first === undefined || last === undefined ? null : { from: first, to: last }
  switch (command.kind) {
    case 'call':
    case 'reject':
    case 'start':
      return checkOrder(command.body, path, order, found)
    case 'child':
    case 'send':
    case 'after':
      checkOrder(command.body, path, order, found)
      return null
    case 'parallel':
      return command.branches
        .map((branch, i) => spanOf(branch, `${path}.${i}`, order, found))
        .reduce((a, b) => join(a, b), null)
    default:
      return own
  }
}

function join(a: Span, b: Span): Span {
  if (a === null || b === null) return a ?? b
  return { from: Math.min(a.from, b.from), to: Math.max(a.to, b.to) }
}
