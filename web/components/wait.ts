/** What a process does or waits for, in words: the sentence on every row (OBSERVER §3, 1). */
import type { ProcessRow, Wait } from '../../shared/snapshot.ts'
import { durationText } from '../ui/duration.ts'

export type WaitLine = {
  text: string
  /** How long already, or until when; shown after the text. */
  time: string | null
  /** Waiting on something a person may have to unblock. */
  long: boolean
}

/** Milliseconds. Waits above this are set in the warning colour. */
export const LONG_WAIT_MS = 30_000

export function waitLine(row: Pick<ProcessRow, 'status' | 'wait' | 'since' | 'kind'>, now: number): WaitLine {
  // What a diverged turn waits for leads nowhere.
  if (row.wait !== null && row.status !== 'diverged') return lineOf(row.wait, now)
  const age = durationText(now - row.since)
  switch (row.status) {
    case 'running':
      return { text: 'working', time: age, long: now - row.since > LONG_WAIT_MS }
    case 'idle':
      return row.kind === 'supervisor' ? quiet('supervising', null) : quiet('nothing to do', age)
    case 'waiting':
      return quiet('waiting', age)
    case 'suspended':
      return { text: 'suspended by an operator', time: age, long: false }
    case 'starting':
      return quiet('starting', age)
    case 'restarting':
      return quiet('restarting', age)
    case 'passive':
      return quiet('in the store, wakes on the next message', null)
    case 'diverged':
      return { text: 'code and journal disagree: needs a decision', time: age, long: true }
    case 'exited':
      return quiet('ended', age)
    default:
      return row.status satisfies never
  }
}

function lineOf(wait: Wait, now: number): WaitLine {
  const passed = now - wait.since
  const time = durationText(passed)
  const long = passed > LONG_WAIT_MS
  const target = wait.target ?? 'something'
  const nth = wait.attempts === undefined ? `${wait.attempt}` : `${wait.attempt} of ${wait.attempts}`
  const again = wait.attempt > 1 ? `, attempt ${nth}` : ''
  switch (wait.kind) {
    case 'call':
      return { text: `waiting for reply from ${target}`, time: withDeadline(time, wait, now), long }
    case 'step': {
      const progress = wait.progress === undefined ? '' : `: ${wait.progress}`
      return { text: `step ${target}${again}${progress}`, time: withDeadline(time, wait, now), long }
    }
    case 'retry':
      return {
        text: `step ${target}, attempt ${nth}`,
        time: until(wait, now, 'next in', 'next now'),
        long: false,
      }
    case 'commit':
      return { text: 'waiting for the store', time, long: passed > LONG_WAIT_MS / 10 }
    case 'task':
      // The id says that it is a task.
      return { text: `waiting for ${target}`, time: withDeadline(time, wait, now), long }
    case 'thread':
      return { text: `waiting for a thread to run ${target}`, time, long }
    case 'compute':
      return { text: `a thread runs ${target}`, time, long: false }
    case 'user':
      return { text: 'awaiting something in its own code', time, long }
    case 'start':
      return { text: wait.target === null ? 'starting' : `starting ${wait.target}`, time, long }
    case 'restart':
      return { text: 'restarts after a failure', time: until(wait, now, 'in', 'now'), long: false }
    case 'sleep':
      return { text: 'sleeping', time: until(wait, now, 'wakes in', 'wakes now'), long: false }
    case 'sandbox': {
      const given = wait.progress === undefined ? '' : `(${wait.progress})`
      return { text: `waits for your answer to ${target}${given}`, time, long: false }
    }
    case 'receive':
      return { text: `waiting for ${target}`, time: withDeadline(time, wait, now), long: false }
    default:
      return wait.kind satisfies never
  }
}

function quiet(text: string, time: string | null): WaitLine {
  return { text, time, long: false }
}

function until(wait: Wait, now: number, words: string, due: string): string {
  if (wait.deadline === null) return durationText(now - wait.since)
  return wait.deadline > now ? `${words} ${durationText(wait.deadline - now)}` : due
}

function withDeadline(time: string, wait: Wait, now: number): string {
  if (wait.deadline === null) return time
  return `${time}, gives up in ${durationText(wait.deadline - now)}`
}
