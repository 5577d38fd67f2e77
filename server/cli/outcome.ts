/**
 * How a command ends: exit codes that scripts can rely on, and errors that say what to do.
 */

import { CODES, isRuntimeError } from '../../shared/error.ts'
import type { Problem } from '../../shared/frame.ts'

export const EXIT = { ok: 0, failed: 1, usage: 2, notFound: 3, unreachable: 4 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Ends the command with a message for people and a code for scripts. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exit: ExitCode
  /** Code of shared/error.ts, where the cause has one. */
  readonly code: string

  constructor(exit: ExitCode, message: string, code = 'REQUEST_INVALID') {
    super(message)
    this.exit = exit
    this.code = code
  }
}

export function usage(message: string): CliError {
  return new CliError(EXIT.usage, message)
}

/** Anything thrown, as an error of the command line. */
export function cliError(thrown: unknown): CliError {
  if (thrown instanceof CliError) return thrown
  if (isRuntimeError(thrown)) {
    const { code, message, cause } = thrown
    const error = fromCode(code, message, CODES[code].hint)
    if (code !== 'MODULE_LOAD_FAILED' || !(cause instanceof Error)) return error
    return new CliError(error.exit, `${error.message}\n${ownStack(cause)}`, code)
  }
  if (thrown instanceof Error && isParseError(thrown)) return usage(thrown.message)
  return new CliError(
    EXIT.failed,
    thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
    'INTERNAL',
  )
}

/** Where code of the user failed: a syntax error names its file nowhere else. Other frames tell him nothing. */
function ownStack({ stack = '' }: Error): string {
  const [own = ''] = stack.split(/\n[^\n]*\/host\/module-loader\./, 1)
  const lines = own.split('\n').filter((line) => line.trim() !== '' && !/^ +at .*\(?node:/.test(line))
  return lines.map((line) => `  ${line}`).join('\n')
}

export function problemError({ code, detail, title }: Problem): CliError {
  return fromCode(code, detail, title)
}

function fromCode(code: string, message: string, hint: string): CliError {
  const said = /[.!?]$/.test(message) ? message : `${message}.`
  const text = message.includes(hint) ? message : `${said} ${hint}`
  return new CliError(exitOf(code), text, code)
}

const NOT_FOUND: ReadonlySet<string> = new Set(['PROCESS_NOT_FOUND', 'OPERATION_UNKNOWN', 'NOT_FOUND'])

function exitOf(code: string): ExitCode {
  if (NOT_FOUND.has(code)) return EXIT.notFound
  if (code === 'SERVER_NOT_FOUND') return EXIT.unreachable
  return code === 'REQUEST_INVALID' || code === 'ID_INVALID' ? EXIT.usage : EXIT.failed
}

function isParseError(error: Error): boolean {
  return 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}
