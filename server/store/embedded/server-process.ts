/**
 * Which processes belong to the server of a folder. A pid in a file proves nothing: it may have been given to another
 * program. Two marks do, and either is enough:
 * - a server works in its data directory (not readable for root in a container that lacks CAP_SYS_PTRACE);
 * - we start it under a name made from its folder, which every process of it shows in its command line.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, readlink } from 'node:fs/promises'
import type { EmbeddedFolder } from './folder.ts'
import { startTime } from './identity.ts'

/** `unknown`: it is some Postgres, and nobody lets us see whose. */
export type Belonging = 'yes' | 'no' | 'unknown'

/** The cluster_name of the server of a folder. */
export function serverName(folder: EmbeddedFolder): string {
  return `vivarium-${createHash('sha256').update(folder.home).digest('hex').slice(0, 16)}`
}

export async function belongsTo(folder: EmbeddedFolder, pid: number): Promise<Belonging> {
  // Without /proc a live pid is taken at its word, as Postgres itself does.
  if (process.platform !== 'linux') return (await startTime(pid)) === undefined ? 'no' : 'unknown'
  const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
  if (command.trim() !== 'postgres') return 'no'
  // A dead process that nobody has collected yet keeps its name, but has no start time here.
  if ((await startTime(pid)) === undefined) return 'no'
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (line.includes(serverName(folder))) return 'yes'
  const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  if (workingFolder === undefined) return 'unknown'
  return workingFolder === folder.cluster ? 'yes' : 'no'
}

/** Linux only: every process of the server that surely belongs to it, with or without its postmaster. */
export async function serverProcesses(folder: EmbeddedFolder): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0)
  const belongings = await Promise.all(pids.map((pid) => belongsTo(folder, pid)))
  return pids.filter((_, index) => belongings[index] === 'yes')
}
