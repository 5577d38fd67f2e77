/** `ctx.task`: functions that run as processes of their own, and whose results are recorded. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { World } from '../support/runtime.ts'

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

let runs = 0
const gate = Promise.withResolvers<void>()

const boss = agent('boss', {
  state: () => ({ sum: 0 }),
  on: {
    async delegate(ctx) {
      const slow = ctx.task('slow', async () => {
        runs += 1
        await gate.promise
        return 40
      })
      const quick = ctx.task('quick', () => 2)
      ctx.state.sum = (await slow.result()) + (await quick.result())
      return ctx.state.sum
    },
    async fail(ctx) {
      const task = ctx.task('bad', () => {
        throw new Error('no luck')
      })
      return task.result().catch((error: unknown) => `${error}`)
    },
  },
})

test('[J5] a task is a process below its owner while it runs, and its result is recorded', async () => {
  const node = await world.node('a', [boss])
  const answer = node.ref(boss, 'b').delegate().run()
  const tasks = () => [...node.core.kernel.all()].filter((process) => process.kind === 'task')
  await world.until(() => runs === 1 && tasks().length === 1)
  expect(tasks()[0]?.parent?.id).toBe('boss/b')
  node.kill()
  gate.resolve()
  const next = await world.node('b', [boss])
  await world.until(async () => JSON.stringify(await next.stored('boss/b').catch(() => null)) === '{"sum":42}')
  // The quick one was recorded before the kill and did not run again; the slow one had no result and did.
  expect(runs).toBe(2)
  answer.catch(() => {}) // its node is gone: nobody answers
})

test('[J5] a crash of a task is its owner`s to handle', async () => {
  const node = await world.node('a', [boss])
  expect(await world.run(node.ref(boss, 'c').fail())).toContain('no luck')
  expect(node.core.kernel.find('boss/c')?.incarnation).toBe(1)
})
