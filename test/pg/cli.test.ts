import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { firstLine, startViv, viv } from '../support/viv.ts'

const MODULE = 'examples/shop.ts'
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vivarium-viv-'))
})

afterAll(async () => {
  await stopEmbedded(folder, { force: true })
  await rm(folder, { recursive: true, force: true })
})

const data = () => ['--data', folder]

test('[H19] start serves a module, commands find it, stop drains it and leaves no file behind', async () => {
  const child = startViv(['start', MODULE, ...data(), '--port', '0', '--json'])
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const { url, pid } = JSON.parse(await firstLine(child))
  expect(pid).toBe(child.pid)
  expect((await fetch(`${url}/api/v1/readyz`)).status).toBe(200)
  expect(JSON.parse((await viv(['call', 'inventory/tea', 'reserve', '2', ...data()])).out)).toBe(2)
  expect((await viv(['ps', 'agent:inventory', ...data()])).out).toMatch(/inventory\/tea\s+idle/)
  expect(await viv(['stop', ...data()])).toMatchObject({ code: 0, out: expect.stringContaining(`process ${pid}`) })
  expect(await ended).toBe(0)
  await expect(readFile(join(folder, 'server.json'))).rejects.toThrow('ENOENT')
  expect(await viv(['stop', ...data()])).toMatchObject({ code: 3 })
}, 90_000)

test('[G2] [G8] doctor asks the server, and the tables where none runs; export and import', async () => {
  const child = startViv(['start', MODULE, ...data(), '--port', '0', '--json'])
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  await firstLine(child)
  expect(await viv(['doctor', ...data()])).toMatchObject({ code: 0, out: 'Nothing needs you.\n' })
  await viv(['call', 'inventory/tea', 'reserve', '1', ...data()])
  const exported = await viv(['export', 'inventory/tea', ...data()])
  await writeFile(join(folder, 'tea.json'), exported.out)
  const copied = await viv(['import', join(folder, 'tea.json'), '--as', 'inventory/copy', ...data()])
  expect(copied).toMatchObject({ code: 0, out: expect.stringMatching(/^inventory\/copy: imported \d+ rows/) })
  const [tea, copy] = await Promise.all(
    ['tea', 'copy'].map((key) => viv(['inspect', `inventory/${key}`, 'state', ...data()])),
  )
  expect(copy?.out).toBe(tea?.out)
  expect(await viv(['import', join(folder, 'tea.json'), ...data()])).toMatchObject({ code: 1 })
  await viv(['suspend', 'inventory/tea', ...data()])
  await viv(['send', 'inventory/tea', 'reserve', '1', ...data()])
  const living = await viv(['doctor', ...data(), '--json'])
  expect(living.code).toBe(1)
  expect(JSON.parse(living.out).findings).toMatchObject([{ kind: 'suspended', process: 'inventory/tea' }])
  await viv(['stop', ...data()])
  await ended
  const asleep = await viv(['doctor', ...data()])
  expect(asleep).toMatchObject({ code: 1, out: expect.stringContaining('viv resume inventory/tea') })
  expect(asleep.out).toContain('suspended by an operator; 1 messages wait')
  expect(await viv(['stop', ...data()])).toMatchObject({ code: 3 })
  expect(await viv(['doctor', '--url', 'http://127.0.0.1:1'])).toMatchObject({ code: 4 })
}, 90_000)

test('[H19] stop ends the database that a killed server left', async () => {
  const child = startViv(['start', MODULE, ...data(), '--port', '0', '--json'])
  await firstLine(child)
  const state = await viv(['inspect', 'inventory/tea', 'state', ...data(), '--json'])
  expect(JSON.parse(state.out)).toMatchObject({ value: { stock: 100 } })
  const killed = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await killed
  expect(await viv(['ps', ...data()])).toMatchObject({ code: 4, err: expect.stringContaining('is gone') })
  expect(await viv(['stop', ...data()])).toMatchObject({ code: 0, out: expect.stringContaining('database') })
}, 90_000)

test('[H19] a module that does not exist or does not load is named', async () => {
  expect(await viv(['start', 'nowhere.ts', ...data()])).toMatchObject({
    code: 2,
    err: expect.stringContaining('nowhere.ts'),
  })
  const broken = await viv(['start', 'package.json', ...data()])
  expect(broken).toMatchObject({ code: 1, err: expect.stringContaining('package.json') })
  // What it loads has an error: the file that has it is named, with the place.
  await writeFile(join(folder, 'words.ts'), 'export const word = \n')
  await writeFile(join(folder, 'main.ts'), "import './words.ts'\n")
  const wrong = await viv(['start', join(folder, 'main.ts'), ...data()])
  expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/words\.ts:1\n(.*\n)*.*SyntaxError.*\n$/) })
}, 60_000)
