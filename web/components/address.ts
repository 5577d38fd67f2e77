/** Addresses that name a process. */

const AGENT_PREFIX = 'agents/'

/** Full page of one process. */
export function agentPath(id: string): string {
  return AGENT_PREFIX + encodeURIComponent(id)
}

/** The process a path names, or null. */
export function agentOfPath(path: string): string | null {
  if (!path.startsWith(AGENT_PREFIX)) return null
  try {
    return decodeURIComponent(path.slice(AGENT_PREFIX.length))
  } catch {
    return null // a mistyped address: shown as an unknown page
  }
}
