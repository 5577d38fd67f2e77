/**
 * A JSON value as the flat list of lines a virtual tree shows, and which lines differ from an earlier value.
 *
 * - Values in the tagged text form (`$date $bytes $map $set $n`, shared/value.ts) are shown as what they stand for.
 * - A node shows at most CHILDREN_SHOWN children until more are asked for: a list of a million items is one click away,
 *   not in the way.
 */

export const CHILDREN_SHOWN = 200

export type Mark = 'added' | 'changed'

export type JsonLine = {
  /** Unique; also what the reader copies. */
  path: string
  name: string
  depth: number
  text: string
  tone: 'string' | 'number' | 'keyword' | 'special' | 'branch' | 'more'
  /** Null for leaves. */
  open: boolean | null
  mark: Mark | null
}

type Entry = readonly [name: string, value: unknown]
type Shape =
  | { kind: 'leaf'; text: string; tone: JsonLine['tone'] }
  | { kind: 'branch'; label: string; entries: Entry[] }

export type LineOptions = {
  /** Paths whose openness differs from the default. */
  toggled: ReadonlySet<string>
  /** Paths that show all their children. */
  whole: ReadonlySet<string>
  marks: ReadonlyMap<string, Mark>
}

/** Levels that are open at first. */
const OPEN_DEPTH = 2

export function jsonLines(value: unknown, options: LineOptions): JsonLine[] {
  const lines: JsonLine[] = []
  const ancestors = ancestorsOf(options.marks)
  const visit = (entry: Entry, path: string, depth: number) => {
    const shape = shapeOf(entry[1])
    const mark = options.marks.get(path) ?? null
    if (shape.kind === 'leaf') {
      lines.push({ path, name: entry[0], depth, text: shape.text, tone: shape.tone, open: null, mark })
      return
    }
    const byDefault = depth < OPEN_DEPTH || ancestors.has(path)
    const open = options.toggled.has(path) ? !byDefault : byDefault
    lines.push({ path, name: entry[0], depth, text: shape.label, tone: 'branch', open, mark })
    if (!open) return
    const shown = options.whole.has(path) ? shape.entries : shape.entries.slice(0, CHILDREN_SHOWN)
    for (const child of shown) visit(child, childPath(path, child[0]), depth + 1)
    const rest = shape.entries.length - shown.length
    if (rest > 0) {
      const text = `${rest.toLocaleString('en-US')} more`
      lines.push({ path, name: '', depth: depth + 1, text, tone: 'more', open: null, mark: null })
    }
  }
  visit(['', value], '$', 0)
  return lines
}

/** Paths in `after` that were not in `before` or have another value; parents of a change are not marked. */
export function jsonMarks(before: unknown, after: unknown): Map<string, Mark> {
  const marks = new Map<string, Mark>()
  const compare = (old: unknown, now: unknown, path: string) => {
    if (Object.is(old, now)) return
    const was = shapeOf(old)
    const is = shapeOf(now)
    if (is.kind === 'leaf' || was.kind === 'leaf') {
      if (is.kind !== was.kind || (is.kind === 'leaf' && was.kind === 'leaf' && is.text !== was.text)) {
        marks.set(path, 'changed')
      }
      return
    }
    const known = new Map(was.entries)
    for (const [name, value] of is.entries) {
      if (known.has(name)) compare(known.get(name), value, childPath(path, name))
      else marks.set(childPath(path, name), 'added')
      known.delete(name)
    }
    if (known.size > 0) marks.set(path, 'changed') // something left: the parent shows it
  }
  compare(before, after, '$')
  return marks
}

function shapeOf(value: unknown): Shape {
  switch (typeof value) {
    case 'string':
      return { kind: 'leaf', text: JSON.stringify(value), tone: 'string' }
    case 'number':
      return { kind: 'leaf', text: String(value), tone: 'number' }
    case 'object':
      return value === null ? { kind: 'leaf', text: 'null', tone: 'keyword' } : objectShape(value)
    default:
      return { kind: 'leaf', text: String(value), tone: 'keyword' }
  }
}

function objectShape(value: object): Shape {
  if (Array.isArray(value)) return arrayShape(value, 'array')
  const entries: Entry[] = Object.entries(value)
  const tagged = entries.length === 1 ? taggedShape(entries[0]) : null
  if (tagged !== null) return tagged
  const named = entries.map(([name, item]): Entry => [name.startsWith('$$') ? name.slice(1) : name, item])
  return { kind: 'branch', label: named.length === 0 ? '{}' : `{ ${count(named.length, 'field')} }`, entries: named }
}

function taggedShape(entry: Entry | undefined): Shape | null {
  if (entry === undefined) return null
  const [tag, body] = entry
  if (tag === '$date' && typeof body === 'number') {
    return { kind: 'leaf', text: new Date(body).toISOString(), tone: 'special' }
  }
  if (tag === '$bytes' && typeof body === 'string') {
    return { kind: 'leaf', text: `bytes · ${count(Math.floor((body.length * 3) / 4), 'byte')}`, tone: 'special' }
  }
  if (tag === '$n') return { kind: 'leaf', text: String(body), tone: 'number' }
  if (tag === '$set' && Array.isArray(body)) return arrayShape(body, 'Set')
  if (tag === '$map' && Array.isArray(body)) {
    const pairs = body.filter((pair): pair is [unknown, unknown] => Array.isArray(pair) && pair.length === 2)
    return {
      kind: 'branch',
      label: `Map { ${count(pairs.length, 'entry', 'entries')} }`,
      entries: pairs.map(([key, item]): Entry => [String(key), item]),
    }
  }
  return null
}

function arrayShape(items: readonly unknown[], kind: 'array' | 'Set'): Shape {
  const label = items.length === 0 ? '[]' : `[ ${count(items.length, 'item')} ]`
  return {
    kind: 'branch',
    label: kind === 'Set' ? `Set ${label}` : label,
    entries: items.map((item, index): Entry => [String(index), item]),
  }
}

/** The path of a child line, as jsonLines gives it. */
export function childPath(path: string, name: string): string {
  if (/^\d+$/.test(name)) return `${path}[${name}]`
  return /^[A-Za-z_]\w*$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`
}

function ancestorsOf(marks: ReadonlyMap<string, Mark>): Set<string> {
  const ancestors = new Set<string>()
  for (const path of marks.keys()) {
    for (let end = path.length - 1; end > 0; end--) {
      const char = path[end]
      if (char === '.' || char === '[') ancestors.add(path.slice(0, end))
    }
  }
  return ancestors
}

function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en-US')} ${n === 1 ? one : many}`
}
