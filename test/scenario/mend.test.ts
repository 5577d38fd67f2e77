/** Operator verbs over time on a real Postgres: rivals, crashes, another node, and what the tables hold afterwards. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { testDatabase } from '../support/database.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana', reason: 'drill' }

const database = testDatabase()
let world: World
let opened: ReturnType<typeof gate>
let keys: string[]

beforeEach(() => {
  world = World.postgres(database.connection)
  opened = gate()
  keys = []
})
afterEach(async () => {
  opened.open()
  await world.close()
})

const till = agent('till', {
  state: () => ({ n: 0, way: [] as string[] }),
  on: {
    add: (ctx, by: number) => {
      ctx.state.n += by
      return ctx.state.n
    },
    async count(ctx) {
      const start = ctx.uuid()
      const first = await ctx.step('first', ({ idempotencyKey }) => void keys.push(`first ${idempotencyKey}`))
      await ctx.step('slow', async ({ idempotencyKey }) => {
        keys.push(`slow ${idempotencyKey}`)
        await opened.promise
      })
      ctx.state.way.push(start, ctx.uuid(), String(first))
    },
  },
  passivateAfterMs: 60_000,
})

const state = (node: TestNode, id: string) => node.stored(id) as Promise<{ n: number; way: string[] }>
const slow = (): number => keys.filter((key) => key.startsWith('slow')).length
const begin = async (node: TestNode, key: string, runs: number): Promise<void> => {
  await node.send(node.ref(till, key).count())
  await world.until(() => slow() === runs)
}

test('[E2] of rivals who read the same version one edits it, and the row says who', async () => {
  const a = await world.node('a', [till])
  await a.call(a.ref(till, 'rivals').add(1))
  const inspect = new RuntimeInspect(a.core)
  const { version } = await inspect.state('till/rivals')
  const value = (n: number) => ({ n, way: [] })
  const tries = Array.from({ length: 8 }, (_, n) =>
    a.control.editState('till/rivals', value(100 + n), { ...act, expectedVersion: version }),
  )
  const ends = await Promise.allSettled(tries)
  const winner = ends.findIndex(({ status }) => status === 'fulfilled')
  expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect((await state(a, 'till/rivals')).n).toBe(100 + winner)
  const { items } = await inspect.journal('till/rivals', { limit: 1 })
  expect(items[0]).toMatchObject({ kind: 'edited', actor: 'operator:ana', seq: version + 1 })
  inspect.close()
})

test('[E1] what was answered holds on the node that comes after: edit, rewind, skip, retry', async () => {
  const a = await world.node('a', [till])
  for (const key of ['edit', 'rewind', 'skip', 'retry']) await a.call(a.ref(till, key).add(1))
  await a.control.editState('till/edit', { n: 50, way: [] }, { ...act, expectedVersion: 1 })
  await a.call(a.ref(till, 'rewind').add(5))
  await a.control.rewind('till/rewind', 1, act)
  await begin(a, 'skip', 1)
  await a.control.skipMessage('till/skip', act)
  await begin(a, 'retry', 2)
  await a.control.retryTurn('till/retry', { ...act, step: 2 })
  a.kill()
  const b = await world.node('b', [till])
  expect(await b.call(b.ref(till, 'edit').add(0))).toBe(50)
  expect(await b.call(b.ref(till, 'rewind').add(0))).toBe(1)
  expect(await b.call(b.ref(till, 'skip').add(0))).toBe(1)
  const [letter] = await b.core.backend.handle.archive.deadLetters('default', { process: 'till/skip', limit: 5 })
  expect(letter).toMatchObject({ op: 'count', reason: 'skipped by operator:ana: drill' })
  opened.open()
  await world.until(async () => (await state(b, 'till/retry')).way.length === 3)
  const journal = await b.journal('till/retry')
  expect(journal.filter(({ k }) => k === 'retried')).toEqual([expect.objectContaining({ branch: 1, kept: 1 })])
  // Kept: once. Run anew: under one new key, however often the node died.
  const mine = keys.filter((key) => key.startsWith('slow')).slice(1)
  expect(new Set(mine).size).toBe(2)
  expect(keys.filter((key) => key.startsWith('first'))).toHaveLength(2)
})

test('[E6] a turn retried on one node goes on the same way on another, its rows gone from every mailbox', async () => {
  const a = await world.node('a', [till])
  await begin(a, 'move', 1)
  await a.control.retryTurn('till/move', act)
  await world.until(() => slow() === 2)
  await a.control.retryTurn('till/move', { ...act, step: 2 })
  await world.until(() => slow() === 3)
  a.kill()
  const b = await world.node('b', [till])
  await world.until(() => slow() === 4)
  expect(keys.at(-1)).toBe(keys.at(-2))
  opened.open()
  await world.until(async () => (await state(b, 'till/move')).way.length === 3)
  expect(b.seen('process:diverge')).toEqual([])
  expect(await b.core.backend.handle.archive.mailbox('default', 'till/move', { limit: 9 })).toEqual([])
})

test('[E1] one of another node is refused as that, and an outage only delays a verb', async () => {
  const a = await world.node('a', [till])
  await a.call(a.ref(till, 'far').add(1))
  const b = await world.node('b', [till])
  await expect(b.control.rewind('till/far', 1, act)).rejects.toMatchObject({ code: 'FENCED' })
  const end = a.faults.outage()
  const edited = a.control.editState('till/far', { n: 9, way: [] }, { ...act, expectedVersion: 1 })
  let over = false
  edited.then(() => {
    over = true
  })
  await world.advance(300)
  expect(over).toBe(false)
  end()
  expect(await edited).toMatchObject({ outcome: 'version 2' })
  expect((await state(b, 'till/far')).n).toBe(9)
})
