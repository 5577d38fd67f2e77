/**
 * Where things are in the data folder. Everything of the server is below `<data>/postgres`, which belongs to the server
 * user and is closed to all others (0700):
 *
 *   cluster/       the Postgres data directory
 *   secret         password of the one role, 0600
 *   server.log     what the server writes; server.log.old is the one before
 *   lock           held while a server is started or stopped (lock.ts)
 */

import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'
import { closedFolder, type ServerUser, serverUser } from './user.ts'

export type EmbeddedFolder = {
  readonly home: string
  readonly cluster: string
  readonly secret: string
  readonly log: string
  readonly lock: string
  readonly user: ServerUser | undefined
  /** False when the server user cannot come to `home` by its path: the server is then addressed by its own cwd. */
  readonly reachable: boolean
}

/** Bytes. Beyond it the log is moved aside at the next start; the server itself writes little (setting.ts). */
const LOG_BYTES_MAX = 10_000_000
/** Bytes of randomness in the secret; 256 bits. */
const SECRET_BYTES = 32

/** Creates the folder when it is missing. Opening it twice gives the same. */
export async function openFolder(dataDir: string): Promise<EmbeddedFolder> {
  const path = resolve(dataDir)
  try {
    await mkdir(path, { recursive: true, mode: 0o711 })
    const home = join(await realpath(path), 'postgres')
    const user = await serverUser(join(home, 'cluster'))
    await mkdir(home, { recursive: true, mode: 0o700 })
    await chmodOwn(home, 0o700, user)
    const closed = await closedFolder(home, user)
    if (closed !== undefined && process.platform !== 'linux') throw closedError(closed, home, user)
    return { ...places(home), user, reachable: closed === undefined }
  } catch (error) {
    const code = errorCode(error)
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'ENOTDIR') throw error
    throw new RuntimeError(
      'EMBEDDED_UNREACHABLE_FOLDER',
      `The data folder ${path} cannot be used by this user (${code}). Choose a folder you own, or run as its owner.`,
      { cause: error, detail: { path } },
    )
  }
}

/** The folder without creating anything; undefined when no server ever lived there. */
export async function findFolder(dataDir: string): Promise<EmbeddedFolder | undefined> {
  const home = join(resolve(dataDir), 'postgres')
  return (await exists(join(home, 'cluster'))) ? openFolder(dataDir) : undefined
}

/** Writes the secret of a new cluster. */
export async function writeSecret(folder: EmbeddedFolder): Promise<void> {
  await writeDurably(folder.secret, randomBytes(SECRET_BYTES).toString('base64url'), folder.user)
}

/** Writes a small file and its folder through to disk; readable by the server user only. */
export async function writeDurably(path: string, text: string, user: ServerUser | undefined): Promise<void> {
  const aside = `${path}.new`
  await rm(aside, { force: true })
  const file = await open(aside, 'wx', 0o600)
  try {
    await file.writeFile(text)
    if (user !== undefined) await file.chown(user.uid, user.gid)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(aside, path)
}

/** Makes a rename in `path` survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** An empty folder for initdb. What an interrupted attempt left beside it is removed; call under the lock. */
export async function newClusterFolder(folder: EmbeddedFolder): Promise<string> {
  for (const name of await readdir(folder.home)) {
    if (name.startsWith('cluster.new')) await rm(join(folder.home, name), { recursive: true, force: true })
  }
  // A name of its own: an initdb whose runtime was killed may still write into the one just removed.
  const path = join(folder.home, `cluster.new-${randomBytes(4).toString('hex')}`)
  await mkdir(path, { mode: 0o700 })
  await chmodOwn(path, 0o700, folder.user)
  return path
}

export async function rotateLog(folder: EmbeddedFolder): Promise<void> {
  const size = await stat(folder.log).then(
    (found) => found.size,
    () => 0,
  )
  if (size > LOG_BYTES_MAX) await rename(folder.log, `${folder.log}.old`)
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false
      throw error
    },
  )
}

/** The code of a system error, e.g. ENOENT. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Mode and owner. The mode again, because mkdir's is cut by the umask. */
export async function chmodOwn(path: string, mode: number, user: ServerUser | undefined): Promise<void> {
  await chmod(path, mode)
  if (user !== undefined) await chown(path, user.uid, user.gid)
}

function places(home: string): Pick<EmbeddedFolder, 'home' | 'cluster' | 'secret' | 'log' | 'lock'> {
  return {
    home,
    cluster: join(home, 'cluster'),
    secret: join(home, 'secret'),
    log: join(home, 'server.log'),
    lock: join(home, 'lock'),
  }
}

function closedError(closed: string, home: string, user: ServerUser | undefined): RuntimeError {
  return new RuntimeError(
    'EMBEDDED_UNREACHABLE_FOLDER',
    `As root the database runs as ${user?.name}, who cannot pass ${closed} on the way to ${home}. ` +
      `Choose a data folder outside it, or open it: chmod o+x ${closed}`,
    { detail: { path: closed } },
  )
}
