/**
 * The values that state and messages are made of, and their one text form.
 *
 * - V1: `decode(encode(v))` equals `v` for every accepted value, key order included; so live and reloaded state agree.
 * - V2: `copy` shares nothing mutable with its input: objects and arrays are frozen, `Date`, `Map` and `Set` refuse
 *   in-place change. Only `Uint8Array` cannot be locked by the language; the journal hands out copies (bytes.ts).
 * - V3: anything outside the documented set is refused with its path, before it can reach a store.
 *
 * Text form: JSON. What JSON lacks is an object with one `$` key (`$date $bytes $map $set $n`); a user's own key that
 * begins with `$` gets a second `$`. `$blob` stands for a large value in stored texts only (blob-text.ts): `decode`
 * refuses it, so a value that was not put back is never taken for one.
 */
import { RuntimeError } from './error.ts'

export type Primitive = string | number | boolean | null
export type Value =
  | Primitive
  | Date
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value }
  | ValueMap
  | ValueSet
export type ValueMap = ReadonlyMap<string, Value>
export type ValueSet = ReadonlySet<Primitive>

/** Nesting levels. Deeper structures overflow the stack of the JSON codec long before they are useful. */
export const VALUE_DEPTH_MAX = 200

export type Path = readonly (string | number)[]

/** A deep, locked copy. Functions of the input's prototype chain are never called.
 *  @throws VALUE_UNSUPPORTED with `detail.path` for anything outside the documented set */
export function copy(value: unknown): Value {
  return copyAt(value, 0, true)
}

/** As `copy`, but the result belongs to whoever gets it and may be changed: for what stays in memory as plain data.
 *  Keys that are symbols are not looked for; `copy` refuses them before anything is stored.
 *  @throws VALUE_UNSUPPORTED */
export function clone(value: unknown): Value {
  return copyAt(value, 0, false)
}

function copyAt(value: unknown, depth: number, lock: boolean): Value {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return finite(value)
    case 'object':
      return value === null ? null : copyObject(value, depth, lock)
    default:
      throw refused(value)
  }
}

function copyObject(value: object, depth: number, lock: boolean): Value {
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto === Object.prototype && depth <= VALUE_DEPTH_MAX) return copyPlain(value, depth, lock)
  if (depth > VALUE_DEPTH_MAX) throw new Refusal(`is nested deeper than ${VALUE_DEPTH_MAX} levels`)
  if (Array.isArray(value)) return copyArray(value, depth, lock)
  if (proto === null) return copyPlain(value, depth, lock)
  if (value instanceof Date) return lock ? lockedDate(value) : validDate(value)
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (value instanceof Map) return copyMap(value, depth, lock)
  if (value instanceof Set) return copySet(value, lock)
  if (Object.getPrototypeOf(proto) === null && 'constructor' in value) {
    // Plain objects of another realm (vm contexts, test runners) look exactly like ours but for the identity of Object.
    if (Reflect.get(proto as object, 'constructor')?.name === 'Object') return copyPlain(value, depth, lock)
  }
  throw refused(value)
}

function copyPlain(value: object, depth: number, lock: boolean): Value {
  const source = value as Record<string, Value> // Value is what this function is about to make sure of
  const flat = isFlat(source)
  // A spread clones the shape in one go: own enumerable keys, no setter runs, `__proto__` becomes a plain own key.
  const out = { ...source }
  if (!flat) copyItems(out, depth, lock)
  // Looking for symbols costs as much as all the rest, so it is done only for what may be stored.
  if (lock && Object.getOwnPropertySymbols(out).length > 0) throw new Refusal('has a symbol as key')
  return lock ? Object.freeze(out) : out
}

/** Flat objects of primitives are most of all messages. Looping over the source, whose shape is warm, is what is fast:
 *  30 ns for five fields where looping over the clone takes 90. */
function isFlat(source: Record<string, unknown>): boolean {
  for (const key in source) {
    if (key === '__proto__') return false
    const item = source[key]
    const type = typeof item
    if (type === 'string' || type === 'boolean' || item === null) continue
    if (type !== 'number' || !Number.isFinite(item)) return false
  }
  return true
}

function copyItems(out: Record<string, Value>, depth: number, lock: boolean): void {
  for (const key in out) {
    if (!Object.hasOwn(out, key)) continue // an enumerable key somebody added to Object.prototype is not ours
    if (key === '__proto__') throw within(new Refusal('is a key that would change the prototype of the object'), key)
    try {
      out[key] = copyAt(out[key], depth + 1, lock)
    } catch (error) {
      throw within(error, key)
    }
  }
}

