/**
 * Statements whose writes hang on the node row say whether it was there: nothing written may also mean nothing to do.
 */
import { RuntimeError } from '../../../shared/error.ts'
import type { NodeIdentity } from '../store.ts'

/** F2: the epoch is over; nothing was written and nothing of this node ever will be. */
export function nodeFenced(node: NodeIdentity): RuntimeError {
  return new RuntimeError(
    'FENCED',
    `Epoch ${node.epoch} of node ${node.name} (${node.id}) is over: it left or was declared dead. Nothing was written.`,
    { detail: { node: node.id, epoch: node.epoch } },
  )
}

/** Parameters $1 to $3 of every writing statement. */
export function nodeValues(node: NodeIdentity): [string, string, string] {
  return [String(node.id), String(node.epoch), node.namespace]
}
