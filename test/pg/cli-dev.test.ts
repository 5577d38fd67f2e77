import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { paths } from '../../server/paths.ts'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { startViv, viv, type Watched, watched } from '../support/viv.ts'

const INDEX = pathToFileURL(join(paths.root, 'server', 'index.ts')).href
const FAILED = 'MODULE_LOAD_FAILED'
let folder = ''
let dev: Watched

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'vivarium-dev-')))
})

afterEach(async () => {
  await dev?.end()
  await stopEmbedded(join(folder, 'data'), { force: true })
  await rm(folder, { recursive: true, force: true })
})

const data = () => ['--data', join(folder, 'data')]
const write = (name: string, text: string) => writeFile(join(folder, name), text)
const words = (word: string) => write('words.ts', `export const word = '${word}'\n`)
const call = async (op: string) => JSON.parse((await viv(['call', 'greeter/g', op, ...data()])).out)
const ps = async (id: string) => (await viv(['ps', id, ...data()])).out
const heard = async (id: string) =>
  JSON.parse((await viv(['inspect', id, 'state', ...data(), '--json'])).out).value.heard
const open = (...args: string[]) => {
  dev = watched(startViv(['dev', join(folder, 'main.ts'), ...data(), ...args, '--json']))
}
const start = () => {
  open('--port', '0')
  return dev.line()
}

/** Says a word of another file, counts how often, and has operations that wait for a step and for a message. */
const MAIN = `
import { agent, computeModule, pool } from '${INDEX}'
import { word } from './words.ts'
const far = computeModule(new URL('./far.ts', import.meta.url))
export const greeter = agent('greeter', {
  state: () => ({ said: 0, heard: '' }),
  on: {
    greet(ctx) {
      ctx.state.said += 1
      return word + ' ' + ctx.state.said
    },
    async slow(ctx) {
      const before = word
      await ctx.step('slow', () => new Promise((done) => setTimeout(done, 3_000)))
      return before + ' then ' + word
    },
    async wait(ctx) {
      const step = await ctx.step('first', () => word)
      await ctx.receive('go')
      ctx.state.heard = step + ' then ' + word
    },
    go() {},
    far: (ctx) => ctx.task(far, 'far', []).result(),
  },
})
export default pool(greeter)
`

test('[H22] a save is the next generation: same state, same address; turns in hand keep their code', async () => {
  await words('hello')
  await write('main.ts', MAIN)
  const first = await start()
  expect(first).toMatchObject({ kind: 'serving', generation: 1, because: [] })
  expect(await call('greet')).toBe('hello 1')
  const slow = viv(['call', 'greeter/s', 'slow', ...data()])
  await viv(['send', 'greeter/w', 'wait', ...data()])
  await expect.poll(() => ps('greeter/s'), { timeout: 10_000 }).toContain('step slow')
  await words('good day')
  const second = await dev.line()
  const because = [expect.stringContaining('words.ts')]
  expect(second).toMatchObject({ kind: 'serving', generation: 2, url: first['url'], because })
  expect(await call('greet')).toBe('good day 2')
  expect(await slow).toMatchObject({ code: 0, out: '"hello then hello"\n' })
  await viv(['send', 'greeter/w', 'go', ...data()])
  await expect.poll(() => heard('greeter/w'), { timeout: 10_000 }).toBe('hello then good day')
}, 90_000)

test('[H23] code that does not load changes nothing; what mends it is the next generation', async () => {
  await write('main.ts', MAIN)
  await words('hello')
  const first = await start()
  await write('words.ts', 'export const word = \n')
  const failed = { kind: 'failed', generation: 2, running: true, code: FAILED }
  expect(await dev.line()).toEqual({ ...failed, message: expect.stringMatching(/words\.ts:1\n/) })
  expect(await call('greet')).toBe('hello 1')
  // A file that only what failed has asked for, and that is not there.
  await write('words.ts', "export { word } from './more.ts'\n")
  expect(await dev.line()).toMatchObject({ ...{ kind: 'failed', generation: 3, running: true }, code: FAILED })
  await write('more.ts', 'export const word = \n')
  expect(await dev.line()).toMatchObject({ kind: 'failed', generation: 4, message: expect.stringContaining('more.ts') })
  await write('more.ts', "export const word = 'mended'\n")
  expect(await dev.line()).toMatchObject({ kind: 'serving', generation: 5, url: first['url'] })
  expect(await call('greet')).toBe('mended 2')
}, 90_000)

test('[H23] a first generation that fails, or hangs, waits for a save; the end ends all of it', async () => {
  await words('hello')
  await write('main.ts', 'await new Promise(() => setInterval(() => {}, 1_000))\n')
  open('--port', '0')
  // It hangs where nothing tells of it.
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  // What user code left running does not hold the process that failed.
  await write('main.ts', `setInterval(() => {}, 1_000)\nthrow new Error('not yet')\n`)
  const failed = { kind: 'failed', generation: 2, running: false, code: FAILED }
  expect(await dev.line()).toEqual({ ...failed, message: expect.stringContaining('not yet') })
  await write('main.ts', MAIN)
  expect(await dev.line()).toMatchObject({ kind: 'serving', generation: 3 })
  // It is stopped from elsewhere; the next save starts it again.
  await viv(['stop', ...data()])
  expect(await dev.line()).toEqual({ kind: 'ended', generation: 3 })
  await words('again')
  expect(await dev.line()).toMatchObject({ kind: 'serving', generation: 4 })
  expect(await call('greet')).toBe('again 1')
  expect(await dev.end()).toBe(0)
  expect(await viv(['stop', ...data()])).toMatchObject({ code: 3 })
}, 90_000)

test('[H22] files that threads compute with are watched too', async () => {
  await words('hello')
  await write('main.ts', MAIN)
  await write('far.ts', `export const far = () => 'far'\n`)
  await start()
  expect(await call('far')).toBe('far')
  await write('far.ts', `export const far = () => 'farther'\n`)
  const because = [expect.stringContaining('far.ts')]
  expect(await dev.line()).toMatchObject({ kind: 'serving', generation: 2, because })
  expect(await call('far')).toBe('farther')
}, 90_000)

test('[H23] an address that cannot be taken ends it, as it does viv start', async () => {
  await words('hello')
  await write('main.ts', MAIN)
  open('--host', '0.0.0.0')
  expect(await dev.exit).toBe(1)
  expect(dev.errors()).toContain('BIND_REFUSED')
}, 90_000)