function copyArray(value: readonly unknown[], depth: number, lock: boolean): Value {
  const out: Value[] = new Array(value.length)
  for (let i = 0; i < value.length; i++) {
    try {
      if (!(i in value)) throw new Refusal('is a hole; use null')
      out[i] = copyAt(value[i], depth + 1, lock)
    } catch (error) {
      throw within(error, i)
    }
  }
  return lock ? Object.freeze(out) : out
}

function copyMap(value: ReadonlyMap<unknown, unknown>, depth: number, lock: boolean): Value {
  const out = new Map<string, Value>()
  for (const [key, item] of value) {
    if (typeof key !== 'string') throw new Refusal(`has a ${typeof key} as Map key; keys must be strings`)
    try {
      out.set(key, copyAt(item, depth + 1, lock))
    } catch (error) {
      throw within(error, key)
    }
  }
  return lock ? lockMap(out) : out
}

function copySet(value: ReadonlySet<unknown>, lock: boolean): Value {
  const out = new Set<Primitive>()
  for (const item of value) {
    if (typeof item === 'object' && item !== null) throw new Refusal('has an object in a Set; use primitives')
    out.add(copyAt(item, 0, lock) as Primitive) // proved primitive by the line above
  }
  return lock ? lockSet(out) : out
}

function finite(value: number): number {
  if (Number.isFinite(value)) return value
  throw new Refusal(`is ${value}; numbers must be finite`)
}

// Locks. An own property shadows the mutating method, so `instanceof`, iteration and reading stay native.

function immutable(): never {
  throw new RuntimeError(
    'VALUE_MUTATED',
    'A Date, Map or Set that belongs to a message or to committed state was changed in place. ' +
      'Replace it whole, or change a Map or Set through ctx.state inside a handler.',
  )
}

const LOCK: PropertyDescriptor = { value: immutable, enumerable: false, configurable: false, writable: false }

function lockMap(map: Map<string, Value>): ValueMap {
  Object.defineProperties(map, { set: LOCK, delete: LOCK, clear: LOCK })
  return map
}

function lockSet(set: Set<Primitive>): ValueSet {
  Object.defineProperties(set, { add: LOCK, delete: LOCK, clear: LOCK })
  return set
}

const DATE_SETTERS: PropertyDescriptorMap = Object.fromEntries(
  Object.getOwnPropertyNames(Date.prototype)
    .filter((name) => name.startsWith('set'))
    .map((name) => [name, LOCK]),
)

function lockedDate(value: Date): Date {
  return Object.defineProperties(validDate(value), DATE_SETTERS)
}

function validDate(value: Date): Date {
  const ms = value.getTime()
  if (Number.isNaN(ms)) throw new Refusal('is an invalid Date')
  return new Date(ms)
}

// Text form

/** @throws VALUE_UNSUPPORTED with `detail.path` */
export function encode(value: unknown): string {
  return encodeCopied(copy(value))
}

/** For values that went through `copy` or `decode` already. */
export function encodeCopied(value: Value): string {
  return needsTags(value) ? JSON.stringify(tag(value)) : JSON.stringify(value)
}

/** @throws VALUE_UNSUPPORTED when the text was not written by `encode` */
export function decode(text: string): Value {
  return copyDecoded(JSON.parse(text))
}

function needsTags(value: Value): boolean {
  if (typeof value === 'number') return Object.is(value, -0)
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some(needsTags)
  if (!isPlain(value)) return true
  for (const key in value) {
    if (key.charCodeAt(0) === 36 /* $ */) return true
    const item = value[key]
    if (item !== undefined && needsTags(item)) return true
  }
  return false
}

function tag(value: Value): unknown {
  if (typeof value === 'number') return Object.is(value, -0) ? { $n: '-0' } : value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(tag)
  if (value instanceof Date) return { $date: value.getTime() }
  if (value instanceof Uint8Array) return { $bytes: value.toBase64() }
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [key, tag(item)]) }
  if (value instanceof Set) return { $set: [...value].map(tag) }
  const out: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) out[key.startsWith('$') ? `$${key}` : key] = tag(item)
  return out
}

function copyDecoded(value: unknown): Value {
  if (typeof value !== 'object' || value === null) return copy(value)
  if (Array.isArray(value)) return decodedItems(value)
  const source = value as Record<string, unknown> // JSON.parse makes plain objects only
  let tagged = false
  let at: string | null = null
  try {
    for (const key in source) {
      at = key
      if (key.charCodeAt(0) === 36) tagged = true
      else source[key] = copyDecoded(source[key])
    }
  } catch (error) {
    throw within(error, at)
  }
  return tagged ? untag(source) : Object.freeze(source as Record<string, Value>)
}

