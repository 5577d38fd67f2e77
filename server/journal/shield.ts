/**
 * `ctx.shield`: a section that a cancellation waits for.
 *
 * - Y3: while any section of the turn is open, nothing of the turn is cancelled; when the last one is left, whatever
 *   else is open hears of it, or the next request does. A replay finds the place in the journal.
 * - Y8: scopes around the section do not end what is in it.
 */
import { deliverCancel } from './cancellation.ts'
import { outsideScopes } from './scope.ts'
import type { Turn } from './turn.ts'

export async function shieldInTurn<T>(turn: Turn, fn: () => T | Promise<T>): Promise<T> {
  turn.assertOpen()
  turn.shields += 1
  try {
    return await outsideScopes(turn, fn)
  } finally {
    turn.shields -= 1
    deliverCancel(turn)
  }
}
