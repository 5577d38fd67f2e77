/**
 * Who this OS process is, in words that another node on the same machine can check: boot id, pid and start time.
 * A pid alone is reused; together with its start time it names one process for the life of a boot.
 */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

export type HostIdentity = { host: string; bootId: string; osPid: number; osStartedAt: string }

export function hostIdentity(): HostIdentity {
  return { host: hostname(), bootId: bootId(), osPid: process.pid, osStartedAt: startedAt(process.pid) ?? 'unknown' }
}

/** True only when it is certain that the process is gone: same host and boot, and no such pid or another start. */
export function isGone(other: HostIdentity, self: HostIdentity): boolean {
  if (other.host !== self.host || other.bootId !== self.bootId || self.bootId === 'unknown') return false
  const now = startedAt(other.osPid)
  return now === null || (other.osStartedAt !== 'unknown' && now !== other.osStartedAt)
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return 'unknown' // no /proc on this system: the lease alone proves death
  }
}

/** Field 22 of /proc/PID/stat, after the command, which may hold spaces. Null when there is no such process. */
function startedAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
