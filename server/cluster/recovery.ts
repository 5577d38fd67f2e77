/**
 * Continuous recovery: what nobody owns and somebody waits for is found by a query and started here.
 *
 * - It is a loop, not an event: hints, notifications and starts may be lost, the rows are not.
 * - Recovery never costs a supervisor's intensity and never takes what a live node owns (F4 decides in the store).
 */
import type { Emit } from '../../shared/event.ts'
import { OVERSEER_AGENTS, type ProcessId } from '../../shared/id.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store } from '../store/store.ts'
import type { Membership } from './membership.ts'

/** Processes started per round; the next round follows at once while there are more. */
const ORPHANS_MAX = 1_000
/** Ms between rounds: what a lost hint may delay. */
const ROUND_MS = 1_000

type Orphan = { id: ProcessId; agent: string; key: string }

type RecoveryPorts = {
  store: Store
  clock: Clock
  emit: Emit
  node(): NodeIdentity
  clockOffset(): number
  membership: Membership
  /** Resolves when it is decided who runs it, where that takes an answer of the store. */
  start(orphan: Orphan): Promise<void> | undefined
  failed(what: string, error: unknown): void
}

export class Recovery {
  readonly #ports: RecoveryPorts
  #timer: Timer | null = null
  #closed = false
  /** Rounds, processes found in all of them, ms of the last one. */
  readonly stats = { rounds: 0, found: 0, lastMs: 0 }

  constructor(ports: RecoveryPorts) {
    this.#ports = ports
  }

  /** The first round, awaited at start: a successor takes over at once. */
  async start(): Promise<void> {
    await this.#round()
    this.#arm(ROUND_MS)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(ms, () => void this.#round().then((found) => this.#arm(found ? 0 : ROUND_MS)))
    this.#timer.keepAlive(false)
  }

  /** True when there may be more at once. */
  async #round(): Promise<boolean> {
    const { store, clock, emit, membership } = this.#ports
    const startedAt = clock.monotonic()
    try {
      await membership.buryTheDead(clock.now() + this.#ports.clockOffset())
      const orphans = await store.orphans(this.#ports.node(), ORPHANS_MAX)
      this.stats.rounds += 1
      this.stats.found += orphans.length
      this.stats.lastMs = clock.monotonic() - startedAt
      if (this.#closed) return false
      // Supervisors first: a child that one of them started at run time comes back below it.
      const supervised = orphans.filter(({ agent }) => OVERSEER_AGENTS.has(agent))
      await Promise.all(supervised.map((orphan) => this.#ports.start(orphan)))
      for (const orphan of orphans) if (!OVERSEER_AGENTS.has(orphan.agent)) this.#ports.start(orphan)
      if (orphans.length > 0) {
        emit({
          kind: 'recovery:stop',
          at: clock.now(),
          processes: orphans.length,
          durationMs: clock.monotonic() - startedAt,
        })
      }
      return orphans.length === ORPHANS_MAX
    } catch (error) {
      this.#ports.failed('recovery', error)
      return false
    }
  }
}
