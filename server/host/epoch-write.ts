/**
 * What a node writes for somebody outside: a message, a start, an outcome. It is not of the node's epoch, so the end of
 * one does not refuse it (N10).
 *
 * - FENCED is certain: nothing was written, and the same write under the next epoch happens once.
 * - Where the node does not join anew, because it stops, the refusal stands.
 */
import { isRuntimeError } from '../../shared/error.ts'
import type { NodeIdentity } from '../store/store.ts'

/** Epochs that may end under one write. More is a node that is being buried in a loop, which its caller should hear. */
const EPOCHS_MAX = 3

export type EpochPorts = {
  node(): NodeIdentity
  /** The epoch may be over: resolves when this node has joined anew, or need not. */
  rejoin(): Promise<void>
}

export async function underEpoch<T>(ports: EpochPorts, write: (node: NodeIdentity) => Promise<T>): Promise<T> {
  for (let left = EPOCHS_MAX; ; left--) {
    const node = ports.node()
    try {
      return await write(node)
    } catch (error) {
      if (!isRuntimeError(error, 'FENCED') || left === 0) throw error
      await ports.rejoin()
      if (ports.node().epoch === node.epoch) throw error
    }
  }
}
