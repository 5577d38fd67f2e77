/**
 * The folder of the server's unix socket: below the temp folder, because the path of a socket may have 103 bytes only;
 * named after the data folder, because clients of other runtimes keep the path across a restart of the server; 0700.
 *
 * Invariant: a folder that someone else made under our name is never used (temp folders are shared).
 */
import { createHash } from 'node:crypto'
import { lstat, mkdir, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'
import { chmodOwn, type EmbeddedFolder, errorCode } from './folder.ts'
import { closedFolder } from './user.ts'

/** Part of the name of the socket only; nothing listens on the network. */
export const SOCKET_PORT = 5432

/** Bytes of a socket path: 104 with its terminator on macOS, 108 on Linux. */
const SOCKET_PATH_BYTES_MAX = 103
const SOCKET_ROOTS = [tmpdir(), '/tmp', '/var/tmp']
/** Names tried when others sit on ours. */
const NAME_TRIES = 8

/** Makes the folder and returns its path. `previous` (of a server that died) is taken again where possible. */
export async function makeSocketFolder(folder: EmbeddedFolder, previous: string | undefined): Promise<string> {
  for (const path of candidates(folder, previous)) {
    if (Buffer.byteLength(join(path, `.s.PGSQL.${SOCKET_PORT}`)) > SOCKET_PATH_BYTES_MAX) continue
    if (await claim(path, folder)) return path
  }
  throw new RuntimeError(
    'EMBEDDED_UNREACHABLE_FOLDER',
    `No folder for the database socket can be made in ${SOCKET_ROOTS.join(', ')}. ` +
      'Set TMPDIR to a short path that every user can pass.',
  )
}

export async function removeSocketFolder(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    // Not empty or not ours any more: then it is not ours to remove. Already gone is the aim.
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'EACCES', 'EPERM', 'ENOTDIR'].includes(errorCode(error) ?? '')) throw error
  })
}

function candidates(folder: EmbeddedFolder, previous: string | undefined): string[] {
  const name = `viv-${createHash('sha256').update(folder.home).digest('hex').slice(0, 12)}`
  const names = Array.from({ length: NAME_TRIES }, (_, index) => (index === 0 ? name : `${name}-${index}`))
  const paths = [...new Set(SOCKET_ROOTS)].flatMap((root) => names.map((each) => join(root, each)))
  return previous === undefined ? paths : [previous, ...paths]
}

async function claim(path: string, folder: EmbeddedFolder): Promise<boolean> {
  const owner = folder.user?.uid ?? process.geteuid?.()
  try {
    if ((await closedFolder(path, folder.user)) !== undefined) return false
    await mkdir(path, { mode: 0o700 })
    await chmodOwn(path, 0o700, folder.user)
    return true
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') return false
    const found = await lstat(path)
    return found.isDirectory() && found.uid === owner && (found.mode & 0o077) === 0
  }
}
