/** The real clock, but for housekeeping: what is due in minutes is due at once, so that pruning is under load. */
import { type Clock, realClock } from '../../server/clock.ts'
import { STREAM_WALK_MS } from '../../server/journal/stream-pruner.ts'

/** Ms from which a delay is one of housekeeping, and below which: nothing else waits for so long here. */
const FROM_MS = 600_000
const BELOW_MS = 1_200_000
const HURRIED_MS = 300

export function hurriedClock(): Clock {
  const clock = realClock()
  return { ...clock, after: (ms, fn) => clock.after(isKeeping(ms) ? HURRIED_MS : ms, fn) }
}

/** Nothing but the walk over streams waits for exactly as long as that. */
function isKeeping(ms: number): boolean {
  return (ms >= FROM_MS && ms < BELOW_MS) || ms === STREAM_WALK_MS
}
