/**
 * Streams as rows: positions without gaps, each telling whole or voided, and whatever a live reader got still there.
 */
import { CHUNKS } from './errand.ts'
import type { Facts } from './fact.ts'
import type { Rows } from './rows.ts'

export type StreamLine = { pos: number; reset: boolean; turn: string; step: string | null; text: string }
export type StoredStream = { tail: number; closed: boolean; lines: readonly StreamLine[] }
/** By path below the scribe: `r1-7/text`. */
export type StoredStreams = ReadonlyMap<string, StoredStream>

export async function readStreams({ sql, schema }: Rows): Promise<StoredStreams> {
  const streams = await sql<{ id: string; path: string; tail: string; closed: boolean }[]>`
    select id, path, tail, closed from ${sql(schema)}.streams where path like 'processes/scribe/%'`
  const lines = await sql<{ stream: string; pos: string; reset: boolean; turn: string; step: string; text: string }[]>`
    select stream, pos, reset, turn, step, convert_from(data, 'UTF8') as text
    from ${sql(schema)}.stream_records order by stream, pos`
  const byStream = new Map<string, StreamLine[]>(streams.map(({ id }) => [id, []]))
  for (const { stream, pos, ...line } of lines) byStream.get(stream)?.push({ pos: Number(pos), ...line })
  return new Map(
    streams.map(({ id, path, tail, closed }) => {
      const name = path.split('/').slice(-2).join('/')
      return [name, { tail: Number(tail), closed, lines: byStream.get(id) ?? [] }]
    }),
  )
}

export function checkStreams(streams: StoredStreams, facts: Facts, said: ReadonlyMap<string, string>): string[] {
  const found: string[] = []
  for (const [name, { tail, lines }] of streams) {
    if (lines.length !== tail || lines.some(({ pos }, i) => pos !== i))
      found.push(`stream ${name} ends at ${tail} and has ${lines.map(({ pos }) => pos).join(' ')}`)
  }
  for (const { id, offset, what } of facts.seen) {
    const line = streams.get(`${id}/text`)?.lines[offset]
    const is = line === undefined ? 'nothing' : shown(line)
    if (is !== what) found.push(`stream ${id} had "${what}" at ${offset} and has ${is}`)
  }
  for (const [id, op] of facts.wanted) {
    const telling = said.get(`tell ${id}`)
    if (op.kind !== 'errand' || op.of !== 'tell' || telling === undefined) continue
    const chunks = Array.from({ length: CHUNKS }, (_, i) => `chunk ${telling} ${i}`)
    found.push(...checkWhole(`${id}/text`, streams.get(`${id}/text`), chunks))
    found.push(...checkWhole(`${id}/log`, streams.get(`${id}/log`), ['chunk begins', 'chunk ends']))
  }
  return found
}

/** What a reader of the whole stream is left with. */
function checkWhole(name: string, stream: StoredStream | undefined, expected: readonly string[]): string[] {
  if (stream === undefined) return [`stream ${name} is lost`]
  const left = valid(stream.lines).map(shown)
  const found = stream.closed ? [] : [`stream ${name} has no end`]
  if (left.join('\n') !== expected.join('\n')) found.push(`stream ${name} tells ${left.join(', ')}`)
  return found
}

function valid(lines: readonly StreamLine[]): StreamLine[] {
  let left: StreamLine[] = []
  for (const line of lines) {
    if (!line.reset) left.push(line)
    else
      left = left.filter(({ pos, turn, step }) => turn !== line.turn || step !== line.step || pos < Number(line.text))
  }
  return left
}

function shown({ reset, text }: StreamLine): string {
  return reset ? `reset ${text}` : `chunk ${JSON.parse(text) as string}` // chunks of errand.ts are texts
}
