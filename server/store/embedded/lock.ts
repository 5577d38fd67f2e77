/**
 * A lock file that survives kill -9: it names its holder, and a holder that is gone loses it. Held only while a server
 * is brought up or taken down, never while it runs.
 *
 * Invariants
 * - The file appears with its whole content or not at all (written aside, then `link`ed, which fails if it exists).
 * - Only its holder or the one process that holds `<file>.<token>` removes it. That second lock is taken by the same
 *   function, so a taker-over that dies half way is taken over in turn. Without it two takers could both see the dead
 *   holder, and the slower one would remove the fresh lock of the faster.
 */
import { randomUUID } from 'node:crypto'
import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { RuntimeError } from '../../../shared/error.ts'
import { errorCode } from './folder.ts'
import { type Liveness, liveness, ownIdentity, type ProcessIdentity } from './identity.ts'
import type { Pause } from './pause.ts'

type Holder = ProcessIdentity & { readonly token: string }

/** Milliseconds. A start takes well under a second; crash recovery of a large folder may take longer. */
const LOCK_WAIT_MS_MAX = 60_000
/** Milliseconds between looks; short against a start of about 100 ms. */
const LOCK_POLL_MS = 20

export async function withLock<T>(path: string, pause: Pause, work: () => Promise<T>): Promise<T> {
  const unlock = await acquireLock(path, pause)
  try {
    return await work()
  } finally {
    await unlock()
  }
}

async function acquireLock(path: string, pause: Pause): Promise<() => Promise<void>> {
  const own: Holder = { ...(await ownIdentity()), token: randomUUID() }
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    if (await create(path, own)) return () => rm(path, { force: true })
    const holder = await readHolder(path)
    if (holder === undefined) continue
    const state = await liveness(holder)
    if (state === 'gone') {
      await takeFrom(path, holder, pause)
      continue
    }
    if (waitedMs >= LOCK_WAIT_MS_MAX) throw lockedError(path, holder, state)
    await pause(LOCK_POLL_MS)
  }
}

async function create(path: string, own: Holder): Promise<boolean> {
  const aside = `${path}.${own.token}.new`
  await writeFile(aside, JSON.stringify(own), { mode: 0o600 })
  try {
    await link(aside, path)
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  } finally {
    await rm(aside, { force: true })
  }
}

/** Removes the lock of a dead holder, if it is still that holder's. */
async function takeFrom(path: string, dead: Holder, pause: Pause): Promise<void> {
  await withLock(`${path}.${dead.token}`, pause, async () => {
    const current = await readHolder(path)
    if (current?.token === dead.token) await rm(path, { force: true })
  })
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    // Written by this module only, whole (see the first invariant).
    return JSON.parse(await readFile(path, 'utf8')) as Holder
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function lockedError(path: string, holder: Holder, state: Liveness): RuntimeError {
  const who = `process ${holder.pid} on ${holder.host}`
  const what =
    state === 'foreign'
      ? `It runs in another container or on another machine. If it is surely gone, delete ${path}.`
      : 'Wait for it, or end it.'
  return new RuntimeError('EMBEDDED_FOLDER_LOCKED', `${path} is held by ${who} for over 60 s. ${what}`, {
    detail: { path, pid: holder.pid, host: holder.host },
  })
}
