/** A cycle in a graph of waiting calls, and the error that breaks it (PROTOCOL M7). */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'

export type Edge<C> = { readonly from: ProcessId; readonly call: C }

/** @param cycle  the callers, each waiting for the next */
export function deadlock(
  caller: ProcessId,
  call: { readonly target: ProcessId; readonly op: string },
  cycle: readonly ProcessId[],
): RuntimeError {
  const path = [...cycle, cycle[0]].join(' -> ')
  return new RuntimeError(
    'DEADLOCK',
    `${caller} calls ${call.op} of ${call.target} in a cycle of waiting calls: ${path}. The call is withdrawn.`,
    { detail: { cycle } },
  )
}

/** A cycle that is reached from `start`, or null. Depth first without recursion; `done` is what leads to none. */
export function findCycle<C extends { readonly target: ProcessId }>(
  start: ProcessId,
  waiting: ReadonlyMap<ProcessId, readonly C[]>,
  done: Set<ProcessId>,
): Edge<C>[] | null {
  const path: { id: ProcessId; next: number }[] = [{ id: start, next: 0 }]
  const edges: Edge<C>[] = []
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
