/**
 * What a supervisor says of its part of the tree, so that it can be stored (S53, F4): each change as it happens, the
 * facts whenever somebody asks, and the history from which it goes on after the death of its node.
 *
 * - Facts are whole and cheap to compare: whoever missed changes is right again after reading them once.
 * - Members of pools are not in it: durable ones have rows of their own, ephemeral ones come and go with their node.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { ChildInput, RestartType, Shutdown } from './child.ts'

export type TreeChangeKind =
  | 'up' // all children are started
  | 'down' // the supervisor itself ended
  | 'gave-up' // the limit was exceeded; `child` is the one that did it
  | 'started'
  | 'restarted'
  | 'exited'
  | 'restarting' // a restart was decided; `counted` when it counts for the limit
  | 'terminated' // taken down by a verb: stays down until a verb starts it
  | 'deleted'
  | 'moved' // another node runs the child
  | 'halted' // a key of a pool failed too often outside a message

export type TreeChange = {
  readonly kind: TreeChangeKind
  readonly child: string | null
  readonly process: ProcessId | null
  readonly incarnation: number | null
  readonly reason: string | null
  readonly counted: boolean
}

export function treeChange(kind: TreeChangeKind, more: Partial<TreeChange>): TreeChange {
  return { child: null, process: null, incarnation: null, reason: null, counted: false, ...more, kind }
}

/** A child that was started at run time: enough to start it again. */
export type AddedChild = {
  readonly agent: string
  readonly key: string
  readonly restart: RestartType
  readonly shutdown: Shutdown
  readonly significant: boolean
}

export type ChildFact = {
  readonly id: string
  readonly process: ProcessId
  readonly incarnation: number
  readonly state: 'running' | 'restarting' | 'stopped' | 'elsewhere'
  readonly terminated: boolean
  /** Null for children of the definition, and for those that could not be made again from it. */
  readonly added: AddedChild | null
}

/** In start order. Empty for pools. */
export type TreeFacts = { readonly periodMs: number; readonly children: readonly ChildFact[] }

export type TreeHistory = {
  readonly incarnation: number
  /** Counted restarts inside the period, ascending, on the monotonic clock of this machine. */
  readonly restarts: readonly number[]
  /** Children that were started at run time. */
  readonly added: readonly ChildInput[]
  /** Children that a verb took down, with their last incarnations. */
  readonly terminated: ReadonlyMap<string, number>
}
