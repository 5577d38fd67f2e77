/** Verbs over time as people reach them: HTTP, command line, feed. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runProgram } from '../../server/cli/program.ts'
import { realClock } from '../../server/clock.ts'
import { agent } from '../../server/definition/agent.ts'
import { ActionDesk } from '../../server/feed/action.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { createApp } from '../../server/http/app.ts'
import { listen } from '../../server/http/listen.ts'
import { clientFrameSchema } from '../../shared/frame.ts'
import { toyFeed } from '../support/feed-viewer.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

let world: World
let node: TestNode
let inspect: RuntimeInspect
let opened: ReturnType<typeof gate>

const pot = agent('pot', {
  state: () => ({ n: 0, at: new Date(0) }),
  on: {
    add: (ctx) => ++ctx.state.n,
    async boil(ctx) {
      await ctx.step('fill', () => 1)
      await ctx.step('heat', () => opened.promise)
    },
  },
})

beforeEach(async () => {
  world = World.memory()
  opened = gate()
  node = await world.node('a', [pot])
  inspect = new RuntimeInspect(node.core)
  await node.call(node.ref(pot, '1').add())
})
afterEach(async () => {
  inspect.close()
  await world.close()
})

const boiling = (): Promise<void> => world.until(() => node.core.kernel.find('pot/1')?.wait?.target === 'heat')
const state = async () => (await world.run(inspect.state('pot/1'))) as { version: number; value: { n: number } }

test('[H5] state, rewind, skip and retry over HTTP, with tagged values, reasons and refusals', async () => {
  const app = createApp({ inspect, control: node.control, web: false })
  const post = async (verb: string, body: object) => {
    const headers = { host: '127.0.0.1:1', 'content-type': 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify(body) }
    const response = await world.run(
      Promise.resolve(app.request(`http://127.0.0.1:1/api/v1/processes/pot%2F1/${verb}`, init)),
    )
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const value = { n: 5, at: { $date: 7 } }
  expect(await post('state', { value, expectedVersion: 9 })).toMatchObject({
    ...{ status: 409, body: { code: 'VERSION_CONFLICT' } },
  })
  const edited = await post('state', { value, expectedVersion: 1, reason: 'spilled' })
  expect(edited).toMatchObject({ status: 200, body: { id: 'pot/1', outcome: 'version 2' } })
  expect((await state()).value).toEqual({ n: 5, at: new Date(7) })
  expect((await post('rewind', { version: 1, expectedVersion: 2 })).body).toMatchObject({ outcome: 'version 3' })
  expect((await post('rewind', { version: 99 })).status).toBe(410)
  for (const [verb, body] of [
    ['state', { value }],
    ['rewind', { version: 0 }],
    ['retry', { step: 0 }],
    ['skip', { force: true }],
  ] as const) {
    expect(await post(verb, body)).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
  }
  await node.send(node.ref(pot, '1').boil())
  await boiling()
  expect((await post('state', { value, expectedVersion: 3 })).body).toMatchObject({ code: 'TURN_OPEN' })
  expect((await post('retry', { step: 2 })).body).toMatchObject({ outcome: 'goes on from result 2' })
  await boiling()
  expect((await post('skip', { reason: 'cold' })).body).toMatchObject({ outcome: 'skipped' })
  expect((await post('retry', {})).body).toMatchObject({ code: 'TURN_NOT_OPEN' })
  const [audit] = await node.core.backend.handle.archive.audit('default', { target: 'pot/1', limit: 9 })
  expect(audit).toMatchObject({ verb: 'retry-turn', outcome: 'refused: TURN_NOT_OPEN' })
})

test('[H18] viv edit, rewind, skip and retry', async () => {
  const toy = toyFeed()
  toy.world.add('order/1')
  toy.world.states.set('order/1', { version: 4, value: { n: 1 } })
  const server = await listen({ inspect: toy.world, control: toy.world, web: false, port: 0, feed: toy.feed })
  const viv = async (...args: string[]): Promise<[number, string]> => {
    const lines: string[] = []
    const write = (line: string): void => void lines.push(line)
    const code = await runProgram([...args, '--url', server.url], { print: write, complain: write })
    return [code, lines.join('\n')]
  }
  try {
    expect((await viv('edit', 'order/1', '{"n":2}', '--expect', '4', '-r', 'typo'))[0]).toBe(0)
    expect(toy.world.states.get('order/1')).toEqual({ version: 5, value: { n: 2 } })
    expect(toy.world.auditItems.at(-1)).toMatchObject({ verb: 'edit-state', reason: 'typo' })
    expect(await viv('edit', 'order/1', '1')).toEqual([2, expect.stringContaining('--expect')])
    expect(await viv('edit', 'order/1', '1', '--expect', '4')).toEqual([1, expect.stringContaining('version 5')])
    expect((await viv('rewind', 'order/1', '3'))[0]).toBe(0)
    expect((await viv('rewind', 'order/1', 'x'))[0]).toBe(2)
    expect((await viv('skip', 'order/1'))[0]).toBe(0)
    expect((await viv('retry', 'order/1', '--step', '2', '--turn', 't'))[0]).toBe(0)
    expect(toy.world.auditItems.map(({ verb }) => verb).slice(-3)).toEqual(['rewind', 'skip-message', 'retry-turn'])
  } finally {
    await server.close()
  }
})

test('[F11] the verbs by the feed, and what they need', async () => {
  const desk = new ActionDesk(node.control, realClock())
  let n = 0
  const act = (verb: string, more: object) => {
    const frame = clientFrameSchema.parse({ t: 'act', rid: 'r', verb, target: 'pot/1', key: `k${++n}`, ...more })
    if (frame.t !== 'act') throw new Error('no act')
    return world.run(desk.act(frame, { actor: 'operator:ana', roles: ['operator'] }))
  }
  const value = { n: 8, at: { $date: 1 } }
  expect(await act('edit-state', { args: value, expectedVersion: 1 })).toMatchObject({ outcome: 'version 2' })
  await expect(act('edit-state', { args: value })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await expect(act('rewind', {})).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  expect(await act('rewind', { version: 1, expectedVersion: 2 })).toMatchObject({ outcome: 'version 3' })
  await node.send(node.ref(pot, '1').boil())
  await boiling()
  expect(await act('retry-turn', { step: 2 })).toMatchObject({ outcome: 'goes on from result 2' })
  await boiling()
  expect(await act('skip-message', {})).toMatchObject({ outcome: 'skipped' })
  expect((await state()).value.n).toBe(1)
})
