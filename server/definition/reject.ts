/** A refusal: ends the turn normally. The draft is dropped, the caller gets the error, nothing crashes (M3). */
import { RuntimeError } from '../../shared/error.ts'

export class Reject extends RuntimeError {
  /** @param detail  plain data for the caller's program */
  constructor(message: string, detail: Record<string, unknown> = {}) {
    super('CALL_REJECTED', message, { detail })
  }
}
