/**
 * Streams of which the front is taken away (X38): what is there begins at the floor and has no gap, and whoever read it
 * live, over all lives of the node, got each chunk that counts once and in order, or was told of the gap.
 */
import type { CaseFile, Heard } from './case.ts'
import { CRIES } from './hospital.ts'
import type { Rows } from './rows.ts'

export type PrunedStream = {
  floor: number
  tail: number
  bytes: number
  lines: readonly { pos: number; size: number; turn: string; what: string; n: number }[]
}

export async function readPruned({ sql, schema }: Rows): Promise<Map<string, PrunedStream>> {
  const streams = await sql<{ id: string; path: string; floor: number; tail: number; bytes: number }[]>`
    select id, path, floor::float8, tail::float8, bytes::float8 from ${sql(schema)}.streams
    where path like 'processes/crier/%'`
  const found = new Map<string, PrunedStream>()
  for (const { id, path, ...row } of streams) {
    const lines = await sql<{ pos: number; size: number; turn: string; reset: boolean; text: string }[]>`
      select pos::float8, length(data) as size, turn, reset, convert_from(data, 'UTF8') as text
      from ${sql(schema)}.stream_records where stream = ${id} order by pos`
    const key = path.split('/')[2] ?? ''
    found.set(key, { ...row, lines: lines.map(lineOf) })
  }
  return found
}

function lineOf({ reset, text, ...line }: { pos: number; size: number; turn: string; reset: boolean; text: string }) {
  const n = reset ? -1 : (JSON.parse(text) as { n: number }).n // as crier writes them
  return { ...line, n, what: reset ? `reset ${text}` : 'chunk' }
}

/** Rows, at every instant. */
export function checkPrunedRows(streams: ReadonlyMap<string, PrunedStream>): string[] {
  const found: string[] = []
  for (const [key, { floor, tail, bytes, lines }] of streams) {
    if (lines.length !== tail - floor || lines.some(({ pos }, i) => pos !== floor + i))
      found.push(`stream ${key} goes from ${floor} to ${tail} and has ${lines.map(({ pos }) => pos).join(' ')}`)
    const size = lines.reduce((sum, line) => sum + line.size, 0)
    if (size !== bytes) found.push(`stream ${key} says ${bytes} bytes and has ${size}`)
  }
  return found
}

/** Readers, at rest. */
export function checkHeard({ heard, cases }: CaseFile, streams: ReadonlyMap<string, PrunedStream>): string[] {
  const found: string[] = []
  for (const key of new Set(heard.map((fact) => fact.key))) {
    const mine = heard.filter((fact) => fact.key === key)
    const stream = streams.get(key)
    if (stream === undefined) return [...found, `stream ${key} was heard and is gone`]
    found.push(...checkPlaces(key, mine, stream), ...checkTurns(key, mine))
  }
  for (const { of, id, over } of cases.values())
    if (of === 'cry' && !over) found.push(`the cry of ${id} did not come to its end`)
  return found
}

function checkPlaces(key: string, heard: readonly Heard[], { floor, lines }: PrunedStream): string[] {
  const found: string[] = []
  let next = -1
  for (const fact of heard) {
    const at = fact.f === 'gap' ? fact.from : fact.offset
    if (next >= 0 && at !== next) found.push(`a reader of ${key} was at ${next} and went on at ${at}`)
    if (fact.f === 'gap') {
      if (fact.floor <= fact.from || fact.floor > floor)
        found.push(`a reader of ${key} at ${fact.from} was told of the floor ${fact.floor}, and it is ${floor}`)
      next = fact.floor
      continue
    }
    next = fact.offset + 1
    const line = lines[fact.offset - floor]
    const same = line === undefined || (line.turn === fact.turn && line.what === fact.what && line.n === fact.n)
    if (fact.offset >= floor && !same) found.push(`stream ${key} is not what it was at ${fact.offset}`)
  }
  return found
}

type Chunk = { offset: number; n: number }

/** What a reader is left with of each turn, resets applied: each chunk once, in order, none missing but for a gap. That
 *  may hide the reset of what came before it: what a turn brings after it stands for itself. */
function checkTurns(key: string, heard: readonly Heard[]): string[] {
  const found: string[] = []
  const left = new Map<string, Chunk[]>()
  // Nobody reads while a system comes to rest: the last turn may have gone on unheard.
  const last = heard.findLast((fact) => fact.f === 'heard')
  const torn = new Set<string>(last?.f === 'heard' ? [last.turn] : [])
  let gap = true // whatever was there before the first reader
  for (const fact of heard) {
    if (fact.f === 'gap') {
      gap = true
      // Whichever turns are around it may miss something.
      for (const [turn, chunks] of left) {
        found.push(...checkChunks(key, turn, { chunks, torn: torn.has(turn) || (chunks.at(-1)?.n ?? 0) < CRIES - 1 }))
        torn.add(turn)
      }
      left.clear()
      continue
    }
    const { turn, offset, n, what } = fact
    if (gap && !left.has(turn)) torn.add(turn)
    gap = false
    const chunks = left.get(turn) ?? []
    const to = what.startsWith('reset') ? Number(what.split(' ')[1]) : null
    left.set(turn, to === null ? [...chunks, { offset, n }] : chunks.filter((chunk) => chunk.offset < to))
  }
  for (const [turn, chunks] of left) found.push(...checkChunks(key, turn, { chunks, torn: torn.has(turn) }))
  return found
}

function checkChunks(
  key: string,
  turn: string,
  { chunks, torn }: { chunks: readonly Chunk[]; torn: boolean },
): string[] {
  const numbers = chunks.map(({ n }) => n)
  const ordered = numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0))
  if (ordered && (torn || numbers.length === CRIES)) return []
  return [`a reader of ${key} has ${numbers.join(' ')} of turn ${turn}`]
}
