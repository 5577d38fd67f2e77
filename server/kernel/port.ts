/**
 * Everything the kernel is handed: it imports nothing but `shared/` and knows no I/O, store or thread.
 */
import type { Emit, EventKind } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Clock, Random } from './clock-port.ts'
import type { Envelope } from './envelope.ts'
import type { Process } from './process.ts'
import type { TreeChange, TreeHistory } from './tree-change.ts'

export type KernelPorts = {
  clock: Clock
  random: Random
  emit: Emit
  /** Events of a kind nobody watches are not built. */
  watching(kind: EventKind): boolean
  /** Runs `fn` in the context of the process (AsyncLocalStorage, trace). Once per init, terminate and turn, with the
   *  message; but turns of an ephemeral process share one call per slice, with null, while nobody traces: `tracing` is
   *  false, `turn:stop` has no subscriber and the message carries no traceparent. */
  around<E extends Envelope | null, T>(process: Process, envelope: E, fn: (process: Process, envelope: E) => T): T
  /** Whether each turn needs a context of its own, for spans. Asked once per slice. */
  tracing(): boolean
  /** A message for an id that is not in memory: activate, forward, or refuse with PROCESS_NOT_FOUND. */
  missing(id: ProcessId, envelope: Envelope): void
  /** Children, restart history or the given-up state of a supervisor changed; the durable layer stores it (F4). */
  treeChanged(supervisor: Process, change: TreeChange): void
  /** What is stored of a supervisor that starts for the first time on this node; null for every later incarnation,
   *  which begins anew (S52), and where nothing is stored. */
  treeHistory(supervisor: Process): TreeHistory | null
}
