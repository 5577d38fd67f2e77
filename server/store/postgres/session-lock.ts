/**
 * F6: the advisory lock that a node's control connection holds as long as its socket lives. One key per schema and
 * epoch; epochs are never reused, so a lock can only belong to that one start of that one node.
 */
export function sessionKeySql(schema: string, epoch: string): string {
  return `hashtextextended('vivarium.node.' || ${schema} || '.' || ${epoch}, 0)`
}
