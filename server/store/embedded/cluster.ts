/**
 * One Postgres data directory and the server on it: initdb, start, stop, and what state it is in. All of it through
 * initdb and pg_ctl. Callers hold the folder's lock (lock.ts) for everything but `clusterState`.
 *
 * - pg_ctl puts the server into a session of its own and redirects its output into the log, so neither Ctrl-C nor
 *   kill -9 of the runtime reaches it.
 * - The server is named by its working directory (`/proc/self/cwd`) where its user cannot walk to the folder: the
 *   kernel follows that link without asking for the folders above. So root may keep the data below a closed folder.
 * - A folder counts as a cluster once it has its final name: initdb works beside it, the rename is the last act.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { RuntimeError } from '../../../shared/error.ts'
import type { Binaries } from './binary.ts'
import { type CommandResult, runCommand } from './command.ts'
import {
  type EmbeddedFolder,
  errorCode,
  exists,
  newClusterFolder,
  rotateLog,
  syncFolder,
  writeSecret,
} from './folder.ts'
import type { Pause } from './pause.ts'
import { belongsTo, serverName, serverProcesses } from './server-process.ts'
import { HOST_BASED_ACCESS, settingText } from './setting.ts'
import { makeSocketFolder, removeSocketFolder, SOCKET_PORT } from './socket.ts'

/** The one role; it owns everything in the embedded server. */
export const EMBEDDED_ROLE = 'vivarium'

export type ClusterState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'stopped' }
  /** The server died without taking its pid file along. */
  | { readonly kind: 'crashed'; readonly socketFolder: string | undefined }
  /** `certain` is false when another server may have been given the pid in the file and nobody lets us look. */
  | {
      readonly kind: 'running'
      readonly pid: number
      readonly socketFolder: string | undefined
      readonly certain: boolean
    }

/** Seconds pg_ctl waits. Crash recovery of a big folder reads up to max_wal_size; ten minutes are far beyond it. */
const START_SECONDS_MAX = 600
const STOP_SECONDS_MAX = 60
/** Milliseconds that processes of a dead server get to notice and leave, before they are killed. */
const ORPHAN_WAIT_MS_MAX = 2_000
/** Milliseconds between looks; each reads the list of processes, which takes some milliseconds itself. */
const ORPHAN_POLL_MS = 40
/** Lines of the log quoted in an error. */
const LOG_LINES = 5

export async function clusterState(folder: EmbeddedFolder): Promise<ClusterState> {
  const file = await readOptional(join(folder.cluster, 'postmaster.pid'))
  if (file === undefined) return { kind: (await exists(join(folder.cluster, 'PG_VERSION'))) ? 'stopped' : 'absent' }
  // Lines: pid, data directory, start time, port, socket folder, listen address, shared memory key, status.
  const lines = file.split('\n')
  const pid = Number(lines[0])
  const socketFolder = lines[4] || undefined
  const belongs = pid > 0 ? await belongsTo(folder, pid) : 'no'
  if (belongs === 'no') return { kind: 'crashed', socketFolder }
  return { kind: 'running', pid, socketFolder, certain: belongs === 'yes' }
}

/** @throws EMBEDDED_VERSION_MISMATCH  the files were written by another major version */
export async function checkVersion(folder: EmbeddedFolder, binaries: Binaries): Promise<void> {
  const found = (await readOptional(join(folder.cluster, 'PG_VERSION')))?.trim()
  if (found === undefined || found === String(binaries.major)) return
  throw new RuntimeError(
    'EMBEDDED_VERSION_MISMATCH',
    `${folder.cluster} was written by Postgres ${found}; this package runs Postgres ${binaries.major}. ` +
      `Dump it with pg_dump under Postgres ${found} and load it into a new data folder, ` +
      'or set DATABASE_URL to a server of that version.',
    { detail: { path: folder.cluster, found, wanted: String(binaries.major) } },
  )
}

export async function createCluster(folder: EmbeddedFolder, binaries: Binaries): Promise<void> {
  const path = await newClusterFolder(folder)
  await writeSecret(folder)
  const locale =
    binaries.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'] : ['--locale=C']
  const args = [
    '--pgdata',
    directoryName(path, folder),
    '--username',
    EMBEDDED_ROLE,
    `--pwfile=${fileName(folder.secret, folder)}`,
  ]
  args.push('--auth=scram-sha-256', '--encoding=UTF8', '--no-instructions', '--data-checksums', ...locale)
  const result = await runCommand('initdb', args, { binaries, user: folder.user, cwd: path })
  if (result.code !== 0) {
    await rm(path, { recursive: true, force: true })
    throw await failure('initdb', result, folder)
  }
  await rename(path, folder.cluster)
  await syncFolder(folder.home)
}

