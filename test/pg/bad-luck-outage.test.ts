/**
 * The database goes away under load and comes back: stopped for ten seconds, killed, out of disk. What was answered
 * before, meanwhile and after is there once, and work goes on by itself.
 */
import { execFile } from 'node:child_process'
import { rmSync, statfsSync } from 'node:fs'
import { mkdir, mkdtemp, open, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, expect, test } from 'vitest'
import { createRuntime, type Runtime, type RuntimeOptions } from 'vivarium'
import { type EmbeddedPostgres, startEmbedded, stopEmbedded } from '../../server/store/embedded/embedded.ts'
import type { EventKind } from '../../shared/event.ts'
import { serverPid, testFolders } from '../support/embedded-folder.ts'
import { PostgresProxy } from '../support/postgres-proxy.ts'
import { TallyLoad, tallies } from '../support/tally.ts'

/** Ms of the outage the issue names. */
const OUTAGE_MS = 10_000
/** Ms. Ten seconds of outage, a start of the server before and after. */
const SLOW_MS = 90_000
/** Bytes: a cluster with its write-ahead log, and little more. */
const SMALL_DISK_BYTES = 200 * 1024 * 1024

const run = promisify(execFile)
const folders = testFolders()
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  expect(await folders.clear(), 'servers left running').toEqual([])
})

async function start(options: RuntimeOptions): Promise<Runtime> {
  const runtime = await createRuntime({ root: tallies, ...options })
  cleanups.push(() => runtime.stop())
  return runtime
}

/** Resolves at the next event of the kind. */
function next(runtime: Runtime, kind: EventKind): Promise<void> {
  return new Promise((resolve) => {
    const end = runtime.on([kind], () => {
      end()
      resolve()
    })
  })
}

test('[B4] a database that is gone for ten seconds under load costs time and nothing else', {
  timeout: SLOW_MS,
}, async () => {
  const dataDir = await folders.make()
  let server: EmbeddedPostgres = await startEmbedded({ dataDir })
  cleanups.push(() => server.release())
  const proxy = await PostgresProxy.make(() => server.connection)
  cleanups.push(() => proxy.cut())
  await proxy.open()
  const runtime = await start({ databaseUrl: proxy.url })
  const load = new TallyLoad(runtime)
  load.begin()
  await load.progress(100)
  const down = next(runtime, 'store:down')
  const up = next(runtime, 'store:up')
  await stopEmbedded(dataDir, { force: true })
  await down
  await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS))
  await server.release()
  server = await startEmbedded({ dataDir })
  await up
  await load.progress(100)
  await load.end()
  expect([...load.refused]).toEqual([])
  expect(await load.wrong()).toEqual([])
})

test('[B5] a postmaster killed under load is brought up again, and nothing is lost', { timeout: SLOW_MS }, async () => {
  const data = await folders.make()
  const runtime = await start({ data })
  const load = new TallyLoad(runtime)
  load.begin()
  for (let kill = 0; kill < 3; kill++) {
    await load.progress(100)
    const up = next(runtime, 'store:up')
    process.kill(await serverPid(data), 'SIGKILL')
    await up
  }
  await load.progress(100)
  await load.end()
  expect([...load.refused]).toEqual([])
  expect(await load.wrong()).toEqual([])
})

/** A disk of its own, as small as given; undefined where this user may not mount one. */
async function smallDisk(bytes: number): Promise<{ path: string; unmount(): Promise<void> } | undefined> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'vivarium-disk-')))
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=755`, 'vivarium-test', path]).then(
    () => true,
    () => false,
  )
  if (!mounted) {
    await rm(path, { recursive: true })
    return undefined
  }
  return {
    path,
    async unmount() {
      await run('umount', [path])
      await rm(path, { recursive: true })
    },
  }
}

const disk = await smallDisk(SMALL_DISK_BYTES)

afterAll(() => disk?.unmount())

// Only who may mount can have a disk that is full; everyone else runs the tests without this one.
if (disk !== undefined) {
  test('[B6] a full disk stops the work; freed, work goes on by itself', { timeout: SLOW_MS }, async () => {
    const data = join(disk.path, 'data')
    const ballast = join(disk.path, 'ballast')
    await mkdir(data)
    cleanups.push(() => stopEmbedded(data, { force: true }))
    const runtime = await start({ data })
    const load = new TallyLoad(runtime, { fill: 20_000 })
    load.begin()
    await load.progress(50)
    const down = next(runtime, 'store:down')
    const up = next(runtime, 'store:up')
    await fill(ballast)
    await down
    const answered = load.answered.size
    rmSync(ballast)
    await up
    await load.progress(50)
    await load.end()
    expect(load.answered.size).toBeGreaterThan(answered)
    expect([...load.refused]).toEqual([])
    expect(await load.wrong()).toEqual([])
  })
}

/** Takes all the space there is. */
async function fill(file: string): Promise<void> {
  const handle = await open(file, 'w')
  const block = Buffer.alloc(1024 * 1024, 1)
  try {
    for (;;) {
      const { bavail, bsize } = statfsSync(file)
      if (bavail === 0) return
      await handle.write(block.subarray(0, Math.min(block.length, bavail * bsize)))
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    await handle.close()
  }
}
