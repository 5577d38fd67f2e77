/**
 * The channel between nodes as the runtime sees it: hints that may get lost, and proof that a node's session is gone.
 *
 * - A hint only says "look at your mailbox rows of this target". Rows are the truth; recovery finds what no hint told.
 * - F6: a node holds a session lock for as long as its control connection lives. `sessionGone` never guesses.
 */
export type ControlNode = { readonly id: number; readonly epoch: number; readonly namespace: string }

export interface ControlConnection {
  /** Becomes this node: takes its session lock and hears its hints, across reconnections, until `close`. Once only. */
  join(node: ControlNode, onHint: (targets: readonly string[]) => void): Promise<void>
  /** Tells another node to look at a target. Hints of one macrotask leave together; a hint may get lost. */
  hint(node: number, target: string): void
  /** True: the node held its lock once and nobody holds it now. Null: it never did, or the database cannot be asked. */
  sessionGone(node: Pick<ControlNode, 'id' | 'epoch'>): Promise<boolean | null>
  close(): Promise<void>
}
