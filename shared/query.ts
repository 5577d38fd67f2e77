/**
 * The query language over processes: one for the filter box, URLs, HTTP, the feed and the command line.
 *
 *   status:waiting agent:order wait.kind:step wait.age>60s under:supervisor/desk mailbox>10 -kind:task some text
 *
 * - Terms are joined by AND; values joined by a comma are alternatives; a leading `-` negates a term.
 * - Plain text matches anywhere in the id, the agent, or what is waited for, without regard to case.
 * - A query is compiled once and then asked for every row: `matches` allocates nothing.
 */
import { RuntimeError } from './error.ts'
import type { ProcessId } from './id.ts'
import { PROCESS_STATUSES, type ProcessRow } from './snapshot.ts'

/** Terms of one query. People write three; generated ones rarely more than ten. */
export const QUERY_TERMS_MAX = 40

/** What a row alone cannot say. */
export type QueryContext = {
  readonly now: number
  /** Whether `id` is `ancestor` or lies below it in the tree. */
  isUnder(id: ProcessId, ancestor: ProcessId): boolean
}

type Test = (row: ProcessRow, context: QueryContext) => boolean
export type Query = {
  readonly text: string
  readonly tests: readonly Test[]
  /** Whether a term asks for the status `passive`: such processes are read from the store, and only when asked for. */
  readonly passive: boolean
  /** Whether a term names parts of the runtime: such rows are hidden, and listed only when asked for. */
  readonly services: boolean
  /** Whether a term asks for a place in the tree, which a row alone does not tell. */
  readonly under: boolean
}

type TextField = (row: ProcessRow) => string | null
type NumberField = { read: (row: ProcessRow, now: number) => number | null; duration: boolean }

const number = (read: (row: ProcessRow) => number | null): NumberField => ({ read, duration: false })
const duration = (read: (row: ProcessRow, now: number) => number | null): NumberField => ({ read, duration: true })

const TEXT_FIELDS: Readonly<Record<string, TextField>> = {
  id: (row) => row.id,
  agent: (row) => row.agent,
  kind: (row) => row.kind,
  status: (row) => row.status,
  parent: (row) => row.parent,
  node: (row) => row.node,
  strategy: (row) => row.strategy,
  durable: (row) => String(row.durable),
  hidden: (row) => String(row.hidden),
  sandbox: (row) => row.sandbox ?? null,
  'wait.kind': (row) => row.wait?.kind ?? null,
  'wait.target': (row) => row.wait?.target ?? null,
}

const NUMBER_FIELDS: Readonly<Record<string, NumberField>> = {
  mailbox: number((row) => row.mailbox),
  turns: number((row) => row.turns),
  restarts: number((row) => row.restarts),
  failures: number((row) => row.failures),
  children: number((row) => row.children),
  depth: number((row) => row.depth),
  incarnation: number((row) => row.incarnation),
  stateVersion: number((row) => row.stateVersion),
  'wait.attempt': number((row) => row.wait?.attempt ?? null),
  busy: duration((row) => row.busyMs),
  age: duration((row, now) => now - row.since),
  'wait.age': duration((row, now) => (row.wait === null ? null : now - row.wait.since)),
}

/** Names a term may begin with, for completion and for messages. */
export const QUERY_FIELDS: readonly string[] = [...Object.keys(TEXT_FIELDS), 'under', ...Object.keys(NUMBER_FIELDS)]

