import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { runProgram } from '../../server/cli/program.ts'
import { type Listening, listen } from '../../server/http/listen.ts'
import { toyFeed } from '../support/feed-viewer.ts'
import type { ToyWorld } from '../support/toy-inspect.ts'

let world: ToyWorld
let listening: Listening
let data: string

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'vivarium-cli-'))
  const toy = toyFeed()
  world = toy.world
  world.add('supervisor/desk', { kind: 'supervisor' })
  world.add('order/a b', { parent: 'supervisor/desk', status: 'waiting', mailbox: 3 })
  world.add('order/18', { parent: 'supervisor/desk' })
  listening = await listen({ inspect: world, control: world, web: false, port: 0, feed: toy.feed, data })
})

afterAll(async () => {
  await listening.close()
  await rm(data, { recursive: true })
})

afterEach(() => vi.unstubAllEnvs())

async function viv(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', '']
  const print = (line: string) => {
    out += `${line}\n`
  }
  const complain = (line: string) => {
    err += `${line}\n`
  }
  const code = await runProgram(args, { print, complain })
  return { code, out, err }
}

describe('viv', () => {
  test('[H18] finds the server by --url, by VIVARIUM_URL and by server.json', async () => {
    vi.stubEnv('VIVARIUM_URL', 'http://127.0.0.1:1')
    const answers = [await viv(['ps', '--json', '--url', listening.url]), await viv(['ps', '--json', '--data', data])]
    vi.stubEnv('VIVARIUM_URL', listening.url)
    answers.push(await viv(['ps', '--json']))
    for (const { code, out } of answers) {
      expect(code).toBe(0)
      expect(JSON.parse(out).total).toBe(3)
    }
  })

  test('[H18] lists, filtered by a query', async () => {
    const { code, out } = await viv(['ps', 'status:waiting', 'mailbox>2', '--data', data])
    expect(code).toBe(0)
    expect(out).toMatch(/order\/a b\s+waiting\s+3/)
    expect(out).not.toContain('order/18')
  })

  test('[H18] acts under the name of its user, with a reason', async () => {
    const { code, out } = await viv(['restart', 'order/a b', '-r', 'stuck', '--data', data])
    expect(code).toBe(0)
    expect(out).toMatch(/^order\/a b: restart done/)
    const found = world.auditItems.find((item) => item.verb === 'restart')
    expect(found).toMatchObject({ reason: 'stuck', actor: expect.stringMatching(/^cli:/) })
  })

  test('[H18] cancels the operation of a message', async () => {
    const { code, out } = await viv(['cancel', 'order/a b', 'some/message', '-r', 'late', '--data', data])
    expect([code, out]).toEqual([0, expect.stringMatching(/^order\/a b: cancel done/)])
    expect(world.auditItems.find((item) => item.verb === 'cancel')).toMatchObject({ reason: 'late' })
  })

  test('[H18] calls with JSON or text and prints the reply', async () => {
    const args = ['call', 'order/18', 'echo', '--data', data]
    const [json, text] = await Promise.all([viv([...args, '{"n":[1]}', '--json']), viv([...args, 'hello'])])
    expect(JSON.parse(json.out)).toEqual({ reply: { n: [1] } })
    expect(JSON.parse(text.out)).toBe('hello')
  })

  test('[H18] its exit codes tell what went wrong, its messages what to do', async () => {
    const stale = await mkdtemp(join(tmpdir(), 'vivarium-cli-stale-'))
    // A pid that lives, but began long after this file was written: it was given to another program.
    const file = { url: listening.url, pid: process.pid, startedAt: 1_000, version: '1' }
    await writeFile(join(stale, 'server.json'), JSON.stringify(file))
    const cases: [string[], number, RegExp][] = [
      [['inspect', 'none/1', '--data', data], 3, /no process none\/1/],
      [['call', 'order/18', 'dance', '--data', data], 3, /no operation dance/],
      [['kill', 'order/18', '--incarnation', '9', '--data', data], 1, /incarnation 1, not 9/],
      [['ps', 'colour:red', '--data', data], 2, /unknown field "colour"/],
      [['ps', '--limit', 'many', '--data', data], 2, /whole number/],
      [['kill', '--data', data], 2, /ID is missing/],
      [['cancel', 'order/18', '--data', data], 2, /MESSAGE is missing/],
      [['dance'], 2, /no command "dance"/],
      [['ps', '--colour'], 2, /--colour/],
      [['send', 'order/18', 'echo', '{"a":', '--data', data], 2, /not JSON/],
      [['ps', '--url', 'http://127.0.0.1:1'], 4, /does not answer/],
      [['ps', '--data', join(data, 'none')], 4, /No server was found/],
      [['ps', '--data', stale], 4, /is gone/],
      [['stop', '--data', stale], 3, /Nothing runs/],
    ]
    const ran = await Promise.all(cases.map(([args]) => viv(args)))
    await rm(stale, { recursive: true })
    for (const [at, [args, code, message]] of cases.entries()) {
      expect({ args, code: ran[at]?.code, err: ran[at]?.err }).toEqual({
        args,
        code,
        err: expect.stringMatching(message),
      })
      expect(ran[at]?.out).toBe('')
      expect(ran[at]?.err).not.toContain('    at ')
    }
  })

  test('[H18] with --json errors are JSON too', async () => {
    const { code, err } = await viv(['inspect', 'none/1', '--data', data, '--json'])
    expect(code).toBe(3)
    expect(JSON.parse(err)).toMatchObject({ code: 'PROCESS_NOT_FOUND' })
  })

  test('[H18] an empty option, a module with nothing to run, and the version', async () => {
    const empty = await viv(['ps', '--data', ''])
    expect([empty.code, empty.err]).toEqual([2, expect.stringContaining('--data is empty')])
    const module = join(data, 'nothing.js')
    await writeFile(module, 'export const nothing = 1\n')
    const nothing = await viv(['start', module, '--data', join(data, 'unused')])
    expect([nothing.code, nothing.err]).toEqual([1, expect.stringContaining('exports no agent and no tree')])
    expect((await viv(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n?$/)
  })

  test('[H18] help names commands, search order and exit codes', async () => {
    const { code, out } = await viv(['--help'])
    expect(code).toBe(0)
    for (const word of ['start', 'inspect', 'suspend', 'VIVARIUM_URL', 'server.json', 'Exit codes']) {
      expect(out).toContain(word)
    }
  })
})
