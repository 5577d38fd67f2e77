/** A refusal: ends the turn normally. The draft is dropped, the caller gets the error, nothing crashes (M3). */
import { RuntimeError } from '../../shared/error.ts'
import { copy } from '../../shared/value.ts'

export class Reject extends RuntimeError {
  /** @param detail  values that can be stored, for the caller's program: `error.detail` there
   *  @throws VALUE_UNSUPPORTED  detail holds anything else */
  constructor(message: string, detail: Record<string, unknown> = {}) {
    super('CALL_REJECTED', message, { detail: copy(detail) as Record<string, unknown> }) // a copy of an object is one
  }
}