/** Fields that name a process or its agent, and values of them that mean services: the agent, an id, a pattern. */
const SERVICE_FIELDS: readonly string[] = ['id', 'agent', 'parent', 'under']
const SERVICE_VALUE = /^vivarium(?=[/*]|$)/

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** @throws REQUEST_INVALID with a message that names the term and what would be right */
export function parseQuery(text: string): Query {
  const words = split(text)
  if (words.length > QUERY_TERMS_MAX) {
    throw refused(`has ${words.length} terms, at most ${QUERY_TERMS_MAX}. Remove some.`)
  }
  return {
    ...{ text, tests: words.map(compile), passive: words.some(namesPassive), services: words.some(namesServices) },
    under: words.some(({ text: word, quoted }) => !quoted && /^under[:=]/.test(word)),
  }
}

export function matches(query: Query, row: ProcessRow, context: QueryContext): boolean {
  for (const test of query.tests) if (!test(row, context)) return false
  return true
}

type Word = { text: string; quoted: boolean; negated: boolean }

/** Words end at white space outside quotes; `\"` inside quotes is a quote. */
function split(text: string): Word[] {
  const words: Word[] = []
  const pattern = /(-?)((?:[^\s"]*"(?:[^"\\]|\\.)*"?)|[^\s"]+)/gs
  for (const [, minus = '', body = ''] of text.matchAll(pattern)) {
    const opened = body.indexOf('"')
    if (opened >= 0 && !/"(?:[^"\\]|\\.)*"$/s.test(body)) {
      throw refused(`opens a quote in ${shown(body)} that is never closed. Add the second ".`)
    }
    const plain = opened < 0 ? body : body.slice(0, opened) + body.slice(opened + 1, -1).replace(/\\(.)/gs, '$1')
    words.push({ text: plain, quoted: opened === 0, negated: minus !== '' })
  }
  return words
}

/** Field and alternatives of a term that asks for something; text has no field. */
function asked({ text, quoted, negated }: Word): { field: string | null; values: readonly string[] } {
  if (negated) return { field: null, values: [] }
  const [, field = null, values = ''] = quoted ? [] : (/^([A-Za-z.]+)[:=](.*)$/s.exec(text) ?? [])
  return field === null ? { field, values: [text.toLowerCase()] } : { field, values: values.split(',') }
}

function namesPassive(word: Word): boolean {
  const { field, values } = asked(word)
  return field === 'status' && values.includes('passive')
}

function namesServices(word: Word): boolean {
  const { field, values } = asked(word)
  if (field === 'kind') return values.includes('service')
  if (field === 'hidden') return values.includes('true')
  return (field === null || SERVICE_FIELDS.includes(field)) && values.some((value) => SERVICE_VALUE.test(value))
}

function compile(word: Word): Test {
  const test = word.quoted ? textTest(word.text) : termTest(word.text)
  return word.negated ? (row, context) => !test(row, context) : test
}

function termTest(text: string): Test {
  const parts = /^([A-Za-z][A-Za-z.]*)(>=|<=|>|<|=|:)(.*)$/s.exec(text)
  if (parts === null) return textTest(text)
  const [, field = '', operator = '', value = ''] = parts
  if (field === 'under') return underTest(text, operator, value)
  const asText = TEXT_FIELDS[field]
  if (asText !== undefined && Object.hasOwn(TEXT_FIELDS, field))
    return fieldTest({ text, field, operator, value }, asText)
  const asNumber = NUMBER_FIELDS[field]
  if (asNumber !== undefined && Object.hasOwn(NUMBER_FIELDS, field)) {
    return numberTest({ text, field, operator, value }, asNumber)
  }
  throw refused(
    `has the unknown field ${shown(field)} in ${shown(text)}. Use one of ${QUERY_FIELDS.join(', ')}, ` +
      `or put the text in quotes to search for it.`,
  )
}

type Term = { text: string; field: string; operator: string; value: string }

function textTest(text: string): Test {
  const needle = text.toLowerCase()
  return (row) =>
    row.id.toLowerCase().includes(needle) ||
    (row.agent?.toLowerCase().includes(needle) ?? false) ||
    (row.wait?.target?.toLowerCase().includes(needle) ?? false)
}

function underTest(text: string, operator: string, value: string): Test {
  if (operator !== ':' && operator !== '=') throw refused(`compares in ${shown(text)}. Write under:ID.`)
  if (value === '') throw refused('has under: without an id. Write the id of a supervisor after it.')
  return (row, context) => context.isUnder(row.id, value)
}

function fieldTest({ text, field, operator, value }: Term, read: TextField): Test {
  if (operator !== ':' && operator !== '=') {
    throw refused(`compares the text field ${field} in ${shown(text)}. Write ${field}:value.`)
  }
  if (value === '') throw refused(`has ${field}: without a value. Write one after the colon.`)
  const wanted = value.split(',')
  if (field === 'status') wanted.forEach(assertStatus)
  const exact = new Set(wanted.filter((each) => !each.includes('*')))
  const patterns = wanted.filter((each) => each.includes('*')).map(glob)
  return (row) => {
    const found = read(row)
    if (found === null) return exact.has('none')
    return exact.has(found) || patterns.some((fits) => fits(found))
  }
}

function numberTest({ text, field, operator, value }: Term, { read, duration: timed }: NumberField): Test {
  const limit = amount(value, timed)
  if (limit === null) {
    const example = timed ? `${field}>60s (ms, s, m, h or d)` : `${field}>10`
    throw refused(`has ${shown(value)} where ${field} needs a number in ${shown(text)}. Write for example ${example}.`)
  }
  const compare = COMPARE[operator] ?? same
  return (row, context) => {
    const found = read(row, context.now)
    return found !== null && compare(found, limit)
  }
}

const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
}

function same(a: number, b: number): boolean {
  return a === b
}

function amount(text: string, timed: boolean): number | null {
  const parts = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(text)
  if (parts === null) return null
  const [, digits = '', unit = ''] = parts
  if (unit === '') return Number(digits)
  const factor = timed && Object.hasOwn(UNIT_MS, unit) ? UNIT_MS[unit] : undefined
  return factor === undefined ? null : Number(digits) * factor
}

function assertStatus(value: string): void {
  if (value.includes('*') || (PROCESS_STATUSES as readonly string[]).includes(value)) return
  throw refused(`asks for the unknown status ${shown(value)}. Use one of ${PROCESS_STATUSES.join(', ')}.`)
}

/** `*` stands for any text. Parts are sought from the left, the shortest match each, so the time is linear. */
function glob(pattern: string): (text: string) => boolean {
  const parts = pattern.split(/\*+/)
  const first = parts[0] ?? ''
  const last = parts.at(-1) ?? ''
  const middle = parts.slice(1, -1)
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
    let at = first.length
    for (const part of middle) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return at <= text.length - last.length
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
}

function refused(what: string): RuntimeError {
  return new RuntimeError('REQUEST_INVALID', `The query ${what}`)
}
