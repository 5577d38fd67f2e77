/** What the durable layer of a node is handed, and what it makes itself. */
import type { ProcessId } from '../../shared/id.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { ProcessSpec } from '../kernel/process.ts'
import type { RequestResult } from '../store/store.ts'
import type { DurablePorts } from './port.ts'

export type LayerPorts = Omit<
  DurablePorts,
  | 'committer'
  | 'suspects'
  | 'deliver'
  | 'reread'
  | 'forward'
  | 'giveUp'
  | 'copies'
  | 'hintOwner'
  | 'release'
  | 'released'
  | 'sweep'
  | 'revived'
  | 'timerArmed'
> & {
  stopped(): boolean
  /** Messages may be stored that nobody here was told of. */
  mayHaveLost(): void
  /** The node's epoch is over. */
  nodeFenced(): void
  /** Every agent this code knows. */
  agents(): Iterable<AnyAgent>
  /** How to run an agent's process; null for an agent this code does not know. */
  childSpec(agent: string, key: string): ProcessSpec | null
  /** Rows for a process of another node, or for a caller there: tell it to look. */
  hintNode(node: number, target: ProcessId): void
  /** Node id of the live owner; null when nobody owns the process. */
  ownerOf(id: ProcessId): Promise<number | null>
  /** Results of started operations are stored. */
  requestsStored(results: readonly RequestResult[]): void
  /** An answer came for somebody outside of any process; no call of this layer asked for it. */
  answered(call: string): void
}
