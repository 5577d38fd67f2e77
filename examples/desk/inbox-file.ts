/**
 * Reads an inbox file piece by piece, from a byte position that a cursor can remember.
 *
 * - A line without its newline at the end of the file counts: files written by hand often end so.
 * - A line that does not fit is reported with its reason and never stops the ones after it.
 */
import { open } from 'node:fs/promises'
import { type InboxLine, parseInboxLine } from './inbox.ts'

export type Piece = {
  lines: InboxLine[]
  /** Lines that are no requests, and why. */
  refused: { line: number; reason: string }[]
  /** Byte and line to go on from. */
  offset: number
  line: number
  /** The file holds nothing more. */
  end: boolean
}

/** Bytes read at once; longer than the longest line (inbox.ts bounds its text to 20,000 units, up to 6 bytes each). */
const PIECE_BYTES = 256 * 1024
const NEWLINE = 0x0a

export async function readPiece(path: string, from: { offset: number; line: number }, limit: number): Promise<Piece> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(PIECE_BYTES)
    const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, from.offset)
    return cut(buffer.subarray(0, bytesRead), from, { limit, last: bytesRead < PIECE_BYTES })
  } finally {
    await file.close()
  }
}

function cut(
  bytes: Buffer,
  from: { offset: number; line: number },
  { limit, last }: { limit: number; last: boolean },
): Piece {
  const piece: Piece = { lines: [], refused: [], offset: from.offset, line: from.line, end: false }
  let at = 0
  while (piece.line - from.line < limit && at < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, at)
    if (newline < 0 && !last) break
    const stop = newline < 0 ? bytes.length : newline
    take(piece, bytes.toString('utf8', at, stop))
    at = newline < 0 ? bytes.length : newline + 1
  }
  if (at === 0 && bytes.length === PIECE_BYTES) {
    throw new Error(`Line ${from.line + 1} of the inbox is longer than ${PIECE_BYTES} bytes`)
  }
  piece.offset += at
  piece.end = last && at === bytes.length
  return piece
}

function take(piece: Piece, json: string): void {
  piece.line += 1
  if (json.trim() === '') return
  try {
    const { n, customer, text } = parseInboxLine(json)
    piece.lines.push({ n, customer, text })
  } catch (error) {
    piece.refused.push({ line: piece.line, reason: reasonOf(error) })
  }
}

/** One line of text: the first issue of a schema, or what the JSON parser said. */
export function reasonOf(error: unknown): string {
  const issues: unknown = error instanceof Error ? Reflect.get(error, 'issues') : undefined
  if (!Array.isArray(issues)) return error instanceof Error ? error.message : String(error)
  const [first] = issues as { path: PropertyKey[]; message: string }[] // the shape of every ZodError
  return first === undefined ? 'does not fit' : `${first.path.map(String).join('.')}: ${first.message}`
}
