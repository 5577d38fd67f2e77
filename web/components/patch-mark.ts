/**
 * Which lines of a state the last commit wrote, read from the journal entry that made it. The formats are those of the
 * journal; anything else in a payload marks nothing.
 */
import { childPath, type Mark } from '../ui/json-node.ts'

type Patch = { op: string; path: readonly (string | number)[] }

export function patchMarks(payload: unknown): ReadonlyMap<string, Mark> {
  const marks = new Map<string, Mark>()
  for (const entry of Array.isArray(payload) ? payload : [payload]) {
    for (const patch of patchesOf(entry)) {
      // What was deleted has no line any more: its parent shows it.
      const path = patch.op === 'delete' ? patch.path.slice(0, -1) : patch.path
      const line = path.reduce<string>((text, part) => childPath(text, String(part)), '$')
      marks.set(line, patch.op === 'insert' ? 'added' : 'changed')
    }
  }
  return marks
}

function patchesOf(entry: unknown): Patch[] {
  if (typeof entry !== 'object' || entry === null || !('patches' in entry)) return []
  return Array.isArray(entry.patches) ? entry.patches.filter(isPatch) : []
}

function isPatch(value: unknown): value is Patch {
  return typeof value === 'object' && value !== null && 'op' in value && 'path' in value && Array.isArray(value.path)
}
