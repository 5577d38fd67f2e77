/**
 * Patches: the difference a turn made, small, canonical and the only way a committed state ever changes.
 *
 * - T6: the live value after a turn *is* `applyPatches(base, patches)`, the very function that rebuilds it after a
 *   crash, over values that went through the canonical copy. Live and reloaded state agree by construction, key order
 *   included.
 * - T1: the base is never touched; only the path to a change is copied, the rest is shared and locked.
 * - A path is followed through own properties only, so no patch can reach a prototype.
 * - A group of patches larger than the subtree it changes is replaced by that subtree (`shift()` of 1,000 items).
 */
import { create } from 'mutative'
import { RuntimeError } from '../../shared/error.ts'
import { copy, encodeCopied, type Path, pathText, type Value } from '../../shared/value.ts'

export type Patch =
  | { readonly op: 'set'; readonly path: Path; readonly value: Value }
  | { readonly op: 'delete'; readonly path: Path }
  | { readonly op: 'insert'; readonly path: Path; readonly value: Value }
  | { readonly op: 'length'; readonly path: Path; readonly value: number }

/** Patches under one container from which on its encoded size is compared with theirs. */
const COMPACT_FROM = 8

export type Draft = { readonly value: unknown; finish(): Patch[] }

const OPTIONS = { enablePatches: { pathAsArray: true, arrayLengthAssignment: true }, strict: false } as const

/** A draft of `base`. States that are a primitive have no draft: they are replaced whole through `replace`. */
export function draftOf(base: Value): Draft {
  const [value, finalize] = create(base as object, OPTIONS) // callers hand in containers only (isDraftable)
  return {
    value,
    finish: () => {
      const [next, raw] = finalize()
      return raw.length === 0 ? [] : canonical(raw as readonly RawPatch[], next) // mutative's own patch shape
    },
  }
}

export function isDraftable(base: Value): boolean {
  return typeof base === 'object' && base !== null && !(base instanceof Date) && !(base instanceof Uint8Array)
}

/** The whole state anew. */
export function replaceAll(value: unknown): Patch[] {
  return [{ op: 'set', path: [], value: copy(value) }]
}

type RawPatch = { op: 'add' | 'replace' | 'remove'; path: (string | number)[]; value?: unknown }

function canonical(raw: readonly RawPatch[], next: unknown): Patch[] {
  const patches: Patch[] = []
  const whole = new Set<string>()
  for (const patch of raw) {
    const setPath = pathOfSet(next, patch.path)
    if (setPath !== null) {
      // Sets hold primitives only: the Set itself is the smallest change that keeps its order.
      const key = JSON.stringify(setPath)
      if (!whole.has(key)) patches.push({ op: 'set', path: setPath, value: copyAt(setPath, read(next, setPath)) })
      whole.add(key)
    } else patches.push(translate(patch, next))
  }
  return patches.length < COMPACT_FROM ? patches : compact(patches, next)
}

function translate(patch: RawPatch, next: unknown): Patch {
  const last = patch.path.at(-1)
  if (patch.op === 'remove') return { op: 'delete', path: patch.path }
  if (last === 'length' && Array.isArray(read(next, patch.path.slice(0, -1)))) {
    return { op: 'length', path: patch.path.slice(0, -1), value: Number(patch.value) }
  }
  const value = copyAt(patch.path, patch.value)
  const inserts = patch.op === 'add' && typeof last === 'number'
  return inserts ? { op: 'insert', path: patch.path, value } : { op: 'set', path: patch.path, value }
}

function copyAt(path: Path, value: unknown): Value {
  try {
    return copy(value)
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'VALUE_UNSUPPORTED') throw error
    const inner = String(error.detail['path'] ?? '$').slice(1)
    const full = `${pathText(path)}${inner}`
    throw new RuntimeError('VALUE_UNSUPPORTED', error.message.replace(/at \$\S*/, `at ${full}`), {
      detail: { path: full },
    })
  }
}

/** Longest prefix of the path at which the new state holds a Set, or null. */
function pathOfSet(next: unknown, path: Path): Path | null {
  let at: unknown = next
  for (let i = 0; i < path.length; i++) {
    if (at instanceof Set) return path.slice(0, i)
    at = child(at, path[i])
  }
  return null
}

function read(root: unknown, path: Path): unknown {
  return path.reduce<unknown>(child, root)
}

function child(container: unknown, part: string | number | undefined): unknown {
  if (typeof container !== 'object' || container === null || part === undefined) return undefined
  if (container instanceof Map) return container.get(part)
  return Object.hasOwn(container, part) ? Reflect.get(container, part) : undefined
}

