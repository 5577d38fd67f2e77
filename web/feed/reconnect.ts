/**
 * When to try again after a lost connection. Pure: the caller owns the timer.
 *
 * - The first retry is quick, because most losses are a restarted server that is back within a second.
 * - Delays double up to the limit and carry jitter, so that many open tabs do not return in one blow.
 */

/** Milliseconds. A restarted server is usually back within this time. */
const FIRST_DELAY_MS = 400
/** Milliseconds. Longer waits feel broken to a person who looks at the countdown. */
const DELAY_MS_MAX = 10_000
/** Share of the delay that is random. */
const JITTER = 0.3

/** @param attempt  1 for the first retry  @param random  a number in [0, 1) */
export function retryDelayMs(attempt: number, random: number): number {
  const base = Math.min(DELAY_MS_MAX, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 16))
  return Math.round(base * (1 - JITTER / 2 + JITTER * random))
}
