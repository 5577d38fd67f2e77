/** What a command is: its options for node:util parseArgs, its help, and what it does. */
import type { ParseArgsOptionsConfig } from 'node:util'
import { type Client, findServer } from './client.ts'
import { type ExitCode, usage } from './outcome.ts'

export type Values = Readonly<Record<string, string | boolean | undefined>>

export type Invocation = {
  values: Values
  /** Words after the command. */
  words: readonly string[]
  /** Prints a line to standard output. */
  print: (line: string) => void
  json: boolean
}

export type Command = {
  name: string
  /** Words it takes, as in the help: `ID OP [ARGS]`. */
  synopsis: string
  summary: string
  options: ParseArgsOptionsConfig
  /** One line per option of its own. */
  help: readonly string[]
  run(invocation: Invocation): Promise<ExitCode>
}

/** Options of every command that talks to a server. */
export const SERVER_OPTIONS = {
  url: { type: 'string' },
  data: { type: 'string' },
  token: { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

export const ACT_OPTIONS = {
  ...SERVER_OPTIONS,
  reason: { type: 'string', short: 'r' },
  incarnation: { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

export const ACT_HELP: readonly string[] = [
  '-r, --reason TEXT      why; kept in the audit',
  '    --incarnation N    refuse if the process was reborn since you looked',
]

export function textOf(values: Values, name: string): string | undefined {
  const value = values[name]
  if (value === '') throw usage(`--${name} is empty. Give it a value or leave it out.`)
  return typeof value === 'string' ? value : undefined
}

export function server({ values }: Invocation): Promise<Client> {
  return findServer({ url: textOf(values, 'url'), data: textOf(values, 'data'), token: textOf(values, 'token') })
}

/** The id as one path segment. */
export function processPath(id: string, rest = ''): string {
  return `/processes/${encodeURIComponent(id)}${rest}`
}

/** Exactly the words a command takes. */
export function words(invocation: Invocation, names: readonly string[], optional = 0): string[] {
  const { words } = invocation
  const missing = names[words.length]
  if (missing !== undefined && words.length < names.length - optional) {
    throw usage(`${missing} is missing. Expected: ${names.join(' ')}.`)
  }
  const extra = words[names.length]
  if (extra !== undefined) {
    throw usage(`${JSON.stringify(extra)} is one word too many. Expected: ${names.join(' ')}.`)
  }
  return [...words]
}

export function wholeNumber(values: Values, name: string, max: number): number | undefined {
  const text = textOf(values, name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= max) return value
  throw usage(`--${name} is ${JSON.stringify(text)}. It must be a whole number from 0 to ${max}.`)
}

export function actBody({ values }: Invocation): Record<string, unknown> {
  const reason = textOf(values, 'reason')
  const incarnation = wholeNumber(values, 'incarnation', Number.MAX_SAFE_INTEGER)
  return { ...(reason === undefined ? {} : { reason }), ...(incarnation === undefined ? {} : { incarnation }) }
}

/** JSON; text that is none is taken as a string, so that `viv send greeter/1 hello Ana` works. */
export function argument(text: string | undefined): unknown {
  if (text === undefined) return null
  try {
    return JSON.parse(text)
  } catch (error) {
    if (/^\s*[[{"]/.test(text)) throw usage(`ARGS is not JSON: ${error instanceof Error ? error.message : error}.`)
    return text
  }
}
