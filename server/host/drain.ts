/**
 * The end of a runtime, step by step: turns in hand finish or are parked, then the tree stops.
 *
 * - Every wait is bounded: a database that is gone, or a handler that never ends, must not keep a node from ending.
 */
import { pause } from '../kernel/clock-port.ts'
import { SHUTDOWN } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import type { RuntimeCore } from '../runtime.ts'

/** Ms between looks for turns that still run while draining. */
const DRAIN_LOOK_MS = 20

export class Drain {
  readonly #core: Pick<RuntimeCore, 'kernel' | 'layer' | 'clock'>
  readonly #limitMs: number

  constructor(core: Pick<RuntimeCore, 'kernel' | 'layer' | 'clock'>, limitMs: number) {
    this.#core = core
    this.#limitMs = limitMs
  }

  /** No new turn begins; those in hand may finish; what still runs at the deadline is parked: its journal goes on. */
  async turns(): Promise<void> {
    const { kernel, clock } = this.#core
    const { parking } = this.#core.layer
    const deadline = clock.monotonic() + this.#limitMs
    for (const process of kernel.all()) if (process.durable) process.suspended = true
    const left = (): number => deadline - clock.monotonic()
    while (left() > 0 && this.#busy().some((process) => !parking.outlasts(process, left()))) {
      await pause(clock, DRAIN_LOOK_MS)
    }
    kernel.lifecycle.ending = true
    for (const process of this.#busy()) if (!parking.park(process, 0)) kernel.end(process, SHUTDOWN)
    await this.bounded(parking.idle())
  }

  async root(process: Process): Promise<void> {
    if (!process.alive) return
    const { kernel } = this.#core
    const dead = kernel.dead(process)
    kernel.lifecycle.requestStop(process, SHUTDOWN, 0)
    await this.bounded(dead)
  }

  /** Waits at most a drain's time. */
  async bounded(work: Promise<unknown>, limitMs = this.#limitMs): Promise<void> {
    const timeout = new Promise<void>((resolve) => {
      this.#core.clock.after(limitMs, resolve).keepAlive(false)
    })
    await Promise.race([work, timeout])
  }

  #busy(): Process[] {
    return [...this.#core.kernel.all()].filter((process) => process.durable && process.busy && process.alive)
  }
}
