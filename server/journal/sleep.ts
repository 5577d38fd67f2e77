/**
 * `ctx.sleep` and `ctx.sleepUntil`: a recorded request whose outcome is that time has passed.
 *
 * - W1: the due time is stored with the turn (`due`), the waking is a result like any other (`woke`): a crash waits for
 *   the rest only, and a replay hands the waking over at its place, with the `now` of then.
 * - A sleep that stays in memory costs two entries, no timer row; a parked turn has one timer row for all its waits.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { assertAsked } from './cancellation.ts'
import type { Turn } from './turn.ts'
import { recordDue, startWait } from './wait.ts'

/** Ms, a hundred years of 366 days: nothing that is meant is longer, and every clock and column can express it. */
export const WAIT_MS_MAX = 100 * 366 * 86_400_000

/** @throws REQUEST_INVALID */
export function assertDuration(what: string, ms: number): void {
  if (Number.isFinite(ms) && ms >= 0 && ms <= WAIT_MS_MAX) return
  throw new RuntimeError('REQUEST_INVALID', `${what} of ${ms} ms is not possible. Use 0 to ${WAIT_MS_MAX} (100 years).`)
}

export function sleepInTurn(turn: Turn, ms: number): Promise<void> {
  turn.assertOpen()
  assertDuration('A sleep', ms)
  return sleep(turn, () => turn.wallclock() + Math.ceil(ms))
}

export function sleepUntilInTurn(turn: Turn, at: number | Date): Promise<void> {
  turn.assertOpen()
  const due = typeof at === 'number' ? at : at.getTime()
  // The bound is the distance from the turn's own time: a replay must judge alike.
  if (!Number.isFinite(due) || due - turn.now > WAIT_MS_MAX) {
    throw new RuntimeError(
      'REQUEST_INVALID',
      `A sleep until ${String(at)} is not possible. Use a Date or epoch milliseconds at most 100 years ahead.`,
    )
  }
  return sleep(turn, () => Math.ceil(due))
}

async function sleep(turn: Turn, dueOf: () => number): Promise<void> {
  const key = turn.nextKey('sleep')
  await turn.request(
    key,
    () => {
      const at = turn.wallclock()
      const { due, since } = turn.dueOf(key) ?? { due: dueOf(), since: at }
      if (due <= at) return wakeSoon(turn, key, due)
      recordDue(turn, key, { due, since })
      return new Promise<null>((resolve) => {
        const view: Wait = { kind: 'sleep', target: null, since, deadline: due, attempt: 1 }
        const wait = startWait(turn, view, () => {
          wait.end()
          resolve(wake(turn, key, due))
        })
        turn.requests.onStop(key, () => {
          wait.end()
          return {}
        })
      })
    },
    'sleep',
  )
}

/** T5: what is over already is so no sooner than a replay would have it, which is a macrotask after the asking. */
async function wakeSoon(turn: Turn, key: string, due: number): Promise<null> {
  await new Promise<void>((resolve) => turn.ports.clock.macrotask(resolve))
  return wake(turn, key, due)
}

async function wake(turn: Turn, key: string, due: number): Promise<null> {
  const place = turn.place()
  if (place !== null) await place
  turn.assertOpen()
  assertAsked(turn, key)
  turn.advance(due)
  turn.append({ k: 'woke', turn: turn.id, key, at: turn.stamp() })
  turn.ports.crash.hit('sleep:woken')
  return null
}
