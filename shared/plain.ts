/**
 * Values across a border that speaks JSON (HTTP, feed): objects in the tagged form of shared/value.ts.
 */
import { copy, decode, encode, type Value } from './value.ts'

/** JSON for a value of an agent. Undefined becomes null. @throws VALUE_UNSUPPORTED */
export function toPlain(value: unknown): unknown {
  return value === undefined || value === null ? null : JSON.parse(encode(value))
}

/** The value that JSON from outside means; nothing is null.
 *  @throws VALUE_UNSUPPORTED with the path, e.g. for `__proto__` as a key */
export function fromPlain(json: unknown): Value {
  // Copied first: it refuses keys that would change a prototype, before the tags are looked at.
  return json === undefined ? null : decode(JSON.stringify(copy(json)))
}
