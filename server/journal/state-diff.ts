/** Two states compared for people: one line per place that differs. */
import { encodeCopied, type Value } from '../../shared/value.ts'

/** Lines. What differs everywhere is read from the states themselves. */
const LINES_MAX = 20
/** Characters of a value in a line. */
const SHOWN_MAX = 80

export function stateDiff(before: Value, after: Value): string[] {
  const lines: string[] = []
  compare(before, after, '', lines)
  if (lines.length <= LINES_MAX) return lines
  return [...lines.slice(0, LINES_MAX), `and ${lines.length - LINES_MAX} more`]
}

function compare(before: Value | undefined, after: Value | undefined, path: string, lines: string[]): void {
  if (before === after) return
  if (isPlain(before) && isPlain(after) && Array.isArray(before) === Array.isArray(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(before[key], after[key], `${path}/${key}`, lines)
    }
    return
  }
  const [was, is] = [shown(before), shown(after)]
  if (was !== is) lines.push(`${path === '' ? '/' : path}: ${cut(was)} -> ${cut(is)}`)
}

function isPlain(value: Value | undefined): value is { readonly [key: string]: Value } {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
}

function shown(value: Value | undefined): string {
  return value === undefined ? 'absent' : encodeCopied(value)
}

function cut(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text
}
