/** `ctx.task` of a compute module: functions on threads, their results recorded like those of steps. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { computeModule } from '../../server/definition/compute.ts'
import { Gate } from '../support/compute-gate.ts'
import { type TestNode, World } from '../support/runtime.ts'

const work = computeModule<typeof import('../support/compute-work.ts')>(
  new URL('../support/compute-work.ts', import.meta.url),
)

let world: World
let gate: Gate
beforeEach(() => {
  world = World.real()
  gate = new Gate()
})
afterEach(async () => {
  for (const node of world.nodes) await node.core.compute.close()
  await world.close()
  gate.remove()
})

const boss = agent('boss', {
  state: () => ({ words: ['a', 'ccc', 'bb'], sum: 0 }),
  on: {
    async rank(ctx) {
      const scores = await ctx.task(work, 'score', [[...ctx.state.words], 1]).result()
      return scores.map(({ word, points }) => `${word}${points}`).join()
    },
    async echo(ctx) {
      const when = await ctx.task(work, 'echo', [new Map([['x', new Date(5)]])]).result()
      return when.get('x')?.getTime()
    },
    async later(ctx) {
      const words = ['z', 'yy']
      const task = ctx.task(work, 'score', [words])
      words.push('changed later')
      return (await task.result()).length
    },
    async held(ctx, folder: string): Promise<string> {
      const quick = await ctx.task(work, 'add', [40, 2]).result()
      ctx.state.sum = quick
      return ctx.task(work, 'hold', [folder, `held-${ctx.key}`]).result()
    },
  },
})
const light = agent('light', {
  durability: 'ephemeral',
  state: () => null,
  on: { add: async (ctx, [a, b]: [number, number]) => (await ctx.task(work, 'add', [a, b]).result()) + 1 },
})

const tasks = (node: TestNode) => [...node.core.kernel.all()].filter(({ kind }) => kind === 'task')

test('[U1] a function runs on a thread with copies of its arguments, and its result comes back', async () => {
  const node = await world.node('a', [boss, light])
  expect(await node.call(node.ref(boss, 'b').rank())).toBe('ccc4,bb3,a2')
  expect(await node.call(node.ref(boss, 'b').echo())).toBe(5)
  expect(await node.call(node.ref(boss, 'b').later())).toBe(2)
  expect(await node.call(node.ref(light, 'l').add([1, 2]))).toBe(4)
  expect(node.core.compute.stats).toMatchObject({ done: 4, failed: 0, busy: 0, queued: 0 })
})

test('[U1] a replay is handed the result and starts nothing; what has none begins anew', async () => {
  const node = await world.node('a', [boss])
  node
    .ref(boss, 'b')
    .held(gate.folder)
    .run()
    .catch(() => {}) // its node is killed: nobody answers
  await world.until(() => gate.begun().length === 1)
  expect(node.core.compute.stats.done).toBe(1)
  node.kill()
  await node.core.compute.close()
  gate.open()
  const next = await world.node('b', [boss])
  await world.until(async () => JSON.stringify(await next.stored('boss/b')).includes('"sum":42'))
  expect(next.core.compute.stats.done).toBe(1)
})

test('[U2] while it waits or runs it is a task below its owner, and its wait says which', async () => {
  const node = await world.node('a', [boss], { compute: { threads: 1 } })
  const both = ['b', 'c'].map((key) => node.ref(boss, key).held(gate.folder).run())
  await world.until(() => gate.begun().length === 1 && node.core.compute.stats.queued === 1)
  const shown = tasks(node).map(({ wait, parent }) => `${wait?.kind} ${wait?.target} ${parent?.id.slice(0, 5)}`)
  expect(shown.sort()).toEqual(['compute compute-work.ts hold boss/', 'thread compute-work.ts hold boss/'])
  gate.open()
  expect((await world.run(Promise.all(both))).sort()).toEqual(['held-b', 'held-c'])
  expect(tasks(node)).toEqual([])
})