/** Starts the server and returns when it takes connections; crash recovery is then over. */
export async function startServer(folder: EmbeddedFolder, binaries: Binaries, pause: Pause): Promise<ClusterState> {
  const before = await clusterState(folder)
  if (before.kind === 'crashed') await clearCrashed(folder, before.socketFolder, pause)
  const socketFolder = await makeSocketFolder(folder, before.kind === 'crashed' ? before.socketFolder : undefined)
  await rotateLog(folder)
  // Overwritten in place, so owner and mode stay those initdb gave.
  await writeFile(join(folder.cluster, 'postgresql.conf'), settingText())
  await writeFile(join(folder.cluster, 'pg_hba.conf'), HOST_BASED_ACCESS)
  const options = `-k "${socketFolder}" -p ${SOCKET_PORT} -c cluster_name=${serverName(folder)}`
  const args = [
    'start',
    '--wait',
    '--silent',
    `--timeout=${START_SECONDS_MAX}`,
    `--log=${fileName(folder.log, folder)}`,
  ]
  const result = await control(folder, binaries, [...args, `--options=${options}`])
  const after = await clusterState(folder)
  // A pg_ctl whose runtime was killed may have been faster than ours: then the server runs, which is all we want.
  if (result.code !== 0 && after.kind !== 'running') throw await failure('pg_ctl start', result, folder)
  return after
}

/** `fast` ends sessions and writes a checkpoint; `immediate` is a crash that the next start recovers from. */
export async function stopServer(
  folder: EmbeddedFolder,
  binaries: Binaries,
  mode: 'fast' | 'immediate',
): Promise<void> {
  const before = await clusterState(folder)
  if (before.kind !== 'running') return
  const result = await control(folder, binaries, [
    'stop',
    '--wait',
    '--silent',
    `--timeout=${STOP_SECONDS_MAX}`,
    '-m',
    mode,
  ])
  if ((await clusterState(folder)).kind === 'running') throw await failure('pg_ctl stop', result, folder)
  if (before.socketFolder !== undefined) await removeSocketFolder(before.socketFolder)
}

function control(folder: EmbeddedFolder, binaries: Binaries, args: readonly string[]): Promise<CommandResult> {
  const place = { binaries, user: folder.user, cwd: folder.cluster }
  return runCommand('pg_ctl', [...args, '--pgdata', directoryName(folder.cluster, folder)], place)
}

/** A file in `home`, as a program that works in the cluster can name it. */
function fileName(path: string, folder: EmbeddedFolder): string {
  return folder.reachable ? path : join('..', basename(path))
}

function directoryName(path: string, folder: EmbeddedFolder): string {
  return folder.reachable ? path : '/proc/self/cwd'
}

async function clearCrashed(folder: EmbeddedFolder, socketFolder: string | undefined, pause: Pause): Promise<void> {
  if (process.platform !== 'linux') return
  await clearOrphans(folder, pause)
  // Postgres takes a pid file for stale only when its pid is free. It is not when it was given to another program, and
  // not while the dead server is a zombie, which in a container without an init process is for ever.
  await rm(join(folder.cluster, 'postmaster.pid'), { force: true })
  if (socketFolder !== undefined) await rm(join(socketFolder, `.s.PGSQL.${SOCKET_PORT}.lock`), { force: true })
}

/**
 * The processes of a server outlive its postmaster for a moment (a busy one for longer), and no new server may start
 * beside them. Killing them is safe: the new server recovers from the log in any case.
 */
async function clearOrphans(folder: EmbeddedFolder, pause: Pause): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += ORPHAN_POLL_MS) {
    const orphans = await serverProcesses(folder)
    if (orphans.length === 0) return
    if (waitedMs >= ORPHAN_WAIT_MS_MAX) for (const pid of orphans) killHard(pid)
    await pause(ORPHAN_POLL_MS)
  }
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error
  }
}

async function failure(what: string, result: CommandResult, folder: EmbeddedFolder): Promise<RuntimeError> {
  const log = (await readOptional(folder.log))?.trimEnd().split('\n').slice(-LOG_LINES).join('\n') ?? ''
  return new RuntimeError(
    'EMBEDDED_START_FAILED',
    `${what} failed with ${result.code ?? 'a signal'} on ${folder.cluster}. Look into ${folder.log}.` +
      `\n${result.output}\n${log}`.trimEnd(),
    { detail: { path: folder.cluster, log: folder.log } },
  )
}

async function readOptional(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined
    throw error
  })
}
