/**
 * The border of a runtime: a failure of the store leaves as a typed error, with what is known about the outcome.
 *
 * - B18: inside, its kind decides what is tried again; outside, people and programs go by a code.
 * - Nothing else changes: results, other errors, and the end of an iteration pass through.
 */
import { RuntimeError } from '../../shared/error.ts'
import { StoreFailure } from '../store/store.ts'

/** The same object for those outside. Its methods may be taken off it: they know whom they belong to. */
export function bordered<T extends object>(inner: T): T {
  return new Proxy(inner, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => typed(Reflect.apply(member, target, args))
    },
  })
}

/** @throws RuntimeError  in place of a StoreFailure; anything else as it is */
export function rethrow(error: unknown): never {
  throw error instanceof StoreFailure ? outside(error) : error
}

function typed(out: unknown): unknown {
  if (out instanceof Promise) return out.catch(rethrow)
  if (isIterable(out)) return items(out)
  return out
}

function isIterable(out: unknown): out is AsyncIterable<unknown> {
  return typeof out === 'object' && out !== null && Symbol.asyncIterator in out
}

async function* items(inner: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  try {
    yield* inner
  } catch (error) {
    rethrow(error)
  }
}

function outside(failure: StoreFailure): RuntimeError {
  const why = failure.message.replace(/\.$/, '')
  switch (failure.kind) {
    case 'unavailable': {
      const text = `The database does not answer: ${why}. Whether a change that was asked for is stored is not known.`
      return new RuntimeError('STORE_UNAVAILABLE', text, { cause: failure })
    }
    case 'contended':
    case 'full':
      return new RuntimeError('STORE_UNAVAILABLE', `The database did not take it: ${why}. Nothing is stored.`, {
        cause: failure,
      })
    case 'rejected':
    case 'broken':
      return new RuntimeError('INTERNAL', `The database refused a statement: ${why}.`, { cause: failure })
    default:
      return failure.kind satisfies never
  }
}