/** Replaces each container whose patches outweigh it. Looks at direct containers only: deeper ones share its fate. */
function compact(patches: readonly Patch[], next: unknown): Patch[] {
  const groups = new Map<string, Patch[]>()
  for (const patch of patches) {
    const parent = patch.op === 'length' ? patch.path : patch.path.slice(0, -1)
    const key = JSON.stringify(parent)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [patch])
    else group.push(patch)
  }
  const replaced: { key: string; patch: Patch }[] = []
  for (const [key, group] of groups) {
    if (group.length < COMPACT_FROM) continue
    const path = JSON.parse(key) as Path // written by the line above
    const value = copyAt(path, read(next, path))
    if (encodeCopied(value).length < encodePatches(group).length)
      replaced.push({ key, patch: { op: 'set', path, value } })
  }
  if (replaced.length === 0) return [...patches]
  const covered = (path: Path): boolean =>
    replaced.some(({ patch }) => patch.path.every((part, i) => path[i] === part) && path.length >= patch.path.length)
  // Parents before children: a replaced subtree already holds everything below it.
  const kept = replaced
    .map(({ patch }) => patch)
    .filter((patch) => !replaced.some((r) => r.patch !== patch && isInside(patch.path, r.patch.path)))
  return [...patches.filter((patch) => !covered(patch.path)), ...kept]
}

function isInside(path: Path, outer: Path): boolean {
  return path.length > outer.length && outer.every((part, i) => path[i] === part)
}

export function encodePatches(patches: readonly Patch[]): string {
  return encodeCopied(patches as unknown as Value) // a patch is built of values only
}

/** The state after `patches`. Shares everything unchanged with `base`.
 *  @throws VALUE_UNSUPPORTED on a path that leads nowhere */
export function applyPatches(base: Value, patches: readonly Patch[]): Value {
  let state = base
  for (const patch of patches) state = applyAt(state, patch, 0)
  return state
}

function applyAt(at: Value, patch: Patch, depth: number): Value {
  if (depth === patch.path.length) {
    if (patch.op === 'set') return patch.value
    if (patch.op === 'length' && Array.isArray(at)) return Object.freeze(at.slice(0, patch.value))
    throw broken(patch)
  }
  const part = patch.path[depth] as string | number // inside the path by the check above
  // The path of `length` is that of the array itself, every other one ends at an item of its container.
  const last = depth === patch.path.length - 1 && patch.op !== 'length'
  if (Array.isArray(at)) return applyToArray(at, patch, part, last ? null : depth + 1)
  if (at instanceof Map) return applyToMap(at as ReadonlyMap<string, Value>, patch, part, last ? null : depth + 1)
  if (typeof at === 'object' && at !== null && !(at instanceof Set) && !(at instanceof Date)) {
    return applyToObject(at as Readonly<Record<string, Value>>, patch, part, last ? null : depth + 1)
  }
  throw broken(patch)
}

function applyToArray(at: readonly Value[], patch: Patch, part: string | number, deeper: number | null): Value {
  const index = Number(part)
  const out = at.slice()
  if (!Number.isInteger(index) || index < 0 || index > at.length) throw broken(patch)
  if (deeper !== null) {
    const item = at[index]
    if (item === undefined) throw broken(patch)
    out[index] = applyAt(item, patch, deeper)
  } else if (patch.op === 'set') out[index] = patch.value
  else if (patch.op === 'insert') out.splice(index, 0, patch.value)
  else if (patch.op === 'delete') out.splice(index, 1)
  else throw broken(patch)
  return Object.freeze(out)
}

function applyToObject(
  at: Readonly<Record<string, Value>>,
  patch: Patch,
  part: string | number,
  deeper: number | null,
): Value {
  const key = String(part)
  if (key === '__proto__') throw broken(patch)
  const out = { ...at }
  if (deeper !== null) {
    const item = Object.hasOwn(at, key) ? at[key] : undefined
    if (item === undefined) throw broken(patch)
    out[key] = applyAt(item, patch, deeper)
  } else if (patch.op === 'delete') delete out[key]
  else if (patch.op === 'length') throw broken(patch)
  else out[key] = patch.value
  return Object.freeze(out)
}

function applyToMap(at: ReadonlyMap<string, Value>, patch: Patch, part: string | number, deeper: number | null): Value {
  const key = String(part)
  const out = new Map(at)
  if (deeper !== null) {
    const item = at.get(key)
    if (item === undefined) throw broken(patch)
    out.set(key, applyAt(item, patch, deeper))
  } else if (patch.op === 'delete') out.delete(key)
  else if (patch.op === 'length') throw broken(patch)
  else out.set(key, patch.value)
  return copy(out)
}

function broken(patch: Patch): RuntimeError {
  return new RuntimeError(
    'VALUE_UNSUPPORTED',
    `A patch "${patch.op}" at ${pathText(patch.path)} leads nowhere in the state.`,
    {
      detail: { path: pathText(patch.path) },
    },
  )
}
