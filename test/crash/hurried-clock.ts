/** The real clock, but for housekeeping: what is due in ten minutes is due at once, so that pruning is under load. */
import { type Clock, realClock } from '../../server/clock.ts'

/** Ms from which a delay is one of housekeeping, and below which: nothing else waits for so long here. */
const FROM_MS = 600_000
const BELOW_MS = 1_200_000
const HURRIED_MS = 300

export function hurriedClock(): Clock {
  const clock = realClock()
  return { ...clock, after: (ms, fn) => clock.after(ms >= FROM_MS && ms < BELOW_MS ? HURRIED_MS : ms, fn) }
}
