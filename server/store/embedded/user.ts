/**
 * The OS user the server runs under. Postgres refuses to run as root, so root lends it an unprivileged user: the owner
 * of an existing cluster, else `postgres`, else `nobody`. Everyone else runs it as himself.
 */
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'

export type ServerUser = { readonly name: string; readonly uid: number; readonly gid: number }

const USER_NAMES = ['postgres', 'nobody'] as const

/** Undefined when the runtime is not root: no change of user. */
export async function serverUser(clusterPath: string): Promise<ServerUser | undefined> {
  if (process.geteuid?.() !== 0) return undefined
  const users = parseUsers(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  const owner = await stat(clusterPath).catch(() => undefined)
  if (owner !== undefined && owner.uid !== 0) {
    const known = users.find((user) => user.uid === owner.uid)
    return known ?? { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid }
  }
  for (const name of USER_NAMES) {
    const user = users.find((candidate) => candidate.name === name && candidate.uid !== 0)
    if (user !== undefined) return user
  }
  throw new RuntimeError(
    'EMBEDDED_UNSUPPORTED_PLATFORM',
    'Postgres cannot run as root and this machine has no user named postgres or nobody. ' +
      'Add one, run as another user, or set DATABASE_URL.',
  )
}

/** The outermost folder on the way to `path` that `user` may not pass, or undefined when the way is open. */
export async function closedFolder(path: string, user: ServerUser | undefined): Promise<string | undefined> {
  if (user === undefined) return undefined
  const ways: string[] = []
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    ways.unshift(folder)
    if (folder === dirname(folder)) break
  }
  for (const folder of ways) {
    if (!(await permits(folder, user, 0o1))) return folder
  }
  return undefined
}

/** Whether the mode bits of `path` grant `user` all of `bits` (4 read, 2 write, 1 run or pass). */
export async function permits(path: string, user: ServerUser, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
  return ((mode >> shift) & bits) === bits
}

function parseUsers(passwd: string): ServerUser[] {
  return passwd.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':')
    if (!name || !uid || !gid) return []
    // macOS writes nobody as -2; the system calls take it as unsigned.
    return [{ name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }]
  })
}
