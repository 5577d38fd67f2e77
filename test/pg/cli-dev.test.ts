import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { paths } from '../../server/paths.ts'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { startViv, viv, type Watched, watched } from '../support/viv.ts'

const INDEX = pathToFileURL(join(paths.root, 'server', 'index.ts')).href
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
const start = () => {
  dev = watched(startViv(['dev', join(folder, 'main.ts'), ...data(), '--port', '0', '--json']))
  return dev.line()
}

/** Says a word of another file, counts how often, and has an operation that waits for its step or for a message. */
const MAIN = `
import { agent, pool } from '${INDEX}'
import { word } from './words.ts'
export const greeter = agent('greeter', {
  state: () => ({ said: 0 }),
  on: {
    greet(ctx) {
      ctx.state.said += 1
      return word + ' ' + ctx.state.said
    },
    async slow(ctx) {
      const before = word
      await ctx.step('slow', () => new Promise((done) => setTimeout(done, 4_000)))
      return before + ' then ' + word
    },
    async wait(ctx) {
      const step = await ctx.step('first', () => word)
      await ctx.receive('go')
      ctx.state.said += 100
      return step + ' then ' + word
    },
    go() {},
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
  await words('good day')
  const second = await dev.line()
  expect(second).toMatchObject({
    kind: 'serving',
    generation: 2,
    url: first['url'],
    because: [expect.stringContaining('words.ts')],
  })
  expect(await call('greet')).toBe('good day 2')
  expect(await slow).toMatchObject({ code: 0, out: '"hello then hello"\n' })
  await viv(['send', 'greeter/w', 'go', ...data()])
  await expect
    .poll(async () => JSON.parse((await viv(['inspect', 'greeter/w', 'state', ...data(), '--json'])).out).value, {
      timeout: 10_000,
    })
    .toEqual({ said: 100 })
}, 90_000)

test('[H23] code that does not load changes nothing; what mends it is the next generation', async () => {
  await write('main.ts', MAIN)
  await words('hello')
  const first = await start()
  await write('words.ts', 'export const word = \n')
  expect(await dev.line()).toEqual({ kind: 'failed', generation: 2, running: true })
  expect(dev.errors()).toContain('words.ts')
  expect(await call('greet')).toBe('hello 1')
  // Not loaded by what runs, but by what failed.
  await write('main.ts', MAIN.replace("'./words.ts'", "'./more.ts'"))
  expect(await dev.line()).toEqual({ kind: 'failed', generation: 3, running: true })
  await write('more.ts', "export const word = 'mended'\n")
  await write('main.ts', MAIN.replace("'./words.ts'", "'./more.ts' "))
  expect(await dev.line()).toMatchObject({ kind: 'serving', generation: 4, url: first['url'] })
  expect(await call('greet')).toBe('mended 2')
}, 90_000)

test('[H23] a first generation that fails, or hangs, waits for a save; the end ends all of it', async () => {
  await words('hello')
  await write('main.ts', 'await new Promise(() => setInterval(() => {}, 1_000))\n')
  const first = start()
  // It hangs where nothing tells of it.
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  await write('main.ts', `throw new Error('not yet')\n`)
  expect(await first).toEqual({ kind: 'failed', generation: 2, running: false })
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
