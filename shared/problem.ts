/**
 * Errors as they leave through HTTP and feed: RFC 9457 problem documents with a code of ours.
 *
 * - Only what a RuntimeError says about itself leaves; anything else becomes INTERNAL without message, cause or stack,
 *   because those may hold secrets of the host.
 */
import { CODES, type ErrorCode, isRuntimeError } from './error.ts'
import type { Problem } from './frame.ts'

/** Problem type URIs are relative, so that they resolve against the server that sent them. */
const TYPE_PREFIX = '/problems/'

export function problemOf(thrown: unknown): Problem {
  if (!isRuntimeError(thrown)) return problem('INTERNAL', 'The runtime failed to answer. Its log holds the cause.')
  return problem(thrown.code, thrown.message)
}

export function problem(code: ErrorCode, detail: string): Problem {
  const { status, hint } = CODES[code]
  return { type: `${TYPE_PREFIX}${code}`, title: hint, status, detail, code }
}
