/**
 * Keeps the store from growing for ever: journals by the retention of their agent, records of what is over by theirs
 * (shared/retention.ts).
 *
 * - The store lets one node at a time do it; the others look again.
 */
import { RETENTION_DEFAULT, SWEPT, type Swept } from '../../shared/retention.ts'
import type { CrashPoints } from '../crash-point.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store } from '../store/store.ts'
import type { Chore } from './walk.ts'

/** Snapshots looked at in one step. */
const PROCESSES_MAX = 200
/** Rows deleted in one step: some milliseconds of work for the server. */
export const PRUNE_ROWS_MAX = 1_000
/** Records of each kind deleted in one step. */
const RECORDS_MAX = 500
/** Ms between two walks, and between two looks whether another node still does it. */
const WALK_MS = 10 * 60 * 1_000
/** Ms for which this node is the one that prunes: longer than a pause, so that a walk stays with its node. */
const LEASE_MS = 2 * WALK_MS

export type PrunerPorts = {
  store: Store
  clock: Clock
  crash: CrashPoints
  node(): NodeIdentity
  agents(): Iterable<AnyAgent>
}

export class Pruner implements Chore {
  /** With PRUNE_ROWS_MAX at most twenty thousand rows a second. */
  readonly stepMs = 50
  readonly walkMs = WALK_MS
  readonly #ports: PrunerPorts
  /** Walks that came to their end here, and what they took away. */
  readonly stats = {
    ...{ here: false, walks: 0, rows: 0, waypoints: 0, lastStepMs: 0 },
    ...{ deadLetters: 0, failures: 0, audit: 0, requests: 0, nodes: 0 },
  }

  constructor(ports: PrunerPorts) {
    this.#ports = ports
  }

  async step(): Promise<boolean> {
    const { store, clock, crash, node } = this.#ports
    const { stats } = this
    const startedAt = clock.monotonic()
    const limits = { processes: PROCESSES_MAX, rows: PRUNE_ROWS_MAX, leaseMs: LEASE_MS }
    const pruned = await store.prune(node(), { policies: this.#policies(), ...limits })
    stats.here = pruned !== null
    if (pruned === null) return false
    if (pruned.rows > 0) crash.hit('prune:step')
    stats.rows += pruned.rows
    stats.waypoints += pruned.waypoints
    const more = pruned.over ? await this.#sweep() : true
    if (!more) stats.walks += 1
    stats.lastStepMs = clock.monotonic() - startedAt
    return more
  }

  async #sweep(): Promise<boolean> {
    const swept: Swept = await this.#ports.store.sweep(this.#ports.node(), RECORDS_MAX)
    for (const table of SWEPT) this.stats[table] += swept[table]
    return SWEPT.some((table) => swept[table] === RECORDS_MAX)
  }

  #policies() {
    const own = ['supervisor', 'pool'].map((agent) => ({ agent, ...RETENTION_DEFAULT }))
    const agents = [...this.#ports.agents()].filter(({ durable }) => durable)
    return [...own, ...agents.map(({ name, retention }) => ({ agent: name, ...retention }))]
  }
}
