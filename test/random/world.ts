/**
 * What a round of programs left behind, read when everything is at rest and sorted by program: states as an activation
 * reads them, rows of the app, streams as rows, and the log that the children wrote.
 */
import { readStore, type StoreReader } from 'vivarium'
import type { Place } from '../crash/place.ts'
import type { Rows } from '../crash/rows.ts'
import type { InterpreterState } from './interpreter.ts'
import type { Line } from './line.ts'
import { LAYERS } from './program.ts'

type Of<E extends Line['e']> = Extract<Line, { e: E }>

export type ProgramWorld = {
  /** By process and program. */
  readonly counts: Map<string, number>
  readonly seen: Map<string, { process: string; value: string }>
  readonly heard: Map<string, { process: string; value: string }>
  readonly notes: Map<string, { process: string; list: number[] }>
  readonly rows: { path: string; value: string }[]
  readonly streams: Map<string, { process: string; chunks: string[]; closed: boolean }>
  readonly begins: Of<'begin'>[]
  readonly effects: Map<string, Of<'effect'>[]>
  readonly tokens: Of<'token'>[]
  readonly settled: Of<'settled'>[]
  readonly results: number[]
  /** Places in the log at which a path acted outside. */
  readonly order: Map<string, number[]>
}

export function emptyWorld(): ProgramWorld {
  return {
    ...{ counts: new Map(), seen: new Map(), heard: new Map(), notes: new Map(), rows: [], streams: new Map() },
    ...{ begins: [], effects: new Map(), tokens: [], settled: [], results: [], order: new Map() },
  }
}

/** By program; what names no program is under its own name, and so a finding. */
export class Worlds {
  readonly #worlds = new Map<string, ProgramWorld>()

  /** Of the program that a path, or an id, belongs to. */
  of(path: string): ProgramWorld {
    const program = path.split('.', 1)[0] ?? path
    const world = this.#worlds.get(program) ?? emptyWorld()
    this.#worlds.set(program, world)
    return world
  }

  get programs(): string[] {
    return [...this.#worlds.keys()]
  }

  addState(process: string, { counts, seen, heard, notes }: InterpreterState): void {
    for (const [program, count] of Object.entries(counts)) this.of(program).counts.set(`${process} ${program}`, count)
    for (const [path, value] of Object.entries(seen)) this.of(path).seen.set(path, { process, value })
    for (const [path, value] of Object.entries(heard)) this.of(path).heard.set(path, { process, value })
    for (const [path, list] of Object.entries(notes)) this.of(path).notes.set(path, { process, list })
  }

  addLine(line: Line, place: number): void {
    switch (line.e) {
      case 'begin':
        this.of(line.path).begins.push(line)
        return
      case 'effect':
        append(this.of(line.path).effects, line.path, line)
        append(this.of(line.path).order, line.path, place)
        return
      case 'token':
        this.of(line.path).tokens.push(line)
        append(this.of(line.path).order, line.path, place)
        return
      case 'settled':
        this.of(line.path).settled.push(line)
        return
      case 'ended':
        this.of(line.program).results.push(line.result)
        return
      case 'failed':
        return // a finding whatever program it is of
      default:
        return line satisfies never
    }
  }
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

export async function readWorlds(place: Place, rows: Rows, table: string, lines: readonly Line[]): Promise<Worlds> {
  const worlds = new Worlds()
  await readStore({ data: place.data, schema: place.schema }, (reader) => readStates(reader, worlds))
  const { sql, schema } = rows
  const written = await sql<{ path: string; value: string }[]>`select path, value from ${sql(table)}`
  for (const { path, value } of written) worlds.of(path).rows.push({ path, value })
  const records = await sql<{ path: string; closed: boolean; reset: boolean; pos: string; data: Uint8Array }[]>`
    select s.path, s.closed, r.reset, r.pos, r.data
    from ${sql(schema)}.streams s join ${sql(schema)}.stream_records r on r.stream = s.id order by s.id, r.pos`
  const streams = new Map<string, { closed: boolean; chunks: { pos: number; text: string }[] }>()
  for (const { path, closed, reset, pos, data } of records) {
    const stream = streams.get(path) ?? { closed, chunks: [] }
    streams.set(path, stream)
    const text = Buffer.from(data).toString('utf8')
    if (reset) stream.chunks = stream.chunks.filter((chunk) => chunk.pos < Number(text))
    else stream.chunks.push({ pos: Number(pos), text: String(JSON.parse(text)) })
  }
  for (const [path, { closed, chunks }] of streams) {
    // processes/<agent>/<key>/<name>, the name being the path of the command.
    const [, agent, key, name = ''] = path.split('/')
    worlds.of(name).streams.set(name, { process: `${agent}/${key}`, closed, chunks: chunks.map(({ text }) => text) })
  }
  for (const [i, line] of lines.entries()) worlds.addLine(line, i)
  return worlds
}

async function readStates(reader: StoreReader, worlds: Worlds): Promise<void> {
  for (let layer = 0; layer < LAYERS; layer++) {
    for await (const { id, state } of reader.processes(`layer${layer}`)) {
      if (state !== null) worlds.addState(id, state as unknown as InterpreterState) // the shape of interpreter.ts
    }
  }
}
