/** The end of a stream cannot be taken back: it waits for what led to it, and a step that runs again finds it open. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { Reject } from '../../server/definition/reject.ts'
import type { StreamItem } from '../../server/observe/streams.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const ROW = 'processes/teller/t/answer'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

/** Chunks that no reset voided, once the stream has ended. */
async function ended(node: TestNode): Promise<string[]> {
  await world.until(async () => (await node.core.streams.row(ROW))?.closed === true, 'the end of the stream')
  let valid: StreamItem[] = []
  for await (const item of node.core.streams.read('teller/t', 'answer')) {
    if (item.kind === 'chunk') valid.push(item)
    else valid = valid.filter(({ offset }) => offset < item.to)
  }
  return valid.map((item) => (item.kind === 'chunk' ? String(item.value) : ''))
}

const isStep = ({ method, batch }: { method: string; batch: readonly { payload: string }[] }): boolean =>
  method === 'commit' && batch.some(({ payload }) => payload.includes('"k":"step"'))

const said = async (node: TestNode): Promise<unknown> => ((await node.stored('teller/t')) as { said: number })?.said

test('[R4] an end waits for the results that led to it: a step that runs again finds its stream open', async () => {
  const teller = agent('teller', {
    state: () => ({ said: 0 }),
    on: {
      async tell(ctx) {
        ctx.state.said = await ctx.step('model', async (info) => {
          const run = oracle.hit('model')
          await info.stream('answer').write(`run ${run}`)
          return run
        })
        await ctx.stream('answer').close()
      },
    },
  })
  const first = await world.node('a', [teller])
  const stored = gate()
  first.faults.plan((statement) => (isStep(statement) ? { kind: 'hold', until: stored.promise } : undefined))
  await first.send(first.ref(teller, 't').tell())
  await world.until(() => oracle.count('model') === 1)
  await world.advance(1_000)
  expect(await first.core.streams.row(ROW)).toMatchObject({ tail: 1, closed: false })
  first.kill()
  const second = await world.node('b', [teller])
  expect(await ended(second)).toEqual(['run 2'])
  await world.until(async () => (await said(second)) === 2)
})

const closing = agent('teller', {
  state: () => ({ said: 0 }),
  on: {
    async tell(ctx, how: 'end' | 'reject' | 'write' | 'fail') {
      const step = ctx.step(
        'model',
        async (info) => {
          const run = oracle.hit('model')
          const out = info.stream('answer')
          await out.write(`run ${run}`)
          await out.close()
          await expect(out.write('more')).rejects.toMatchObject({ code: 'STREAM_CLOSED' })
          if (how === 'fail' && run < 3) throw new Error('not yet')
          return run
        },
        { retry: { initialMs: 1 } },
      )
      ctx.state.said = await step
      if (how === 'write') {
        await expect(ctx.stream('answer').write('more')).rejects.toMatchObject({ code: 'STREAM_CLOSED' })
      }
      if (how === 'reject') throw new Reject('no')
    },
  },
})

test('[R4] a step that closes its stream and runs again, because its result was lost, writes it again', async () => {
  const first = await world.node('a', [closing])
  first.faults.plan((statement) => (isStep(statement) ? { kind: 'die', when: 'before' } : undefined))
  await first.send(first.ref(closing, 't').tell('end'))
  await world.until(() => first.dead)
  const second = await world.node('b', [closing])
  await world.until(async () => (await said(second)) === 2)
  expect(await ended(second)).toEqual(['run 2'])
})

test('[R4] a stream ends with the result of the step that closed it, also when the node dies in between', async () => {
  const first = await world.node('a', [closing])
  first.faults.plan((statement) => (isStep(statement) ? { kind: 'die', when: 'after' } : undefined))
  await first.send(first.ref(closing, 't').tell('end'))
  await world.until(() => first.dead)
  const second = await world.node('b', [closing])
  expect(await ended(second)).toEqual(['run 1'])
  expect(oracle.count('model')).toBe(1)
})

test.for(['end', 'reject', 'write', 'fail'] as const)('[R4] closed by a step: %s', async (how) => {
  const node = await world.node('n', [closing])
  const told = node.ref(closing, 't').tell(how)
  if (how === 'reject') expect((await world.refusal(told)).code).toBe('CALL_REJECTED')
  else await node.call(told)
  // The end of the turn comes after that of its streams.
  expect(await node.core.streams.row(ROW)).toMatchObject({ closed: true })
  expect(await ended(node)).toEqual([how === 'fail' ? 'run 3' : 'run 1'])
})