function decodedItems(items: unknown[]): readonly Value[] {
  let i = 0
  try {
    for (; i < items.length; i++) items[i] = copyDecoded(items[i])
  } catch (error) {
    throw within(error, i)
  }
  return Object.freeze(items as Value[]) // every item went through copyDecoded
}

function untag(source: Record<string, unknown>): Value {
  const keys = Object.keys(source)
  const only = keys.length === 1 ? keys[0] : undefined
  if (only !== undefined && !only.startsWith('$$')) {
    try {
      return untagged(only, source[only])
    } catch (error) {
      throw within(error, only)
    }
  }
  const out: Record<string, Value> = {}
  for (const key of keys) {
    if (key.startsWith('$') && !key.startsWith('$$')) throw within(new Refusal(UNKNOWN_TAG), key)
    // Keys without a `$` were decoded where they were found.
    try {
      if (key.startsWith('$')) out[key.slice(1)] = copyDecoded(source[key])
      else out[key] = source[key] as Value
    } catch (error) {
      throw within(error, key.slice(1))
    }
  }
  return Object.freeze(out)
}

const UNKNOWN_TAG = 'is an unknown tag of the text form'

/** A value of the text form under its tag. People write these too, so each body is looked at. */
function untagged(tag: string, body: unknown): Value {
  switch (tag) {
    case '$n':
      if (body === '-0') return -0
      throw new Refusal('must be "-0"; write any other number as it is')
    case '$date':
      if (typeof body === 'number') return lockedDate(new Date(body))
      throw new Refusal('must be a number of epoch milliseconds')
    case '$bytes':
      return bytesOf(body)
    case '$set':
      if (Array.isArray(body)) return lockSet(new Set(decodedItems(body).map(primitive)))
      throw new Refusal('must be an array')
    case '$map':
      if (Array.isArray(body)) return lockMap(new Map(body.map(entryOf)))
      throw new Refusal('must be an array of [key, value]')
    default:
      throw new Refusal(UNKNOWN_TAG)
  }
}

function bytesOf(body: unknown): Uint8Array {
  try {
    if (typeof body === 'string') return Uint8Array.fromBase64(body)
  } catch {} // what is wrong with it is said below
  throw new Refusal('must be base64 text')
}

function primitive(item: Value, i: number): Primitive {
  if (typeof item === 'object' && item !== null) {
    throw within(new Refusal('is an object in a Set; use primitives'), i)
  }
  return item
}

function entryOf(entry: unknown, i: number): [string, Value] {
  try {
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string') {
      throw new Refusal('must be [key, value] with a string as key')
    }
    return [entry[0], copyDecoded(entry[1])]
  } catch (error) {
    throw within(error, i)
  }
}

export function isPlain(value: object): value is { readonly [key: string]: Value } {
  const proto: object | null = Object.getPrototypeOf(value)
  return (
    proto === Object.prototype ||
    proto === null ||
    !(
      value instanceof Date ||
      value instanceof Uint8Array ||
      value instanceof Map ||
      value instanceof Set ||
      Array.isArray(value)
    )
  )
}

/** `$.items[3].price`, as people write it. */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number'
        ? `${text}[${part}]`
        : /^\w+$/.test(part)
          ? `${text}.${part}`
          : `${text}[${JSON.stringify(part)}]`,
    '$',
  )
}

/** Carries the path upwards while the copy unwinds; becomes a RuntimeError that is right at every level. */
class Refusal extends RuntimeError {
  readonly path: Path
  readonly what: string
  constructor(what: string, path: Path = []) {
    super('VALUE_UNSUPPORTED', `Value at ${pathText(path)} ${what.replace(/\.$/, '')}.`, {
      detail: { path: pathText(path) },
    })
    this.path = path
    this.what = what
  }
}

function within(error: unknown, part: string | number | null): unknown {
  return error instanceof Refusal && part !== null ? new Refusal(error.what, [part, ...error.path]) : error
}

function refused(value: unknown): Refusal {
  if (typeof value === 'object' && value !== null) {
    return new Refusal(`is a ${value.constructor?.name ?? 'class instance'}; only plain data can be stored`)
  }
  return new Refusal(`is ${value === undefined ? 'undefined; use null or leave the key out' : `a ${typeof value}`}`)
}
