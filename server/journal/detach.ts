/**
 * Takes large values out of a text that is about to be stored, so that the row holds their hash and each is stored once
 * (V4). Putting them back gives the same text, byte for byte (shared/blob-text.ts).
 *
 * - Only values leave: what kind of entry it is, its turn, key and paths stay where people and checkers read them.
 * - The smallest large part leaves first, so a state whose one large field never changes shares it between all its
 *   snapshots, the patch that set it and the step that fetched it.
 * - It works on the stored text and knows no value: nothing here can change one.
 */
import { hash as digest } from 'node:crypto'
import { blobReference } from '../../shared/blob-text.ts'
import type { NewBlob } from '../store/store.ts'

/** Characters of text above which a value is stored apart. Below it a value is cheaper in its row than behind a second
 *  statement, far above it a row delays the neighbours in its batch. */
export const BLOB_CHARS_MIN = 64 * 1024
/** Levels of a value that are looked at one by one; each costs its text once more. What is deeper leaves as a whole. */
const LEVELS_MAX = 16
/** Escaped, a character of a text can become six: shorter texts are small whatever they hold. */
const ESCAPED_CHARS_MAX = 6

export type Detached = { readonly text: string; readonly blobs: readonly NewBlob[] }

/** Fields of entries, outcomes, messages and patches that hold a value (entry.ts). */
const VALUES: ReadonlySet<string> = new Set(['ok', 'value', 'args', 'base', 'reason', 'result', 'stack'])
/** Fields that hold such fields, and `message` of an error, which is a text itself. */
const FRAMES: ReadonlySet<string> = new Set(['out', 'message', 'patches', 'err', 'cause'])

/** @param payload  by `encodeEntries` */
export function detachEntries(payload: string): Detached {
  const blobs = new Map<string, string>()
  return { text: frame(JSON.parse(payload), payload, blobs), blobs: listed(blobs) }
}

/** @param text  a value by `encode` */
export function detachValue(text: string): Detached {
  if (text.length <= BLOB_CHARS_MIN) return { text, blobs: [] }
  const blobs = new Map<string, string>()
  return { text: apart(JSON.parse(text), text, { blobs, level: 0 }), blobs: listed(blobs) }
}

/** Stays in the row; the values below it may leave. */
function frame(node: unknown, text: string, blobs: Map<string, string>): string {
  return withParts(node, text, (part, partText, key) => {
    const isFrame = key === null || FRAMES.has(key)
    if (isFrame && typeof part !== 'string') return frame(part, partText, blobs)
    return isFrame || VALUES.has(key) ? apart(part, partText, { blobs, level: 0 }) : partText
  })
}

function apart(node: unknown, text: string, at: { blobs: Map<string, string>; level: number }): string {
  const { blobs, level } = at
  const inner = { blobs, level: level + 1 }
  const rest = level === LEVELS_MAX ? text : withParts(node, text, (part, partText) => apart(part, partText, inner))
  if (rest.length <= BLOB_CHARS_MIN) return rest
  const hash = digest('sha256', rest)
  blobs.set(hash, rest)
  return blobReference(hash)
}

/** The text of a container with its large parts replaced; `key` is null in a list. */
function withParts(
  node: unknown,
  text: string,
  replace: (part: unknown, partText: string, key: string | null) => string,
): string {
  if (typeof node !== 'object' || node === null) return text
  const list = Array.isArray(node)
  const replaced = new Map<string, string>()
  for (const [key, part] of Object.entries(node)) {
    if (isSmall(part)) continue
    const partText = JSON.stringify(part)
    if (partText.length <= BLOB_CHARS_MIN) continue
    const instead = replace(part, partText, list ? null : key)
    if (instead !== partText) replaced.set(key, instead)
  }
  if (replaced.size === 0) return text
  const parts = Object.entries(node).map(([key, part]) => {
    const partText = replaced.get(key) ?? JSON.stringify(part)
    return list ? partText : `${JSON.stringify(key)}:${partText}`
  })
  return list ? `[${parts.join(',')}]` : `{${parts.join(',')}}`
}

function isSmall(part: unknown): boolean {
  if (typeof part === 'string') return part.length * ESCAPED_CHARS_MAX + 2 <= BLOB_CHARS_MIN
  return typeof part !== 'object' || part === null
}

/** By hash: two writers that meet lock the rows in one order. */
function listed(blobs: ReadonlyMap<string, string>): NewBlob[] {
  return [...blobs].map(([hash, value]) => ({ hash, value })).sort((a, b) => (a.hash < b.hash ? -1 : 1))
}
