/** Steps on a real Postgres: outcomes from other nodes and from rivals, attempts and replays over a crash. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { StepDoor } from '../../server/host/step-door.ts'
import { outcomeKey } from '../../server/journal/step-token.ts'
import { migrate } from '../../server/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { Oracle, type TestNode, World } from '../support/runtime.ts'

/** A turn of this many steps must be replayed in less than REPLAY_MS_MAX ms, loading included. */
const STEPS = 10_000
const REPLAY_MS_MAX = 2_000
/** Steps beside each other: one commit for so many keeps the recording short. */
const BESIDE = 100

let database: TestDatabase
let world: World
let oracle: Oracle
let tokens: string[]
let attempts: number[]

beforeAll(async () => {
  database = await freshDatabase()
  await migrate(database.connection, {})
})
afterAll(() => database.drop())
beforeEach(() => {
  world = World.postgres(database.connection)
  oracle = new Oracle()
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
    async long(ctx, steps: number) {
      let sum = 0
      for (let from = 0; from < steps; from += BESIDE) {
        const keys = Array.from({ length: BESIDE }, (_, i) => from + i)
        const values = await Promise.all(keys.map((n) => ctx.step('s', () => n, { key: String(n) })))
        for (const value of values) sum += value
      }
      oracle.hit('replayed')
      await ctx.step('hang', () => (oracle.hit('hang') === 1 ? new Promise(() => {}) : null))
      ctx.state.got = sum
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

test(`[Q14] ${STEPS} recorded steps are loaded and replayed in less than ${REPLAY_MS_MAX} ms`, async () => {
  const a = await world.node('a', [clerk])
  await a.send(a.ref(clerk, 'long').long(STEPS))
  await world.until(() => oracle.count('hang') === 1)
  a.kill()
  const startedAt = performance.now()
  const b = await world.node('b', [clerk])
  await world.until(() => oracle.count('replayed') === 2)
  const ms = performance.now() - startedAt
  await world.until(async () => (await got(b, 'clerk/long')) === (STEPS * (STEPS - 1)) / 2)
  expect(ms).toBeLessThan(REPLAY_MS_MAX)
}, 60_000)
