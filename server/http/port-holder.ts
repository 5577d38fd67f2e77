/**
 * Who listens on a TCP port, from /proc. Null where the system does not tell: on other systems, or when the program
 * belongs to another user.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'

export type PortHolder = { pid: number; command: string }

/** State of a listening socket in /proc/net/tcp. */
const LISTEN = '0A'

export async function portHolder(port: number): Promise<PortHolder | null> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (await textOf(table)).split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === LISTEN && inode !== undefined && Number.parseInt(local.split(':')[1] ?? '', 16) === port) {
        inodes.add(`socket:[${inode}]`)
      }
    }
  }
  if (inodes.size === 0) return null
  const processes = (await namesIn('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of processes) {
    for (const fd of await namesIn(`/proc/${pid}/fd`)) {
      if (inodes.has(await targetOf(`/proc/${pid}/fd/${fd}`)))
        return { pid: Number(pid), command: await commandOf(pid) }
    }
  }
  return null
}

async function commandOf(pid: string): Promise<string> {
  const words = (await textOf(`/proc/${pid}/cmdline`)).split('\0').filter((word) => word !== '')
  const line = words.join(' ')
  return line.length > 120 ? `${line.slice(0, 117)}...` : line
}

// Processes end while they are looked at, and those of other users are closed to us: both simply hold nothing we can
// name, which is what the empty answers say.

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch(() => [])
}

async function targetOf(path: string): Promise<string> {
  return readlink(path).catch(() => '')
}
