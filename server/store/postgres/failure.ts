/**
 * Errors of the driver and the server, sorted by what they mean for the committer (PROTOCOL C2).
 *
 * - Class 22, 23, 54: a row is at fault, nothing was written.
 * - 40001, 40P01, 55P03: two writers met, nothing was written.
 * - 53: the server lacks room, nothing was written.
 * - 08, 57, 58, a broken socket: the outcome is unknown. A server that just became a standby (25006) counts here too.
 */
import { RuntimeError } from '../../../shared/error.ts'
import { StoreFailure, type StoreFailureKind } from '../store.ts'

const BY_STATE: Readonly<Record<string, StoreFailureKind>> = {
  '25006': 'unavailable',
  '25P03': 'unavailable', // the session was idle within a transaction for too long: the server ended it
  '25P04': 'unavailable', // its transaction was open for too long: likewise
  '40001': 'contended',
  '40P01': 'contended',
  '53300': 'unavailable', // too many connections: no lack of room, and it passes
  '55P03': 'contended',
}
const BY_CLASS: Readonly<Record<string, StoreFailureKind>> = {
  '08': 'unavailable',
  '22': 'rejected',
  '23': 'rejected',
  '53': 'full',
  '54': 'rejected',
  '57': 'unavailable',
  '58': 'unavailable',
}
const SQL_STATE = /^[0-9A-Z]{5}$/
/** Codes of the driver and of Node's sockets: the connection failed before, while or after the statement ran. */
const CONNECTION = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
])

/** Errors that are decisions of the store itself pass through unchanged. */
export function asFailure(error: unknown): StoreFailure | RuntimeError {
  if (error instanceof StoreFailure || error instanceof RuntimeError) return error
  const { code, message } = innermost(error)
  if (code !== null && CONNECTION.has(code)) return new StoreFailure('unavailable', message, { cause: error })
  if (code === null || !SQL_STATE.test(code)) return new StoreFailure('broken', message, { cause: error })
  const kind = BY_STATE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 'broken'
  return new StoreFailure(kind, message, { sqlState: code, cause: error })
}

/** Runs `work` and lets only classified errors out. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw asFailure(error)
  }
}

/** Drizzle wraps the driver's error with its statement; code and words are those of the first error that has a code. */
function innermost(error: unknown): { code: string | null; message: string } {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code: unknown = Reflect.get(at, 'code')
    // Where each address of a host refused, there are no words.
    if (typeof code === 'string') return { code, message: at.message === '' ? code : at.message }
  }
  return { code: null, message: error instanceof Error ? error.message : String(error) }
}
