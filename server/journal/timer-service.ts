/**
 * Durable timers: rows with a due time, fired by one statement that turns them into mailbox rows (PROTOCOL V5).
 *
 * - Due timers are found by an index; nothing is scanned and nothing is kept per timer in memory but the next due time.
 * - Every node fires whatever is due; a timer fires once because firing deletes it. One that was overdue while no node
 *   ran fires once when the first is up.
 */

import type { CrashPoints } from '../crash-point.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { MessageRow, NodeIdentity, Store } from '../store/store.ts'

/** Timers of one statement. */
const FIRE_MAX = 500
/** Ms between looks for timers that another node armed. */
const LOOK_MS = 2_000
const RETRY_MS = 500

export type TimerServicePorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  clockOffset(): number
  /** Loads of this node so far. */
  loads(): number
  deliver(row: MessageRow, loads: number): void
  failed(error: unknown): void
  /** The store answers again after a failure: what it fired meanwhile was told to nobody. */
  mayHaveLost(): void
}

/** Ms until the next look when the store does not hold for due what this clock does. */
const EARLY_MS = 10

export class TimerService {
  readonly #ports: TimerServicePorts
  #timer: Timer | null = null
  #next = Number.POSITIVE_INFINITY
  #busy = false
  #closed = false
  #failed = false
  fired = 0

  constructor(ports: TimerServicePorts) {
    this.#ports = ports
  }

  /** Epoch ms of the store of the next timer that is known here; null when there is none. */
  get next(): number | null {
    return Number.isFinite(this.#next) ? this.#next : null
  }

  start(): void {
    this.#sleepUntil(0)
  }

  /** A timer of this node was armed. */
  armed(due: number): void {
    if (due < this.#next && !this.#busy) this.#sleepUntil(due)
    else if (due < this.#next) this.#next = due
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #sleepUntil(due: number): void {
    if (this.#closed) return
    this.#next = due
    this.#timer?.cancel()
    const now = this.#ports.clock.now() + this.#ports.clockOffset()
    this.#timer = this.#ports.clock.after(Math.min(LOOK_MS, Math.max(0, due - now)), () => void this.#fire())
  }

  async #fire(): Promise<void> {
    const { store, crash, node, deliver } = this.#ports
    this.#busy = true
    this.#next = Number.POSITIVE_INFINITY
    let due = Number.POSITIVE_INFINITY
    let early = 0
    try {
      const loads = this.#ports.loads()
      const rows = await store.fireTimers(node(), FIRE_MAX)
      if (rows.length > 0) crash.hit('timer:fire')
      this.fired += rows.length
      for (const row of rows) deliver(row, loads)
      if (this.#failed) this.#ports.mayHaveLost()
      this.#failed = false
      // The clock here is ahead of the store's: what is due here is not due there, however often it is asked.
      if (rows.length === 0) early = this.#ports.clock.now() + this.#ports.clockOffset() + EARLY_MS
      due = rows.length === FIRE_MAX ? 0 : ((await store.nextTimer(node().namespace)) ?? Number.POSITIVE_INFINITY)
    } catch (error) {
      this.#failed = true
      this.#ports.failed(error)
      due = this.#ports.clock.now() + this.#ports.clockOffset() + RETRY_MS
    }
    this.#busy = false
    this.#sleepUntil(Math.max(early, Math.min(due, this.#next)))
  }
}
