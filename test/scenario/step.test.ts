/** Steps on a real Postgres: outcomes from other nodes and from rivals, attempts and replays over a crash. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { StepDoor } from '../../server/host/step-door.ts'
import { outcomeKey } from '../../server/journal/step-token.ts'
import { testDatabase } from '../support/database.ts'
import { type TestNode, World } from '../support/runtime.ts'

const database = testDatabase()
let world: World
let tokens: string[]
let attempts: number[]

beforeEach(() => {
  world = World.postgres(database.connection)
  tokens = []
  attempts = []
})
afterEach(() => world.close())

const clerk = agent('clerk', {
  state: () => ({ got: null as unknown }),
  on: {
    async ask(ctx, totalMs: number) {
      try {
        ctx.state.got = await ctx.step('approve', ({ token }) => void tokens.push(token), { external: true, totalMs })
      } catch (error) {
        ctx.state.got = String(error)
      }
    },
    async stumble(ctx) {
      const run = ({ attempt, progress, heartbeat }: Parameters<Parameters<typeof ctx.step>[1]>[0]): unknown => {
        attempts.push(attempt)
        heartbeat({ seen: attempt })
        if (attempt < 3) throw new Error('not yet')
        return attempts.length < 4 ? new Promise(() => {}) : progress
      }
      ctx.state.got = await ctx.step('job', run, { retry: { max: 3, initialMs: 20 } })
    },
  },
})

const door = (node: TestNode): StepDoor => new StepDoor(node.core)
const got = async (node: TestNode, id: string): Promise<unknown> =>
  ((await node.stored(id)) as { got: unknown } | undefined)?.got

test('[Q12] ten rivals on two nodes: one outcome is taken, whoever owns the process', async () => {
  const a = await world.node('a', [clerk])
  await a.send(a.ref(clerk, 'rivals').ask(60_000))
  await world.until(() => tokens.length === 1)
  const b = await world.node('b', [clerk])
  const [token = ''] = tokens
  const ends = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) => door(i % 2 === 0 ? b : a).settle(token, { value: i })),
  )
  const winners = ends.flatMap((end, i) => (end.status === 'fulfilled' ? [i] : []))
  expect(winners).toHaveLength(1)
  for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'ALREADY_COMPLETED' })
  await world.until(async () => (await got(b, 'clerk/rivals')) === winners[0])
  await world.until(async () => {
    const row = await b.core.backend.handle.store.requestRow('default', 'clerk/rivals', outcomeKey(token))
    return row?.status === 'done'
  })
  expect(await b.core.backend.handle.archive.mailbox('default', 'clerk/rivals', { limit: 10 })).toEqual([])
  await expect(door(a).settle('st_none', { value: 1 })).rejects.toMatchObject({ code: 'STEP_NOT_FOUND' })
})

test('[Q11] an outcome given while its process is in no memory reaches it at the next node', async () => {
  const a = await world.node('a', [clerk])
  await a.send(a.ref(clerk, 'gone').ask(600_000))
  await world.until(() => tokens.length === 1)
  await a.stop()
  const other = await world.node('other', [])
  await door(other).settle(tokens[0] ?? '', { value: { text: 'odd \u0000 text' } })
  await other.stop()
  const b = await world.node('b', [clerk])
  await world.until(async () => (await got(b, 'clerk/gone')) !== null)
  expect(await got(b, 'clerk/gone')).toEqual({ text: 'odd \u0000 text' })
  expect(tokens).toHaveLength(1)
})

test('[Q12] the total time of an external step ends it, and nobody can complete it afterwards', async () => {
  const a = await world.node('a', [clerk])
  await a.send(a.ref(clerk, 'late').ask(200))
  await world.until(async () => ((await got(a, 'clerk/late')) ?? null) !== null)
  expect(await got(a, 'clerk/late')).toContain('had 200 ms in all')
  await expect(door(a).settle(tokens[0] ?? '', { value: 1 })).rejects.toMatchObject({ code: 'ALREADY_COMPLETED' })
})

test('[Q3] attempts and progress survive the death of the node', async () => {
  const a = await world.node('a', [clerk])
  await a.send(a.ref(clerk, 'stumble').stumble())
  await world.until(() => attempts.length === 3)
  a.kill()
  const b = await world.node('b', [clerk])
  await world.until(async () => ((await got(b, 'clerk/stumble')) ?? null) !== null)
  expect(attempts).toEqual([1, 2, 3, 3])
  expect(await got(b, 'clerk/stumble')).toEqual({ seen: 2 })
})
