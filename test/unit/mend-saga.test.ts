/** Retries and skips of turns that have children, compensations, or were asked to end. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana' }

let world: World
let opened: ReturnType<typeof gate>
let ran: string[]
beforeEach(() => {
  world = World.memory()
  opened = gate()
  ran = []
})
afterEach(() => world.close())

const limb = agent('limb', {
  state: () => ({ n: 0 }),
  on: {
    async grow(ctx) {
      await ctx.sleep(1_000_000)
      ctx.state.n += 1
    },
  },
})
const trunk = agent('trunk', {
  state: () => ({ log: [] as string[] }),
  on: {
    async branch(ctx) {
      for (const key of ['one', 'two']) {
        await ctx.start(limb, key, 'grow', null, { parentClose: 'stop' })
        ran.push(key)
      }
      await ctx.step('hang', () => opened.promise)
    },
    async wait(ctx) {
      ctx.onRollback('undo', async () => {
        ran.push('undo')
        await opened.promise
      })
      await ctx.shield(async () => {
        await ctx.step('do', () => void ran.push('do'))
        await ctx.step('hang', () => opened.promise)
      })
      await ctx.sleep(10)
      ctx.state.log.push('done')
    },
    async fail(ctx) {
      ctx.onRollback('undo', async () => {
        ran.push('undo')
        await opened.promise
      })
      await ctx.step('do', () => void ran.push('do'))
      throw new Error('no')
    },
  },
  maxAttempts: 1,
})

const start = (name = 'a'): Promise<TestNode> => world.node(name, [trunk, limb])
const waits = (node: TestNode, what: string) =>
  world.until(() => node.core.kernel.find('trunk/t')?.wait?.target?.includes(what) === true, `the wait for ${what}`)
const over = async (node: TestNode, messageId: string): Promise<boolean> =>
  (await node.journal('trunk/t')).some((entry) => entry.k === 'end' && entry.turn === messageId)

test('[E5] children that a retry does not keep are stopped, others go on under their keys', async () => {
  const a = await start()
  await a.send(a.ref(trunk, 't').branch())
  await waits(a, 'hang')
  await a.call(a.control.retryTurn('trunk/t', { ...act, step: 2 }))
  await world.until(() => ran.length === 4)
  await waits(a, 'hang')
  const cancelled = async (key: string) =>
    (await a.journal(`limb/${key}`)).filter((entry) => entry.k === 'end').map((entry) => entry.how)
  await world.until(async () => (await cancelled('two')).length === 1)
  expect(await cancelled('two')).toEqual(['cancelled'])
  expect(await cancelled('one')).toEqual([])
  await world.until(() => a.core.kernel.find('limb/two')?.current?.op === 'grow')
  await a.call(a.control.retryTurn('trunk/t', act))
  await world.until(async () => (await cancelled('one')).length === 1 && (await cancelled('two')).length === 2)
  await world.until(() => a.core.kernel.find('limb/one')?.current?.op === 'grow')
})

test('[E5] a request for the end of the turn stays asked over a retry, and over a crash after it', async () => {
  const a = await start()
  const handle = await a.start(a.ref(trunk, 't').wait())
  await waits(a, 'hang')
  await world.run(a.control.cancel('trunk/t', handle.messageId, act))
  await a.call(a.control.retryTurn('trunk/t', act))
  await world.until(() => ran.filter((name) => name === 'do').length === 2)
  a.kill()
  const b = await start('b')
  await waits(b, 'hang')
  opened.open()
  await world.until(() => over(b, handle.messageId))
  expect(ran).toEqual(['do', 'do', 'undo'])
  expect(await b.stored('trunk/t')).toEqual({ log: [] })
})

test('[E5] a turn that rolls back runs no step again, and can be skipped', async () => {
  const a = await start()
  await a.send(a.ref(trunk, 't').fail())
  await world.until(() => ran.includes('undo'))
  const refused = await world.refusal(a.control.retryTurn('trunk/t', act))
  expect(refused).toMatchObject({ code: 'REQUEST_INVALID', message: expect.stringContaining('rolls back') })
  await a.call(a.control.skipMessage('trunk/t', act))
  const letters = await a.core.backend.handle.archive.deadLetters('default', { process: 'trunk/t', limit: 9 })
  expect(letters).toHaveLength(1)
  expect(ran).toEqual(['do', 'undo'])
})
