/**
 * Who a process is, so that a lock file can say whether its holder still lives. A pid alone is reused: after a reboot,
 * and at once in containers, where small pids come back with every start. So the start time of the process, the boot of
 * the machine, and the pid namespace belong to it.
 */
import { execFile } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'

const execute = promisify(execFile)

export type ProcessIdentity = {
  readonly pid: number
  /** Opaque: clock ticks since boot on Linux, a date elsewhere. */
  readonly startedAt: string
  readonly boot: string
  readonly namespace: string
  readonly host: string
}

/** `foreign` means that from here nobody can tell: another container or another machine. */
export type Liveness = 'alive' | 'gone' | 'foreign'

export async function ownIdentity(): Promise<ProcessIdentity> {
  const [startedAt, place] = await Promise.all([startTime(process.pid), ownPlace()])
  return { pid: process.pid, startedAt: startedAt ?? 'unknown', ...place }
}

export async function liveness(holder: ProcessIdentity): Promise<Liveness> {
  const here = await ownPlace()
  if (holder.boot !== here.boot) return holder.host === here.host ? 'gone' : 'foreign'
  if (holder.namespace !== here.namespace) return 'foreign'
  return (await startTime(holder.pid)) === holder.startedAt ? 'alive' : 'gone'
}

/** The start time of a live process; undefined when there is none (a zombie counts as none: it runs no code). */
export async function startTime(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    const answer = await execute('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => undefined)
    return answer?.stdout.trim() || undefined
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return undefined
  // The second field is the command in brackets and may hold spaces, so count from the last bracket: state is the
  // first field after it, the start time the twentieth.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

async function ownPlace(): Promise<Pick<ProcessIdentity, 'boot' | 'namespace' | 'host'>> {
  const host = hostname()
  if (process.platform !== 'linux') {
    const answer = await execute('sysctl', ['-n', 'kern.boottime']).catch(() => undefined)
    return { boot: answer?.stdout.trim() ?? 'unknown', namespace: 'host', host }
  }
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown')
  const namespace = await readlink('/proc/self/ns/pid').catch(() => 'unknown')
  return { boot: boot.trim(), namespace, host }
}
