/**
 * Housekeeping in small steps: a short pause while there is more to do, a long one between two walks.
 *
 * - Nothing waits for it. A step that fails is told and tried again with the next walk.
 */
import type { Clock, Timer } from '../kernel/clock-port.ts'

export interface Chore {
  /** Ms between two steps of a walk. */
  readonly stepMs: number
  /** Ms between two walks, and before the first one. */
  readonly walkMs: number
  /** One step; true when there is more to do soon. */
  step(): Promise<boolean>
}

export class Walk {
  readonly #chore: Chore
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  #timer: Timer | null = null
  #closed = false

  constructor(chore: Chore, clock: Clock, failed: (error: unknown) => void) {
    this.#chore = chore
    this.#clock = clock
    this.#failed = failed
  }

  start(): void {
    this.#arm(this.#chore.walkMs)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#clock.after(ms, () => void this.#step())
    this.#timer.keepAlive(false)
  }

  async #step(): Promise<void> {
    let more = false
    try {
      more = await this.#chore.step()
    } catch (error) {
      this.#failed(error)
    }
    this.#arm(more ? this.#chore.stepMs : this.#chore.walkMs)
  }
}
