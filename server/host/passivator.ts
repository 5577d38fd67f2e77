/**
 * Takes keyed processes out of memory that are idle, or whose open turn only waits: ten million may exist while ten
 * thousand are here.
 */

import { recordOf } from '../journal/durable.ts'
import type { DurableLayer } from '../journal/layer.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { poolOf } from '../kernel/pool.ts'
import type { Process } from '../kernel/process.ts'

/** Ms between sweeps; a process may stay this much longer than its agent says. */
const SWEEP_MS = 1_000
/** Processes given up in one sweep: their releases must not crowd out commits. */
const SWEEP_MAX = 1_000

type PassivatorPorts = {
  kernel: Kernel
  clock: Clock
  layer: DurableLayer
  /** Ms of idleness the agent allows; null for ever. */
  limitMs(agent: string): number | null
}

export class Passivator {
  readonly #ports: PassivatorPorts
  #timer: Timer | null = null
  #closed = false

  constructor(ports: PassivatorPorts) {
    this.#ports = ports
  }

  start(): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(SWEEP_MS, () => {
      this.sweep()
      this.start()
    })
    this.#timer.keepAlive(false)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** Returns how many processes left. */
  sweep(): number {
    const { kernel, clock, layer, limitMs } = this.#ports
    const now = clock.now()
    let left = 0
    for (const process of kernel.all()) {
      const parks = process.status === 'running' && process.wait !== null
      if (!process.durable || process.agent === null || !(parks || process.status === 'idle')) continue
      const limit = limitMs(process.agent)
      if (limit === null || now - lastActive(process) < limit) continue
      if (process.parent === null || poolOf(process.parent) === null) continue
      if (parks ? layer.parking.park(process) : layer.passivate(process)) left += 1
      if (left === SWEEP_MAX) break
    }
    return left
  }
}

/** Synchronous turns do not change the status; the record knows when the last one ran. */
function lastActive(process: Process): number {
  return Math.max(process.stats.since, recordOf(process)?.lastNow ?? 0)
}
