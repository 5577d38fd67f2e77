/**
 * What the runtime and a thread say to each other, and errors on their way between the two.
 *
 * - Values travel as the one text form (shared/value.ts): what arrives is what a store would have given back, and its
 *   size is known before it is copied.
 * - An error arrives with name, message, code, stack and causes, and with what a step's policy asks of it.
 */
import { CODES, type ErrorCode, type ErrorData, errorData, RuntimeError } from '../../shared/error.ts'

/** Characters of all arguments, and of a result, in text form. Each is read or written once in the runtime's thread,
 *  some 30 ms per million in small objects, which stalls it: larger data is better read by the function from its place.
 */
export const COMPUTE_CHARACTERS_MAX = 16_777_216

export type ThreadJob = {
  readonly n: number
  readonly url: string
  readonly name: string
  readonly args: string
  /** What the function gives back is nobody's. */
  readonly quiet?: boolean
}

export type ThrownData = ErrorData & { retryable?: boolean; retryAfterMs?: number }

export type ThreadMessage =
  | { kind: 'done'; n: number; value: string }
  | { kind: 'failed'; n: number; error: ThrownData }
  /** Nobody caught it. `n` is the job whose code it was, null where that cannot be told. */
  | { kind: 'escaped'; n: number | null; error: ThrownData }

export function thrownData(thrown: unknown): ThrownData {
  const data: ThrownData = errorData(thrown)
  if (typeof thrown !== 'object' || thrown === null) return data
  const retryable: unknown = Reflect.get(thrown, 'retryable')
  const retryAfterMs: unknown = Reflect.get(thrown, 'retryAfterMs')
  if (typeof retryable === 'boolean') data.retryable = retryable
  if (typeof retryAfterMs === 'number') data.retryAfterMs = retryAfterMs
  return data
}

/** An error that `errorData` says the same of as of the one that was thrown. */
export function thrownFrom(data: ThrownData): Error {
  const cause = data.cause === undefined ? undefined : thrownFrom(data.cause)
  const error = data.name === 'RuntimeError' && isCode(data.code) ? known(data, data.code, cause) : foreign(data, cause)
  if (data.stack !== undefined) error.stack = data.stack
  const { retryable, retryAfterMs } = data
  return Object.assign(
    error,
    retryable === undefined ? {} : { retryable },
    retryAfterMs === undefined ? {} : { retryAfterMs },
  )
}

function known(data: ThrownData, code: ErrorCode, cause: Error | undefined): RuntimeError {
  return new RuntimeError(code, data.message, { cause, detail: { ...data.detail } })
}

function foreign(data: ThrownData, cause: Error | undefined): Error {
  const error = new Error(data.message, cause === undefined ? undefined : { cause })
  if (data.name !== undefined) error.name = data.name
  return data.code === data.name ? error : Object.assign(error, { code: data.code })
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(CODES, code)
}
