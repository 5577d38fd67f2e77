/** The examples are run as a reader would run them; what they print is what they promise. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-examples-'))
})

afterAll(async () => {
  await stopEmbedded(folder, { force: true })
  await rm(folder, { recursive: true, force: true })
})

function start(name: string, ...args: string[]) {
  const path = join(root, 'examples', name)
  return spawn(process.execPath, ['--conditions=vivarium-source', path, folder, ...args], { cwd: root })
}

async function output(name: string): Promise<string> {
  const child = start(name)
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const code = await new Promise((resolve) => child.once('exit', resolve))
  expect(code, text).toBe(0)
  return text
}

test('01-hello counts on at its second run', async () => {
  expect(await output('01-hello.ts')).toContain('this is visit 1.')
  expect(await output('01-hello.ts')).toContain('this is visit 2.')
}, 60_000)

test('02-supervision ends a poisonous message as a dead letter and goes on', async () => {
  const text = await output('02-supervision.ts')
  expect(text).toContain('DEAD_LETTERED')
  expect(text).toContain('done: 2')
  expect(text).toContain('dead letters: 1')
}, 60_000)

test('03-shop checks out once', async () => {
  const text = await output('03-shop.ts')
  expect(text).toContain('cart is paid and tea has 98 left')
  expect(text).toContain('mails: 1')
}, 60_000)

test('07-durable-run is killed in the middle and finished by the next start', async () => {
  const first = start('07-durable-run.ts')
  let text = ''
  first.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  expect(await new Promise((resolve) => first.once('exit', (_code, signal) => resolve(signal))), text).toBe('SIGKILL')
  expect(text).toContain('the bank is asked')
  const rest = await output('07-durable-run.ts')
  expect(rest).not.toContain('the bank is asked')
  expect(rest).toMatch(/^tea paid as [\w-]{8}, approved by Grace\nit is shipped$/m)
}, 60_000)

test('08-trip-saga is killed while it takes a trip back, and the next start goes on', async () => {
  const first = start('08-trip-saga.ts')
  let text = ''
  first.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  expect(await new Promise((resolve) => first.once('exit', (_code, signal) => resolve(signal))), text).toBe('SIGKILL')
  expect(text).toBe('flight booked\nhotel booked\n')
  const lines = (await output('08-trip-saga.ts')).trim().split('\n')
  const back = ['mail taken back', 'hotel taken back', 'flight taken back']
  const second = ['flight booked', 'hotel booked', ...back]
  expect(lines).toEqual([
    ...back,
    't-1 ended with DEAD_LETTERED',
    ...second,
    'The operation "book" of trip/t-2 was cancelled: it will rain.',
    't-2 is new',
  ])
}, 60_000)

test('06-two-runtimes keeps two runtimes apart', async () => {
  const text = await output('06-two-runtimes.ts')
  expect(text).toContain('left: 1 right: 10')
  expect(text).toContain('right alone: 20')
}, 60_000)

test('09-compute counts, and ends what never ends', async () => {
  const text = await output('09-compute.ts')
  expect(text).toContain('78498 primes below a million')
  expect(text).toContain('refuteGoldbach took longer than 500 ms')
}, 60_000)

test('10-embeddings finds what is meant by weights of its own, and embeds nothing twice', async () => {
  const first = await output('10-embeddings.ts')
  expect(first).toMatch(/^12 products embedded$/m)
  expect(first).toMatch(/loves espresso: .*grinder .*press/)
  expect(first).toMatch(/puppy to sleep: Dog bed/)
  expect(await output('10-embeddings.ts')).toBe(first.replace('12 products', '0 products'))
}, 60_000)

test('the sample of the README runs as it is printed, and ends at Ctrl-C', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const [, sample = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  expect(sample).toContain('runtime.listen()')
  const home = join(folder, 'readme')
  await mkdir(join(home, 'node_modules'), { recursive: true })
  await symlink(root, join(home, 'node_modules', 'vivarium'))
  // The port is the only thing changed: another server may hold the default one.
  await writeFile(join(home, 'sample.ts'), sample.replace('listen()', 'listen({ port: 0 })'))
  const child = spawn(process.execPath, ['--conditions=vivarium-source', 'sample.ts'], { cwd: home })
  let text = ''
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes('http://')) child.kill('SIGINT')
  })
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  expect(await ended, text).toBe(0)
  expect(text).toMatch(/^1\n4242, charged once as \S+\nhttp:\S+\n$/)
  expect(await stopEmbedded(join(home, '.vivarium'), { force: true }), 'the database ended with the sample').toBe(
    'not-running',
  )
}, 60_000)

const HOSTS = ['04-embed-hono.ts', '05-embed-node-http.ts']
test.each(HOSTS)(
  '%s serves observer, API and feed inside a host',
  async (name) => {
    const child = start(name, '0')
    let text = ''
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        const found = /http:\S+/.exec(text)
        if (found !== null) resolve(found[0])
      })
      child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
      child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${text}`)))
    })
    const processes = await fetch(new URL('api/v1/processes', url))
    expect(processes.status).toBe(200)
    expect(await processes.text()).toContain('mailer/main')
    const page = await fetch(url)
    expect(await page.text()).toContain(`<base href="${new URL(url).pathname}"`)
    const hello = await greeting(new URL('api/v1/feed', url))
    expect(hello).toMatchObject({ t: 'hello', protocol: 'vivarium.v1' })
    child.kill('SIGTERM')
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0)
  },
  60_000,
)

function greeting(url: URL): Promise<unknown> {
  url.protocol = 'ws:'
  const socket = new WebSocket(url, ['vivarium.v1'])
  return new Promise((resolve, reject) => {
    socket.onmessage = (message) => {
      resolve(JSON.parse(String(message.data)))
      socket.close()
    }
    socket.onerror = () => reject(new Error(`no feed at ${url.href}`))
    socket.onopen = () => socket.send(JSON.stringify({ t: 'hello' }))
  })
}
