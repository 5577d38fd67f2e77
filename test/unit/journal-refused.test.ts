/** Sends that were refused once, and what later attempts and replays make of them. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle
let opened: ReturnType<typeof gate>

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  opened = gate()
})
afterEach(() => world.close())

const target = agent('target', {
  state: () => ({ seen: [] as string[] }),
  on: {
    take: (ctx, name: string) => void ctx.state.seen.push(name),
    slow: (ctx) => ctx.step('hold', () => opened.promise.then(() => null)),
  },
  mailbox: { limit: 1 },
})

/** What the turn waits for after the refusal; the first attempt fails behind it. */
const sender = agent('sender', {
  state: () => ({ got: '' }),
  on: {
    async go(ctx, how: 'sleep' | 'receive') {
      await ctx.step('before', () => null)
      try {
        ctx.send(ctx.ref(target, 't').take('sent'))
      } catch {
        ctx.state.got = 'refused'
        if (how === 'sleep') await ctx.sleep(100)
        else ctx.state.got = (await ctx.receive<string>('note')).message
      }
      if (oracle.hit('attempt') === 1) throw new Error('the first attempt fails')
    },
    note(_ctx, _text: string) {},
  },
})

async function fill(node: TestNode): Promise<void> {
  const t = node.ref(target, 't')
  for (const call of [t.slow(), t.take('first')]) {
    call.run().catch(() => {})
    await world.advance(10)
  }
}

test.each([
  { how: 'sleep', got: 'refused' },
  { how: 'receive', got: 'noted' },
] as const)('[M6] a refusal that a $how followed is heard again by the next attempt', async ({ how, got }) => {
  const node = await world.node('a', [target, sender])
  await fill(node)
  await node.call(node.send(node.ref(sender, 's').go(how)))
  await world.until(() => node.core.kernel.find('sender/s')?.wait?.kind === how)
  if (how === 'receive') await node.call(node.send(node.ref(sender, 's').note('noted')))
  await world.until(() => oracle.count('attempt') === 2 || node.seen('process:diverge').length > 0)
  expect(node.seen('process:diverge')).toEqual([])
  await world.until(async () => JSON.stringify(await node.stored('sender/s')) === JSON.stringify({ got }))
  opened.open()
  await world.until(async () => JSON.stringify(await node.stored('target/t')) === '{"seen":["first"]}')
})
