/**
 * Cycles of calls that wait for each other, which no chain of callers can see: each call belongs to a turn of its own.
 *
 * - M7: the youngest call of a cycle fails with DEADLOCK and is withdrawn; the others are answered then.
 * - Only calls whose row is stored and whose target is itself in the middle of a turn count: anything else moves on.
 * - Cycles among processes of this node are found in memory; those through other nodes by distant-deadlock.ts.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Timer } from '../kernel/clock-port.ts'
import { deadlock, type Edge, findCycle } from './deadlock-cycle.ts'
import { DistantDeadlocks, type DistantPorts } from './distant-deadlock.ts'
import { type AwaitedCall, isCall } from './record.ts'

/** Ms between two searches: far below the deadline of a call, far above the time one usually takes. */
const SEARCH_MS = 1_000

export class DeadlockSearch {
  readonly #ports: DistantPorts
  readonly #distant: DistantDeadlocks
  #timer: Timer | null = null
  #closed = false
  /** Calls that were failed. */
  broken = 0

  constructor(ports: DistantPorts) {
    this.#ports = ports
    this.#distant = new DistantDeadlocks(ports)
  }

  start(): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(SEARCH_MS, () => {
      this.search()
      void this.#distant.look().then((broken) => {
        this.broken += broken
      })
      this.start()
    })
    this.#timer.keepAlive(false)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** Fails the youngest call of each cycle. */
  search(): void {
    const waiting = new Map<ProcessId, AwaitedCall[]>()
    for (const record of this.#ports.records()) {
      if (record.waiting.size === 0 || record.open === null) continue
      const calls = [...record.waiting.values()].filter(isCall)
      if (calls.length > 0) waiting.set(record.id, calls)
    }
    const done = new Set<ProcessId>()
    for (const id of waiting.keys()) {
      const cycle = findCycle(id, waiting, done)
      if (cycle !== null) this.#break(cycle)
    }
  }

  #break(cycle: readonly Edge<AwaitedCall>[]): void {
    const youngest = cycle.reduce((found, edge) => (edge.call.at >= found.call.at ? edge : found))
    this.broken += 1
    youngest.call.settle(
      deadlock(
        youngest.from,
        youngest.call,
        cycle.map(({ from }) => from),
      ),
    )
  }
}
