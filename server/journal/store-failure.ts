/** What a failed statement means for whoever may try it again (PROTOCOL C2). */
import { StoreFailure } from '../store/store.ts'

/** Anything the store did not classify is a bug in it; treated like a rejected row so that no neighbour suffers. */
export function asFailure(error: unknown): StoreFailure {
  if (error instanceof StoreFailure) return error
  return new StoreFailure('broken', error instanceof Error ? error.message : String(error), { cause: error })
}

/** Whether the same statement may pass later, unchanged. */
export function isPassing(error: unknown): boolean {
  const { kind } = asFailure(error)
  return kind !== 'rejected' && kind !== 'broken'
}
