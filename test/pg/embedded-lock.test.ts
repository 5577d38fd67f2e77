/** The lock file of a start: exclusive, left by the dead, never taken from a holder that may live. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ownIdentity } from '../../server/store/embedded/identity.ts'
import { withLock } from '../../server/store/embedded/lock.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-lock-'))
  path = join(folder, 'lock')
})

afterEach(async () => {
  expect(await readdir(folder)).toEqual([])
  await rm(folder, { recursive: true })
})

/** Gives the others their turn and passes no time. */
const pause = () => new Promise<void>((resolve) => setImmediate(resolve))

test('[D38] one holder at a time', async () => {
  let inside = 0
  let most = 0
  const work = async () => {
    inside += 1
    most = Math.max(most, inside)
    await pause()
    inside -= 1
  }
  await Promise.all(Array.from({ length: 8 }, () => withLock(path, pause, work)))
  expect(most).toBe(1)
})

test('[D38] a dead holder loses the lock, and takers that come at once still enter one by one', async () => {
  const own = await ownIdentity()
  // The same pid with another start time: what is left when a pid was given out again.
  await writeFile(path, JSON.stringify({ ...own, startedAt: '1', token: 'dead' }))
  // And a taker-over that died half way.
  await writeFile(`${path}.dead`, JSON.stringify({ ...own, startedAt: '2', token: 'deader' }))
  let inside = 0
  let most = 0
  const work = async () => {
    inside += 1
    most = Math.max(most, inside)
    await pause()
    inside -= 1
  }
  await Promise.all(Array.from({ length: 8 }, () => withLock(path, pause, work)))
  expect(most).toBe(1)
})

test('[D38] a holder that was killed loses the lock', async () => {
  const child = fork(new URL('../support/lock-child.ts', import.meta.url), [path], { execArgv: [] })
  await once(child, 'message')
  const holder: unknown = JSON.parse(await readFile(path, 'utf8'))
  expect(holder).toMatchObject({ pid: child.pid })
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
  expect(await withLock(path, pause, () => Promise.resolve('entered'))).toBe('entered')
})

test('[D38] a holder in another container or on another machine keeps it, and the refusal says where', async () => {
  const own = await ownIdentity()
  for (const place of [{ namespace: 'another' }, { boot: 'another', host: 'elsewhere' }]) {
    await writeFile(path, JSON.stringify({ ...own, ...place, token: 'foreign' }))
    const refusal = withLock(path, pause, () => Promise.resolve())
    await expect(refusal).rejects.toMatchObject({ code: 'EMBEDDED_FOLDER_LOCKED', detail: { path, pid: own.pid } })
    await rm(path)
  }
})

test('[D38] a reboot frees the lock', async () => {
  const own = await ownIdentity()
  await writeFile(path, JSON.stringify({ ...own, boot: 'the one before', token: 'old' }))
  expect(await withLock(path, pause, () => Promise.resolve('entered'))).toBe('entered')
})
