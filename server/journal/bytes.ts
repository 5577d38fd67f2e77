/**
 * `Uint8Array` is the one value the language cannot lock. User code therefore gets copies of bytes, and a copy of the
 * state's bytes that was changed in place is found when the turn ends: the draft would make no patch of it, so the
 * change would be lost without a word (shared/value.ts V2).
 *
 * - What is committed, queued or journaled is never reachable from user code.
 * - Values without bytes are handed over as they are; which ones have some is remembered per container, so a turn pays
 *   for the containers it changed only.
 */
import { RuntimeError } from '../../shared/error.ts'
import { copy, pathText, type Value } from '../../shared/value.ts'

type Found = { readonly bytes: Uint8Array; readonly path: readonly (string | number)[] }

/** Containers that were looked through: they are frozen, so the answer stays true. */
const HOLDS = new WeakMap<object, boolean>()

/** The value itself, or a copy where it holds bytes. */
export function handOver(value: Value): Value {
  return holdsBytes(value) ? copy(value) : value
}

/** @throws VALUE_MUTATED with the path  bytes of `shown`, which was handed out for `base`, were changed in place */
export function assertUntouched(base: Value, shown: Value): void {
  if (base === shown) return
  const before = bytesOf(base)
  for (const [i, { bytes, path }] of bytesOf(shown).entries()) {
    if (before[i] !== undefined && Buffer.compare(before[i].bytes, bytes) === 0) continue
    throw new RuntimeError(
      'VALUE_MUTATED',
      `The bytes at ${pathText(path)} of the state were changed in place. Replace the Uint8Array whole instead.`,
      { detail: { path: pathText(path) } },
    )
  }
}

function holdsBytes(value: Value): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (value instanceof Uint8Array) return true
  if (value instanceof Date || value instanceof Set) return false
  const known = HOLDS.get(value)
  if (known !== undefined) return known
  let nested = false
  const holds = (item: Value): boolean => {
    if (typeof item !== 'object' || item === null) return false
    nested = true
    return holdsBytes(item)
  }
  const found = someItem(value, holds)
  // Flat containers are as fast to look through as to look up.
  if (nested) HOLDS.set(value, found)
  return found
}

function someItem(value: object, test: (item: Value) => boolean): boolean {
  if (Array.isArray(value)) return value.some(test)
  if (value instanceof Map) {
    for (const item of value.values() as Iterable<Value>) if (test(item)) return true
    return false
  }
  const plain = value as Record<string, Value> // everything else was told apart before
  for (const key in plain) if (test(plain[key] ?? null)) return true
  return false
}

function bytesOf(value: Value, path: readonly (string | number)[] = [], found: Found[] = []): Found[] {
  if (value instanceof Uint8Array) found.push({ bytes: value, path })
  else if (holdsBytes(value)) for (const [key, item] of itemsOf(value as object)) bytesOf(item, [...path, key], found)
  return found
}

function itemsOf(value: object): [string | number, Value][] {
  if (Array.isArray(value)) return value.map((item: Value, i) => [i, item])
  if (value instanceof Map) return [...value] as [string, Value][] // keys of a value's Map are texts
  return Object.entries(value)
}
