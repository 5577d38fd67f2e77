/**
 * The embedded Postgres of a data folder, as one runtime sees it: it starts the server or attaches to the one that
 * runs, counts as a user of it, learns when it goes down, brings it up again, and stops it when it was the last user.
 *
 * Invariants
 * - Bringing up and taking down happen under the folder's lock, and a runtime counts before it lets go of that lock: no
 *   server is stopped under a runtime that was just told it runs.
 * - The server is nobody's child. It outlives a killed runtime and is found by the next one, or by `stopEmbedded`.
 * - Refused are only files of another major version and a server that does not let us in.
 */
import { readFile } from 'node:fs/promises'
import { RuntimeError } from '../../../shared/error.ts'
import { type Clock, realClock } from '../../clock.ts'
import { type CrashPoints, NO_CRASH } from '../../crash-point.ts'
import { type Binaries, findBinaries } from './binary.ts'
import { checkVersion, clusterState, createCluster, EMBEDDED_ROLE, startServer, stopServer } from './cluster.ts'
import { type EmbeddedFolder, errorCode, findFolder, openFolder } from './folder.ts'
import { withLock } from './lock.ts'
import { clockPause, type Pause } from './pause.ts'
import { countSessions, type EmbeddedSession, foreignServer, openSession } from './session.ts'
import { SOCKET_PORT } from './socket.ts'

/** Options for postgres.js. The host is the folder of the unix socket. */
export type EmbeddedConnection = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

export type EmbeddedPostgres = {
  /** How to connect. Read it again after a restart: the socket folder is kept where possible. */
  readonly connection: EmbeddedConnection
  /** Version of the programs, e.g. 18.4.0-beta.17. */
  readonly version: string
  readonly dataDir: string
  readonly logFile: string
  /** Brings the server up if it is down. Calls at once share one attempt.
   *  @throws EMBEDDED_START_FAILED  it does not come up; the message quotes its log */
  ensureRunning(): Promise<'running' | 'restarted'>
  /** Calls `listener` each time the server was lost. Returns the way to end that. */
  onDown(listener: () => void): () => void
  /** Stops counting as a user; the last one stops the server. Safe to call twice. */
  release(): Promise<'stopped' | 'left-running'>
}

export type EmbeddedOptions = {
  readonly dataDir: string
  /** Waits; real time by default. */
  readonly clock?: Clock
  /** Ends the waiting of a start. */
  readonly signal?: AbortSignal
  /** `embedded:started`: the server runs, and neither its database nor this runtime's session exists yet. */
  readonly crash?: CrashPoints
  /** Other server programs than those of the npm package, for tests against an older server. */
  readonly binaries?: Binaries
}

export const EMBEDDED_DATABASE = 'vivarium'

/** Milliseconds a server may take to answer while it starts, stops, or has no connection to spare. */
const ANSWER_WAIT_MS_MAX = 60_000
const ANSWER_POLL_MS = 50
/** Refused connections in a row until the socket counts as gone: a server that is just dying refuses too. */
const REFUSALS_MAX = 10
/** Starts in a row until the failure is reported; the second repairs what went away during the first. */
const START_TRIES = 3

type Place = {
  readonly folder: EmbeddedFolder
  readonly binaries: Binaries
  readonly pause: Pause
  readonly crash: CrashPoints
  readonly lost: () => void
}
type Attached = { readonly session: EmbeddedSession; readonly connection: EmbeddedConnection; readonly pid: number }

/** Starts or joins the server of `dataDir`, creating it at the first time.
 *  @throws EMBEDDED_UNSUPPORTED_PLATFORM EMBEDDED_UNREACHABLE_FOLDER EMBEDDED_VERSION_MISMATCH
 *          EMBEDDED_START_FAILED EMBEDDED_FOLDER_LOCKED */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const clock = options.clock ?? realClock()
  const pause = clockPause(clock)
  const starting = clockPause(clock, options.signal)
  const folder = await openFolder(options.dataDir)
  const binaries = options.binaries ?? (await findBinaries(folder.user))
  const listeners = new Set<() => void>()
  const lost = () => {
    for (const listener of listeners) listener()
  }
  const place: Place = { folder, binaries, pause, crash: options.crash ?? NO_CRASH, lost }
  const attached = await withLock(folder.lock, starting, () => bringUp({ ...place, pause: starting }))
  return supervise(place, attached, { dataDir: options.dataDir, listeners })
}

/** Stops the server of a folder that no runtime uses; with `force` also one that is used.
 *  @throws EMBEDDED_FOLDER_LOCKED  runtimes use it (and no force), or it does not let us in */
export async function stopEmbedded(
  dataDir: string,
  options: { force?: boolean; clock?: Clock; binaries?: Binaries } = {},
): Promise<'stopped' | 'not-running'> {
  const folder = await findFolder(dataDir)
  if (folder === undefined) return 'not-running'
  const binaries = options.binaries ?? (await findBinaries(folder.user))
  return withLock(folder.lock, clockPause(options.clock ?? realClock()), async () => {
    const state = await clusterState(folder)
    if (state.kind !== 'running') return 'not-running'
    const users = options.force === true ? 0 : await countUsers(folder)
    if (users > 0) throw inUse(folder, users)
    await stopServer(folder, binaries, 'fast')
    return 'stopped'
  })
}

