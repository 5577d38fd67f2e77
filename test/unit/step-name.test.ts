/** Verbs that are recorded as steps: the limits of their names are their own. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import { KEY_LENGTH_MAX } from '../../shared/id.ts'
import { World } from '../support/runtime.ts'

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

const LONGEST = 'n'.repeat(KEY_LENGTH_MAX)

const worker = agent('worker', { state: () => ({ n: 0 }), on: { work: () => 'done' } })

const user = agent('user', {
  state: () => ({ n: 0 }),
  on: {
    async name(ctx, name: string) {
      await ctx.register(name)
      return ctx.whereis(name)
    },
    find: (ctx, name: string) => ctx.whereis(name),
    task: (ctx, name: string) => ctx.task(name, () => 'done').result(),
    async start(ctx, { key, op }: { key: string; op: string }) {
      const started = await ctx.start(worker, key, op as 'work') // whatever a caller without types gives
      return started.result()
    },
  },
  maxAttempts: 1,
})

test('[P8] a name may be as long as any label', async () => {
  const node = await world.node('a', [user, worker])
  expect(await node.call(node.ref(user, 'u').name(LONGEST))).toBeNull()
  expect(await node.call(node.ref(user, 'u').find(LONGEST))).toBe('user/u')
  expect((await world.refusal(node.ref(user, 'v').find('a\u0000b'))).message).toContain('Name ')
})

test('[J5] so may that of a task, and the refusal says what it is', async () => {
  const node = await world.node('a', [user, worker])
  expect(await node.call(node.ref(user, 'u').task(LONGEST))).toBe('done')
  expect((await world.refusal(node.ref(user, 'v').task(`${LONGEST}n`))).message).toContain('Task name')
})

test('[W6] so may the key of an operation that a turn starts, which is numbered once', async () => {
  const node = await world.node('a', [user, worker])
  expect(await node.call(node.ref(user, 'u').start({ key: LONGEST, op: 'work' }))).toBe('done')
  const entries = node.faults.committed.flatMap((row) => decodeEntries(row.payload))
  const keys = entries.flatMap((entry) => (entry.k === 'step' ? [entry.key] : []))
  expect(keys[0]).toBe(`start:worker/${LONGEST} work#0`)
  const refused = await world.refusal(node.ref(user, 'v').start({ key: 'k', op: 'a\ud800' }))
  expect(refused.message).toContain('Operation')
})
