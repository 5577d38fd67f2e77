/** Durations and times in the few characters a dense row has. */

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** `0 s`, `12 s`, `3 m 05 s`, `4 h 12 m`, `9 d 3 h`. */
export function durationText(ms: number): string {
  const value = Math.max(0, ms)
  if (value < MINUTE) return `${Math.floor(value / SECOND)} s`
  if (value < HOUR) return `${Math.floor(value / MINUTE)} m ${two((value % MINUTE) / SECOND)} s`
  if (value < DAY) return `${Math.floor(value / HOUR)} h ${two((value % HOUR) / MINUTE)} m`
  return `${Math.floor(value / DAY)} d ${Math.floor((value % DAY) / HOUR)} h`
}

/** As `durationText`, but with one unit below a minute precise enough for work times: `0.4 ms`, `38 ms`, `3.2 s`. */
export function workText(ms: number): string {
  if (ms <= 0) return '0'
  if (ms < 0.1) return '<0.1 ms'
  if (ms < 1) return `${ms.toFixed(1)} ms`
  if (ms < SECOND) return `${Math.round(ms)} ms`
  if (ms < MINUTE) return `${(ms / SECOND).toFixed(1)} s`
  return durationText(ms)
}

/** The largest unit alone, for narrow columns: `12 s`, `3 m`, `4 h`, `9 d`. */
export function ageText(ms: number): string {
  const value = Math.max(0, ms)
  if (value < MINUTE) return `${Math.floor(value / SECOND)} s`
  if (value < HOUR) return `${Math.floor(value / MINUTE)} m`
  if (value < DAY) return `${Math.floor(value / HOUR)} h`
  return `${Math.floor(value / DAY)} d`
}

/** `14:03:22`, in the time zone of the reader. */
export function clockText(at: number): string {
  return CLOCK.format(at)
}

/** Date and time for titles and records. */
export function dateText(at: number): string {
  return DATE.format(at)
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const DATE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

function two(value: number): string {
  return String(Math.floor(value)).padStart(2, '0')
}
