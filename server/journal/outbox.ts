/** Everything a turn collects until it ends. */
import type { NewMessage, NewTimer } from '../store/store.ts'
import type { Outcome, Withheld } from './entry.ts'
import type { Part } from './record.ts'

/** Messages one turn may send. A turn that sends more is a loop. */
export const OUTBOX_MAX = 10_000

export type Outbox = {
  messages: NewMessage[]
  timers: NewTimer[]
  cancelTimers: { name: string; arm: number }[]
  part: Pick<Part, 'spawns' | 'links' | 'names' | 'patch'>
  /** Replies to received calls, by message id; null without any. */
  answers: Map<string, Outcome> | null
  /** In-memory effects: run once the commit is stored. */
  after: (() => void)[]
  /** In a sandbox: what does not leave (E9). */
  withheld?: Withheld[]
  /** How many of it are messages that would have been stored. */
  withheldSent?: number
}

export function emptyOutbox(): Outbox {
  return { messages: [], timers: [], cancelTimers: [], part: {}, answers: null, after: [] }
}
