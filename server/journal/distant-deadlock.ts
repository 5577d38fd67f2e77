/**
 * Cycles of waiting calls that pass through other nodes, found over what is stored (PROTOCOL M7).
 *
 * - A node looks only while one of its calls waits for a process that is not here: a system on one node never asks.
 * - It goes backwards from its waiting callers, from mailbox to mailbox: the request row is the edge. An answer takes
 *   the row away in its commit, so a cycle whose rows were all there in two looks stood in between: it is no illusion
 *   of reading one mailbox after the other. Then the journals must say that each caller still waits for that call.
 * - The youngest row of the cycle is the victim on every node that finds it; only its caller's node fails it.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { NodeIdentity, Store, WaitEdge } from '../store/store.ts'
import { nameOf } from './branch.ts'
import { deadlock, findCycle } from './deadlock-cycle.ts'
import { fold } from './fold.ts'
import { type DurableRecord, isCall } from './record.ts'

/** Calls in one cycle. Longer ones end by their deadlines. */
const DEPTH_MAX = 32
/** Edges of one step: a process that thousands wait for is busy, not dead. */
const EDGES_MAX = 1_000
/** Ms a call waits before it is worth a query. */
const PATIENCE_MS = 1_000

export type DistantPorts = {
  store: Store
  clock: Clock
  node(): NodeIdentity
  clockOffset(): number
  records(): Iterable<DurableRecord>
  failed(error: unknown): void
}

export class DistantDeadlocks {
  readonly #ports: DistantPorts
  #looking = false
  /** Cycles of the look before, by their calls. */
  #seen: ReadonlySet<string> = new Set()

  constructor(ports: DistantPorts) {
    this.#ports = ports
  }

  /** Fails the calls of this node that are the youngest of a cycle. Returns how many. Never throws. */
  async look(): Promise<number> {
    if (this.#looking) return 0
    this.#looking = true
    try {
      return await this.#look()
    } catch (error) {
      this.#ports.failed(error)
      return 0
    } finally {
      this.#looking = false
    }
  }

  async #look(): Promise<number> {
    const here = new Map<ProcessId, DurableRecord>()
    for (const record of this.#ports.records()) here.set(record.id, record)
    const starts = [...here.values()].filter((record) => this.#waitsElsewhere(record, here)).map(({ id }) => id)
    const seen = new Set<string>()
    let broken = 0
    for (const cycle of starts.length === 0 ? [] : cyclesOf(starts, await this.#edges(starts))) {
      const name = cycle
        .map(({ call }) => call)
        .toSorted()
        .join(' ')
      seen.add(name)
      if (!this.#seen.has(name)) continue
      const youngest = cycle.reduce((found, edge) => (edge.ord > found.ord ? edge : found))
      const record = here.get(youngest.caller)
      if (record === undefined || !(await this.#stillWaiting(cycle))) continue
      const waiting = record.waiting.get(youngest.call)
      if (waiting === undefined || !isCall(waiting)) continue
      waiting.settle(
        deadlock(
          youngest.caller,
          waiting,
          cycle.map(({ caller }) => caller),
        ),
      )
      broken += 1
    }
    this.#seen = seen
    return broken
  }

  #waitsElsewhere({ waiting, open }: DurableRecord, here: ReadonlyMap<ProcessId, unknown>): boolean {
    if (open === null || waiting.size === 0) return false
    const now = this.#ports.clock.now() + this.#ports.clockOffset()
    return [...waiting.values()].some((wait) => isCall(wait) && !here.has(wait.target) && now - wait.at >= PATIENCE_MS)
  }

  /** Backwards from `starts`: everybody who waits for them, for those, and so on. */
  async #edges(starts: readonly ProcessId[]): Promise<Map<ProcessId, WaitEdge[]>> {
    const { store, node } = this.#ports
    const found = new Map<ProcessId, WaitEdge[]>()
    const asked = new Set<ProcessId>(starts)
    let targets = [...starts]
    for (let depth = 0; depth < DEPTH_MAX && targets.length > 0; depth++) {
      const edges = await store.waitEdges(node().namespace, targets, EDGES_MAX)
      targets = []
      for (const edge of edges) {
        const { caller } = edge
        found.set(caller, [...(found.get(caller) ?? []), edge])
        if (asked.has(caller)) continue
        asked.add(caller)
        targets.push(caller)
      }
    }
    return found
  }

  async #stillWaiting(cycle: readonly WaitEdge[]): Promise<boolean> {
    const { store, node } = this.#ports
    const pids = cycle.map(({ pid }) => pid)
    const loaded = new Map((await store.load(node(), pids)).map((one) => [one.process, one]))
    return cycle.every(({ pid, call }) => {
      const one = loaded.get(pid)
      const open = one === undefined ? null : fold(one, one.mailbox).open
      const of = (k: 'called' | 'reply') =>
        open?.entries.some((entry) => entry.k === k && `${nameOf(open)}/${entry.key}` === call) ?? false
      return of('called') && !of('reply')
    })
  }
}

function cyclesOf(starts: readonly ProcessId[], edges: ReadonlyMap<ProcessId, readonly WaitEdge[]>): WaitEdge[][] {
  const done = new Set<ProcessId>()
  return starts.flatMap((start) => {
    const cycle = findCycle(start, edges, done)
    return cycle === null ? [] : [cycle.map(({ call }) => call)]
  })
}
