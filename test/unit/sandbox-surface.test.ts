/** Sandbox copies as people reach them: HTTP and command line, on a living runtime. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runProgram } from '../../server/cli/program.ts'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import { listen } from '../../server/http/listen.ts'
import { toyFeed } from '../support/feed-viewer.ts'
import { type TestNode, World } from '../support/runtime.ts'

let world: World
let node: TestNode
let inspect: RuntimeInspect

const pot = agent('pot', {
  state: () => ({ n: 0, got: null as unknown }),
  on: {
    add: (ctx) => ++ctx.state.n,
    async heat(ctx) {
      ctx.state.got = await ctx.step('fire', () => 'hot')
    },
  },
})

beforeEach(async () => {
  world = World.memory()
  node = await world.node('a', [pot])
  inspect = new RuntimeInspect(node.core)
  await node.call(node.ref(pot, '1').add())
})
afterEach(async () => {
  inspect.close()
  await world.close()
})

test('[H5][E10][E12] fork, answer and discard over HTTP, with tagged values, reasons and refusals', async () => {
  const app = createApp({ inspect, control: node.control, web: false })
  const headers = { host: '127.0.0.1:1', 'content-type': 'application/json' }
  const ask = async (path: string, body?: object) => {
    const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) }
    const response = await world.run(Promise.resolve(app.request(`http://127.0.0.1:1/api/v1/processes${path}`, init)))
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  expect(await ask('/pot%2F1/fork', { version: 1, reason: 'a look' })).toMatchObject({
    status: 200,
    body: { id: 'pot/1~1' },
  })
  expect(await ask('/pot%2F1/fork', { version: 1, as: 'pot/1' })).toMatchObject({ status: 409 })
  expect(await ask('/pot%2F1/fork', { force: true })).toMatchObject({ status: 400 })
  expect((await ask('/pot%2F1~1')).body).toMatchObject({ id: 'pot/1~1', sandbox: 'pot/1' })
  const listed = (await ask('?agent=pot')).body['items'] as { id: string; sandbox?: string }[]
  expect(listed.map(({ id, sandbox }) => [id, sandbox])).toEqual([
    ['pot/1', undefined],
    ['pot/1~1', 'pot/1'],
  ])
  await world.run(node.control.send('pot/1~1', 'heat', null, { actor: 'operator:ana' }))
  await world.until(() => node.core.kernel.find('pot/1~1')?.wait?.kind === 'sandbox')
  expect(await ask('/pot%2F1~1/answer', {})).toMatchObject({ status: 400 })
  expect(await ask('/pot%2F1~1/answer', { value: { $date: 7 }, step: 'fire#0' })).toMatchObject({ status: 200 })
  await world.until(async () => ((await node.stored('pot/1~1')) as { got: unknown }).got !== null)
  expect(await node.stored('pot/1~1')).toEqual({ n: 1, got: new Date(7) })
  expect(await ask('/pot%2F1/discard', {})).toMatchObject({ status: 400 })
  expect(await ask('/pot%2F1~1/discard', { reason: 'seen' })).toMatchObject({
    status: 200,
    body: { outcome: 'discarded' },
  })
  expect((await ask('/pot%2F1~1')).status).toBe(404)
})

test('[H18] viv fork, answer and discard', async () => {
  const toy = toyFeed()
  toy.world.add('order/1')
  const server = await listen({ inspect: toy.world, control: toy.world, web: false, port: 0, feed: toy.feed })
  const viv = (...args: string[]): Promise<number> =>
    runProgram([...args, '--url', server.url], { print: () => {}, complain: () => {} })
  try {
    expect(await viv('fork', 'order/1', '--version', '2', '--as', 'order/2', '-r', 'a look')).toBe(0)
    expect(await viv('answer', 'order/1', '{"n":1}', '--step', 'a#0')).toBe(0)
    expect(await viv('answer', 'order/1', '--error', 'no')).toBe(0)
    expect(await viv('answer', 'order/1')).toBe(2)
    expect(await viv('answer', 'order/1', '1', '--error', 'no')).toBe(2)
    expect(await viv('discard', 'order/1')).toBe(0)
    const audit = toy.world.auditItems.map(({ verb }) => verb)
    expect(audit).toEqual(['fork', 'answer', 'answer', 'discard'])
    expect(toy.world.auditItems[0]).toMatchObject({ reason: 'a look' })
  } finally {
    await server.close()
  }
})

test('[H18] viv ps marks sandboxes, says until when a process waits, and whose copy it is in JSON', async () => {
  const toy = toyFeed()
  toy.world.add('order/1')
  const now = Date.now()
  const wait = { kind: 'sleep' as const, target: null, since: now - 5_000, deadline: now + 7_200_000, attempt: 1 }
  Object.assign(toy.world.add('order/1~1'), { sandbox: 'order/1', wait, status: 'waiting' })
  const server = await listen({ inspect: toy.world, control: toy.world, web: false, port: 0, feed: toy.feed })
  const ps = async (...args: string[]): Promise<string[]> => {
    const lines: string[] = []
    await runProgram(['ps', ...args, '--url', server.url], { print: (line) => lines.push(line), complain: () => {} })
    return lines
  }
  try {
    const [, original, copy] = await ps()
    expect(original).toMatch(/^order\/1 +idle/)
    expect(copy).toMatch(/^order\/1~1 \(sandbox of order\/1\) +waiting .* sleep 5 s, \d.* left$/)
    const [json = ''] = await ps('--json')
    const { items } = JSON.parse(json) as { items: { id: string; sandbox?: string }[] }
    expect(items.map(({ id, sandbox }) => [id, sandbox])).toEqual([
      ['order/1', undefined],
      ['order/1~1', 'order/1'],
    ])
  } finally {
    await server.close()
  }
})
