/**
 * State from patches, written anew from what docs/tables.md says of them, over plain JSON: it shares nothing with the
 * runtime but the format, so that a mistake there is not repeated here.
 */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type RawPatch = { op: 'set' | 'delete' | 'insert' | 'length'; path: (string | number)[]; value?: Json }

export function patched(state: Json, patches: readonly RawPatch[]): Json {
  let next = state
  for (const patch of patches) next = at(next, patch.path, patch)
  return next
}

function at(state: Json, path: readonly (string | number)[], patch: RawPatch): Json {
  const [first, ...rest] = path
  const value = patch.value ?? null
  if (first === undefined) return patch.op === 'length' ? (state as Json[]).slice(0, Number(value)) : value
  const inside = rest.length > 0 || patch.op === 'length'
  if (Array.isArray(state)) {
    const items = [...state]
    const i = Number(first)
    if (inside) items[i] = at(items[i] ?? null, rest, patch)
    else if (patch.op === 'insert') items.splice(i, 0, value)
    else if (patch.op === 'delete') items.splice(i, 1)
    else items[i] = value
    return items
  }
  if (typeof state !== 'object' || state === null) throw new Error(`Nothing is at ${JSON.stringify(patch.path)}.`)
  const { ...fields } = state
  if (inside) fields[first] = at(fields[first] ?? null, rest, patch)
  else if (patch.op === 'delete') delete fields[first]
  else fields[first] = value
  return fields
}
