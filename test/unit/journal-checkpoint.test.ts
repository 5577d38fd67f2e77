/** Checkpoints: what leaves with their row takes effect when it is stored, whatever became of the turn meanwhile. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle
let held: ReturnType<typeof gate>

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
})
afterEach(() => world.close())

const child = agent('child', { state: () => ({ n: 0 }), on: {}, activated: () => void oracle.hit('child') })

const memo = agent('memo', {
  durability: 'ephemeral',
  state: () => ({ n: 0 }),
  on: { note: (_ctx, text: string) => void oracle.hit(text) },
})

const splitter = agent('splitter', {
  state: () => ({ heard: [] as string[] }),
  on: {
    async split(ctx) {
      const asked = await ctx.receive<string>('ask')
      asked.reply(`yes, ${asked.message}`)
      ctx.spawn(child, 'c')
      ctx.send(ctx.ref(memo, 'm').note('told'))
      await ctx.checkpoint()
      await ctx.step('after', () => null)
    },
    async armed(ctx) {
      ctx.after(100, 'ring', world.clock.now())
      await ctx.checkpoint()
      await ctx.step('hang', () => held.promise)
    },
    ring: (ctx, began: number) => void ctx.state.heard.push(`rang after ${world.clock.now() - began} ms`),
    ask: (_ctx, text: string) => `late ${text}`,
  },
})

const agents = [splitter, child, memo]

function holdCheckpoint(node: TestNode): void {
  node.faults.plan(({ method, batch }) =>
    method === 'commit' && batch.some((row) => row.payload.includes('"checkpoint"'))
      ? { kind: 'hold', until: held.promise }
      : undefined,
  )
}

test('[T2] the effects of a checkpoint come with its row, also when the turn was killed meanwhile', async () => {
  const node = await world.node('a', agents)
  holdCheckpoint(node)
  const splits = node.ref(splitter, 's')
  await node.call(node.send(splits.split()))
  await world.until(() => node.core.kernel.find('splitter/s')?.wait?.kind === 'receive')
  const answer = splits.ask('please').run()
  answer.catch(() => {})
  await world.until(() => node.core.kernel.find('splitter/s')?.wait?.kind === 'commit')
  const killed = node.control.kill('splitter/s', { actor: 'ana' })
  await world.settle()
  expect([oracle.count('child'), oracle.count('told')]).toEqual([0, 0])
  held.open()
  await world.run(killed)
  expect(await world.run(answer)).toBe('yes, please')
  await world.advance(100)
  expect([oracle.count('child'), oracle.count('told')]).toEqual([1, 1])
})

test('[V5] a timer that a checkpoint stored is fired on time', async () => {
  const node = await world.node('a', agents)
  await world.advance(500)
  const splits = node.ref(splitter, 's')
  await node.call(node.send(splits.armed()))
  await world.until(() => node.core.kernel.find('splitter/s')?.mailboxLength === 1)
  held.open()
  await world.until(async () => JSON.stringify(await node.stored('splitter/s')).includes('rang'))
  expect(await node.stored('splitter/s')).toEqual({ heard: ['rang after 100 ms'] })
})

const tied = agent('tied', {
  state: () => ({ heard: [] as string[] }),
  on: {
    link: (ctx, id: string) => ctx.link(id),
    async part(ctx, id: string) {
      ctx.trapExit(true)
      ctx.unlink(id)
      await ctx.checkpoint()
      await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
    },
    fail: (ctx) => ctx.exit({ error: new Error('failed') }),
  },
  onExit: (ctx, { from, reason }) => void ctx.state.heard.push(`${from} ${reason.kind}`),
})

test('[K30] a link made after the replay of a checkpoint that dissolved one is heard of', async () => {
  const a = await world.node('a', [tied])
  await a.call(a.ref(tied, 'a').link('tied/b'))
  await a.call(a.send(a.ref(tied, 'a').part('tied/b')))
  await world.until(() => oracle.count('hang') === 1)
  a.kill()
  const b = await world.node('b', [tied])
  await world.until(() => oracle.count('hang') === 2)
  await world.until(() => b.core.kernel.find('tied/a')?.status === 'idle')
  await b.call(b.ref(tied, 'b').link('tied/a'))
  await b.call(b.ref(tied, 'b').fail())
  await world.advance(1_000)
  expect(await b.stored('tied/a')).toEqual({ heard: ['tied/b crash'] })
})