function supervise(
  place: Place,
  first: Attached,
  options: { dataDir: string; listeners: Set<() => void> },
): EmbeddedPostgres {
  const { folder, binaries, pause } = place
  const { listeners } = options
  let attached = first
  let ensuring: Promise<'running' | 'restarted'> | undefined
  let released: Promise<'stopped' | 'left-running'> | undefined

  const ensure = async (): Promise<'running' | 'restarted'> => {
    const before = attached
    const state = await clusterState(folder)
    // A session may answer for a moment after its postmaster died, so both are asked.
    const same = state.kind === 'running' && state.pid === before.pid
    if (same && (await before.session.answers())) return 'running'
    await before.session.close()
    attached = await withLock(folder.lock, pause, () => bringUp(place))
    return attached.pid === before.pid ? 'running' : 'restarted'
  }
  const release = async (): Promise<'stopped' | 'left-running'> => {
    listeners.clear()
    await ensuring?.catch(() => undefined)
    return withLock(folder.lock, pause, () => leave(place, attached))
  }
  return {
    get connection() {
      return attached.connection
    },
    version: binaries.version,
    dataDir: options.dataDir,
    logFile: folder.log,
    ensureRunning() {
      if (released !== undefined) throw new RuntimeError('RUNTIME_STOPPED', 'The embedded Postgres was released.')
      ensuring ??= ensure().finally(() => {
        ensuring = undefined
      })
      return ensuring
    },
    onDown(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    release() {
      released ??= release()
      return released
    },
  }
}

/** Under the lock. Ends with a server that runs and a session that counts on it. */
async function bringUp(place: Place): Promise<Attached> {
  const { folder, binaries, pause, crash } = place
  let starts = 0
  let refusals = 0
  for (let waitedMs = 0; ; ) {
    const state = await clusterState(folder)
    if (state.kind !== 'running') {
      if (starts++ >= START_TRIES) throw goneAgain(folder)
      await checkVersion(folder, binaries)
      if (state.kind === 'absent') await createCluster(folder, binaries)
      await startServer(folder, binaries, pause)
      crash.hit('embedded:started')
      continue
    }
    if (state.socketFolder === undefined) throw foreignServer('it has no unix socket', folder.home, state.pid)
    try {
      return await attach(place, state.pid, state.socketFolder)
    } catch (error) {
      const verdict = judge(error)
      const vanished = verdict === 'refused' && ++refusals >= REFUSALS_MAX
      if (verdict === 'foreign' || (vanished && !state.certain)) throw foreignServer(error, folder.home, state.pid)
      // The server cannot make its socket again, and without it nobody can use it.
      if (vanished) await stopServer(folder, binaries, 'fast')
      else if (waitedMs >= ANSWER_WAIT_MS_MAX) throw error
      await pause(ANSWER_POLL_MS)
      waitedMs += ANSWER_POLL_MS
    }
  }
}

async function attach(place: Place, pid: number, socketFolder: string): Promise<Attached> {
  const connection = await connectionTo(place.folder, socketFolder)
  return { session: await openSession(connection, place.lost), connection, pid }
}

/** Under the lock. A server that is down has no users, so there is nothing to leave. */
async function leave({ folder, binaries }: Place, attached: Attached): Promise<'stopped' | 'left-running'> {
  // A runtime that lost its session does not count, but another one may have brought the server up again.
  const answers = await attached.session.answers()
  const alone = answers ? await attached.session.leave() : (await countUsers(folder)) === 0
  await attached.session.close()
  if (!alone) return 'left-running'
  await stopServer(folder, binaries, 'fast')
  return 'stopped'
}

/** Runtimes with a session on the server of the folder. A server that surely is ours and refuses to listen has none. */
async function countUsers(folder: EmbeddedFolder): Promise<number> {
  const state = await clusterState(folder)
  if (state.kind !== 'running' || state.socketFolder === undefined) return 0
  try {
    return await countSessions(await connectionTo(folder, state.socketFolder))
  } catch (error) {
    if (judge(error) === 'refused' && state.certain) return 0
    throw foreignServer(error, folder.home, state.pid)
  }
}

async function connectionTo(folder: EmbeddedFolder, socketFolder: string): Promise<EmbeddedConnection> {
  const password = await readFile(folder.secret, 'utf8')
  return { host: socketFolder, port: SOCKET_PORT, user: EMBEDDED_ROLE, password, database: EMBEDDED_DATABASE }
}

/** What a failed connection to a live server means: it starts or stops (`busy`), nobody listens, or it is not ours. */
function judge(error: unknown): 'busy' | 'refused' | 'foreign' {
  const code = errorCode(error) ?? ''
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return 'refused'
  // 28: invalid authorization. Everything else passes: starting up, shutting down, too many connections, a cut line.
  return code.startsWith('28') ? 'foreign' : 'busy'
}

function inUse(folder: EmbeddedFolder, users: number): RuntimeError {
  return new RuntimeError(
    'EMBEDDED_FOLDER_LOCKED',
    `${users} ${users === 1 ? 'runtime uses' : 'runtimes use'} the server on ${folder.home}. Stop them first.`,
    { detail: { path: folder.home, users } },
  )
}

function goneAgain(folder: EmbeddedFolder): RuntimeError {
  return new RuntimeError(
    'EMBEDDED_START_FAILED',
    `The server on ${folder.cluster} ended ${START_TRIES} times right after its start. Look into ${folder.log}.`,
    { detail: { path: folder.cluster, log: folder.log } },
  )
}
