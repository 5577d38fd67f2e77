import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { type Listening, type ListenOptions, listen } from '../../server/http/listen.ts'
import { RuntimeError } from '../../shared/error.ts'
import { toyFeed } from '../support/feed-viewer.ts'
import { ToyWorld } from '../support/toy-inspect.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const open: Listening[] = []
const folders: string[] = []

afterEach(async () => {
  for (const each of open.splice(0)) await each.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function start(options: Partial<ListenOptions> = {}): Promise<Listening> {
  const world = new ToyWorld()
  const { feed } = toyFeed()
  const listening = await listen({
    inspect: world,
    control: world,
    web: false,
    port: 0,
    version: '1',
    feed,
    ...options,
  })
  open.push(listening)
  return listening
}

async function refusal(promise: Promise<unknown>): Promise<RuntimeError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof RuntimeError)) throw new Error(`Expected a RuntimeError, got ${error}`)
  return error
}

test('[H12] serves on loopback by default', async () => {
  const { url } = await start()
  const response = await fetch(`${url}/api/v1/healthz`)
  expect(await response.json()).toEqual({ status: 'ok' })
})

test.each(['0.0.0.0', '::', '192.168.1.9', 'example.org'])(
  '[H12] refuses to bind to %s without credentials',
  async (host) => {
    expect((await refusal(start({ host }))).code).toBe('BIND_REFUSED')
  },
)

test('[H12] binds to all addresses when callers are named', async () => {
  const { url } = await start({ host: '0.0.0.0', tokens: [{ token: 't', name: 'ana', role: 'viewer' }] })
  expect((await fetch(`${url}/api/v1/healthz`)).status).toBe(200)
})

test('[H13] a busy port is refused with the program that holds it', async () => {
  const { port } = await start()
  const error = await refusal(start({ port }))
  expect(error.code).toBe('PORT_IN_USE')
  expect(error.message).toContain(`Port ${port}`)
  if (process.platform === 'linux') expect(error.message).toContain(`process ${process.pid} (`)
})

test('[H14] server.json tells local tools where the server is, and goes with it', async () => {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-listen-'))
  folders.push(data)
  const { url, close } = await start({ data })
  const file = join(data, 'server.json')
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
    url,
    pid: process.pid,
    startedAt: expect.any(Number),
    version: '1',
  })
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  await close()
  expect(existsSync(file)).toBe(false)
})

test('[H14] a second server on the folder leaves the file alone and takes it over when the first is gone', async () => {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-listen-'))
  folders.push(data)
  const file = join(data, 'server.json')
  const named = async (): Promise<string> => JSON.parse(await readFile(file, 'utf8')).url
  const clock = new VirtualClock()
  const first = await start({ data })
  const second = await start({ data, clock })
  expect(await named()).toBe(first.url)
  const third = await start({ data })
  await third.close()
  expect(await named()).toBe(first.url)
  await first.close()
  await clock.advance(10_000)
  await expect.poll(named).toBe(second.url)
  await second.close()
  expect(existsSync(file)).toBe(false)
})

test('[H14] a folder that goes away is told once, and stops nothing', async () => {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-listen-'))
  const clock = new VirtualClock()
  const told: unknown[] = []
  const { url } = await start({ data, clock, report: (error) => told.push(error) })
  await rm(data, { recursive: true })
  await writeFile(data, 'no folder any more')
  for (let i = 0; i < 3; i++) {
    await clock.advance(10_000)
    await expect.poll(() => told.length).toBe(1)
  }
  expect((await fetch(`${url}/api/v1/healthz`)).ok).toBe(true)
  await rm(data)
})

test('[H14] a file that a killed server left behind is taken over at once', async () => {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-listen-'))
  folders.push(data)
  const { port, close } = await start()
  await close()
  const left = { url: `http://127.0.0.1:${port}`, pid: process.pid, startedAt: 1, version: '1' }
  await writeFile(join(data, 'server.json'), JSON.stringify(left))
  const { url } = await start({ data })
  expect(JSON.parse(await readFile(join(data, 'server.json'), 'utf8')).url).toBe(url)
})

test('[H12] an upgrade that nobody takes is answered, not left hanging', async () => {
  const { url } = await start()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/nowhere`, 'vivarium.v1')
  await new Promise((resolve) => socket.addEventListener('error', resolve))
})

test('[F13] the feed is served beside it, and closing does not wait for viewers', async () => {
  const { url, close } = await start()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/v1/feed`, 'vivarium.v1')
  await new Promise((resolve) => socket.addEventListener('message', resolve))
  const closed = new Promise((resolve) => socket.addEventListener('close', resolve))
  await close()
  await closed
})
