/** Retention that takes away what the open turn itself wrote: its replay cannot compare it any more. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { StreamItem } from '../../server/observe/streams.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

const ROW = 'processes/teller/t/answer'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

/** The second run of it comes to its end. */
const teller = agent('teller', {
  state: () => ({ said: '' }),
  on: {
    async tell(ctx, { closes, step }: { closes: boolean; step: boolean }) {
      const out = ctx.stream('answer')
      const words = ['same', 'same', 'two', 'three']
      if (step) {
        await ctx.step('model', async (info) => {
          for (const word of words) await info.stream('answer').write(word)
          if (oracle.hit('model') === 1) await new Promise(() => {})
        })
      } else for (const word of words) await out.write(word)
      if (closes) await out.close()
      await ctx.step('work', () => (oracle.hit('work') === 1 ? new Promise<void>(() => {}) : undefined))
      if (!closes) await out.write('end')
      await out.close().catch((error: { code: string }) => {
        ctx.state.said = error.code
      })
      ctx.state.said += 'done'
    },
  },
})

/** All that was read over both nodes. */
type Read = { items: StreamItem[] }

function reading(node: TestNode, read: Read): void {
  const run = async (): Promise<void> => {
    const from = (read.items.at(-1)?.offset ?? -1) + 1
    for await (const item of node.core.streams.read('teller/t', 'answer', { from })) read.items.push(item)
  }
  run().catch(() => {}) // its node was killed
}

function left({ items }: Read): string[] {
  let valid: StreamItem[] = []
  for (const item of items) {
    if (item.kind === 'chunk') valid.push(item)
    else valid = valid.filter((at) => at.turn !== item.turn || at.step !== item.step || at.offset < item.to)
  }
  return valid.map((item) => (item.kind === 'chunk' ? String(item.value) : ''))
}

/** Begins on one node, is pruned down to `bytes`, and goes on on another. */
async function pruned(bytes: number, how: { closes: boolean; step: boolean }): Promise<{ read: Read; node: TestNode }> {
  const read: Read = { items: [] }
  const first = await world.node('a', [teller])
  reading(first, read)
  await first.send(first.ref(teller, 't').tell(how))
  await world.until(() => read.items.length === 4 && oracle.count(how.step ? 'model' : 'work') === 1)
  const { store } = first.core.backend.handle
  const policies = [{ agent: 'teller', maxAgeMs: null, maxBytes: bytes }]
  await world.run(store.pruneStreams(first.core.node, { policies, after: 0, limit: 10, records: 10 }))
  first.kill()
  const node = await world.node('b', [teller])
  reading(node, read)
  await world.until(async () => (await node.stored('teller/t')) !== undefined && oracle.count('work') >= 1)
  return { read, node }
}

const said = async (node: TestNode): Promise<unknown> => ((await node.stored('teller/t')) as { said: string }).said

test.for([0, 7, 15])(
  '[R4] a turn of whose chunks %i bytes are kept writes all again, and all before is void',
  async (bytes) => {
    const { read, node } = await pruned(bytes, { closes: false, step: false })
    await world.until(async () => (await said(node)) === 'done')
    await world.until(() => left(read).at(-1) === 'end')
    expect(left(read)).toEqual(['same', 'same', 'two', 'three', 'end'])
    expect(await node.core.streams.row(ROW)).toMatchObject({ closed: true })
  },
)

test('[R4] so does an attempt of a step', async () => {
  const { read, node } = await pruned(7, { closes: false, step: true })
  await world.until(() => oracle.count('work') === 1)
  await world.run(node.control.retryTurn('teller/t', { actor: 'operator:ana', step: 2 }))
  await world.until(async () => (await said(node)) === 'done')
  await world.until(() => left(read).at(-1) === 'end')
  expect(left(read)).toEqual(['same', 'same', 'two', 'three', 'end'])
})

test.for([0, 7])('[R4] a stream that it closed before stays as it is, %i bytes of it kept', async (bytes) => {
  const { read, node } = await pruned(bytes, { closes: true, step: false })
  await world.until(async () => (await said(node)) === 'done')
  expect(left(read)).toEqual(['same', 'same', 'two', 'three'])
  expect(await node.core.streams.row(ROW)).toMatchObject({ closed: true, tail: 4 })
})
