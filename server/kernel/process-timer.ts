/**
 * Timers of processes: a message to the process itself after some time.
 *
 * - K45: a timer dies with its process.
 * - K46: after `cancel` the message is never handled, not even when it was queued already (OTP leaves that race to the
 *   user).
 */
import type { Clock, Timer } from './clock-port.ts'
import type { Envelope } from './envelope.ts'
import { TimerTicket } from './outcome.ts'
import type { Process } from './process.ts'
import type { Holding } from './tie.ts'

/** Ms. The longest delay the host's timers can express; longer ones are armed again. */
export const TIMER_MS_MAX = 2_147_483_647

export class ProcessTimer extends TimerTicket implements Holding<Process> {
  readonly #clock: Clock
  readonly #process: Process
  readonly #fire: () => void
  readonly #dueAt: number
  #timer: Timer | null = null
  #armed = true

  constructor(clock: Clock, process: Process, ms: number, fire: () => void) {
    super()
    this.#clock = clock
    this.#process = process
    this.#fire = fire
    this.#dueAt = clock.monotonic() + ms
    const tie = process.tie()
    tie.holdings ??= new Set()
    tie.holdings.add(this)
    this.#wait()
  }

  /** Remaining ms, or null when the message was handled or the timer cancelled already. */
  cancel(): number | null {
    if (!this.#armed) return null
    this.#end()
    return Math.max(0, this.#dueAt - this.#clock.monotonic())
  }

  remaining(): number | null {
    return this.#armed ? Math.max(0, this.#dueAt - this.#clock.monotonic()) : null
  }

  override take(_process: Process): boolean {
    const armed = this.#armed
    this.#end()
    return armed
  }

  release(): void {
    this.#armed = false
    this.#timer?.cancel()
  }

  #end(): void {
    this.release()
    this.#process.ties?.holdings?.delete(this)
  }

  #wait(): void {
    const left = this.#dueAt - this.#clock.monotonic()
    this.#timer = this.#clock.after(Math.max(0, Math.min(left, TIMER_MS_MAX)), () => {
      if (this.#dueAt - this.#clock.monotonic() > 1) this.#wait()
      else this.#fire()
    })
  }
}

/** The timer's message: its `row` is the timer, so that a cancelled one is dropped when its turn comes. */
export function timerEnvelope(envelope: Envelope, timer: ProcessTimer): Envelope {
  return { ...envelope, kind: 'timer', row: timer }
}
