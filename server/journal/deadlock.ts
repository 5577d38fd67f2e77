/**
 * Cycles of calls that wait for each other, which no chain of callers can see: each call belongs to a turn of its own.
 *
 * - M7: the youngest call of a cycle fails with DEADLOCK; the others are answered then. The failed request stays queued
 *   and may still be carried out, as after a time-out.
 * - Only calls whose row is stored and whose target is itself in the middle of a turn count: anything else moves on.
 * - The search sees the calls of this node; a cycle through another node ends by the deadlines of its calls.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import type { AwaitedReply, DurableRecord } from './record.ts'

/** Ms between two searches: far below the deadline of a call, far above the time one usually takes. */
const SEARCH_MS = 1_000

type Edge = { readonly from: ProcessId; readonly call: AwaitedReply }

export type DeadlockPorts = { clock: Clock; records(): Iterable<DurableRecord> }

export class DeadlockSearch {
  readonly #ports: DeadlockPorts
  #timer: Timer | null = null
  #closed = false
  /** Calls that were failed. */
  broken = 0

  constructor(ports: DeadlockPorts) {
    this.#ports = ports
  }

  start(): void {
    if (this.#closed) return
    this.#timer = this.#ports.clock.after(SEARCH_MS, () => {
      this.search()
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
    const waiting = new Map<ProcessId, AwaitedReply[]>()
    for (const record of this.#ports.records()) {
      if (record.waiting.size > 0 && record.open !== null) waiting.set(record.id, [...record.waiting.values()])
    }
    const done = new Set<ProcessId>()
    for (const id of waiting.keys()) {
      const cycle = findCycle(id, waiting, done)
      if (cycle !== null) this.#break(cycle)
    }
  }

  #break(cycle: readonly Edge[]): void {
    const youngest = cycle.reduce((found, edge) => (edge.call.at >= found.call.at ? edge : found))
    const path = [...cycle.map(({ from }) => from), cycle[0]?.from].join(' -> ')
    this.broken += 1
    youngest.call.settle(
      new RuntimeError(
        'DEADLOCK',
        `${youngest.from} calls ${youngest.call.op} of ${youngest.call.target} in a cycle of waiting calls: ${path}.`,
        { detail: { cycle: cycle.map(({ from }) => from) } },
      ),
    )
  }
}

/** A cycle that is reached from `start`, or null. Depth first without recursion; `done` is what leads to none. */
function findCycle(
  start: ProcessId,
  waiting: ReadonlyMap<ProcessId, readonly AwaitedReply[]>,
  done: Set<ProcessId>,
): Edge[] | null {
  const path: { id: ProcessId; next: number }[] = [{ id: start, next: 0 }]
  const edges: Edge[] = []
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const call = waiting.get(top.id)?.[top.next++]
    if (call === undefined || done.has(top.id)) {
      done.add(top.id)
      path.pop()
      edges.pop()
      continue
    }
    const { target } = call
    if (done.has(target) || !waiting.has(target)) continue
    edges.push({ from: top.id, call })
    const at = path.findIndex(({ id }) => id === target)
    if (at < 0) {
      path.push({ id: target, next: 0 })
      continue
    }
    for (const { id } of path) done.add(id)
    return edges.slice(at)
  }
  return null
}
