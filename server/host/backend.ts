/**
 * Where a runtime keeps its data: the embedded server of a folder, a database by URL, or a store handed in (tests).
 * One shape for all, so that the composition root does not care.
 */
import type { NodeRow, StoreHandle } from '../store/store.ts'

export type Backend = {
  handle: StoreHandle
  /** Where the data is, for people: a folder or a host; never with a password. */
  place: string
  /** Folder of the embedded server; absent for any other database. */
  dataDir?: string
  /** Becomes this node on the channel between nodes. */
  join(
    node: { id: number; epoch: number; namespace: string },
    onHint: (targets: readonly string[]) => void,
  ): Promise<void>
  /** Tells another node to look at a target; best effort. */
  hint(node: number, target: string): void
  /** F6: true when the session of that node is gone; null when it cannot be told. */
  sessionGone(node: NodeRow): Promise<boolean | null>
  close(): Promise<void>
}
