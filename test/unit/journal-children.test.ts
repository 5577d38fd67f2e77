/** Children of a turn: stopped with it, waited for, or left alone, however the turn ends. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import type { ParentClose } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle
let held = gate()
let begun = gate()

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
  begun = gate()
})
afterEach(() => world.close())

const child = agent('child', {
  state: () => null,
  on: {
    async work(ctx) {
      oracle.hit('work')
      try {
        await ctx.sleep(HOUR)
        oracle.hit('worked')
        return 'result'
      } catch (error) {
        await ctx.step('stopped', () => oracle.hit('stopped'))
        throw error
      }
    },
    quick: () => 'quick',
  },
})

type End = 'done' | 'rejected' | 'crash' | 'hang'

const parent = agent('parent', {
  state: () => ({ results: [] as unknown[] }),
  maxAttempts: 2,
  on: {
    async run(ctx, { policy, end }: { policy: ParentClose; end: End }) {
      await ctx.start(child, 'c', 'work', null, { parentClose: policy })
      oracle.hit('started')
      if (end === 'rejected') throw new Reject('no')
      if (end === 'crash') throw new Error('boom')
      if (end === 'hang') await ctx.step('hang', () => held.promise)
      return 'parent'
    },
    async hears(ctx) {
      const quick = await ctx.start(child, 'c', 'quick', null, { parentClose: 'stop' })
      ctx.state.results.push(await quick.result())
      const work = await ctx.start(child, 'c', 'work', null, { parentClose: 'stop' })
      oracle.hit('started')
      ctx.state.results.push(await work.result())
    },
    async hasty(ctx) {
      void ctx.start(child, 'c', 'work', null, { parentClose: 'stop', idempotencyKey: 'hasty' })
      return 'parent'
    },
    /** Asks for the end of what it started, and hears what came of it. */
    async gives(ctx, crash: boolean) {
      const started = await ctx.start(child, 'c', 'work')
      await ctx.step('until it works', () => begun.promise)
      const asked = await started.cancel('changed my mind')
      oracle.hit('asked')
      if (crash) await ctx.step('hang', () => held.promise)
      const heard = await started.result().then(String, (error: { code: string; message: string }) => error.message)
      ctx.state.results.push(asked, heard, await started.cancel())
      return ctx.state.results
    },
    async own(ctx) {
      await ctx.start(parent as never, ctx.key, 'bad' as never, null, { parentClose: 'wait' })
    },
    async bad(ctx) {
      await ctx.start(child, 'c', 'work', null, { parentClose: 'kill' as ParentClose })
    },
  },
})

async function until(name: string, n = 1): Promise<void> {
  await world.until(() => oracle.count(name) >= n, name)
}

const cancels = (node: TestNode): number =>
  node.faults.committed.flatMap((row) => row.messages ?? []).filter(({ kind }) => kind === 'cancel').length

test.each(['done', 'rejected', 'crash'] as const)(
  '[Y6] stop: the child is cancelled when the parent ends: %s',
  async (end) => {
    const node = await world.node('a', [parent, child])
    const handle = await node.start(node.ref(parent, 'p').run({ policy: 'stop', end }))
    await world.run(handle.result().catch(() => {}))
    await until('stopped')
    await world.advance(100)
    oracle.expectStep('stopped').once()
    expect(oracle.count('worked')).toBe(0)
    expect(cancels(node)).toBe(1)
  },
)

test('[Y6] stop: a cancelled parent cancels its child at once', async () => {
  const node = await world.node('a', [parent, child])
  const handle = await node.start(node.ref(parent, 'p').hears())
  await until('started')
  await until('work')
  await world.run(handle.cancel('no more'))
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  await until('stopped')
  expect(cancels(node)).toBe(1)
})

test('[Y6] stop: a dead node does not save the child, also where the parent is buried without its code', async () => {
  const a = await world.node('a', [parent, child])
  const handle = await a.start(a.ref(parent, 'p').run({ policy: 'stop', end: 'hang' }))
  await until('work')
  await until('started')
  a.kill()
  const b = await world.node('b', [parent, child])
  await until('started', 2)
  await world.run(b.control.kill('parent/p', { actor: 'test', message: 'drop' }))
  const again = await world.run(b.core.messenger.handle('parent/p', handle.key))
  expect((await world.refusal(again.result())).code).toBe('DEAD_LETTERED')
  await until('stopped')
  oracle.expectStep('stopped').once()
})

test.each(['done', 'rejected', 'crash'] as const)('[Y6] wait: the parent ends after its child: %s', async (end) => {
  const a = await world.node('a', [parent, child])
  const handle = await a.start(a.ref(parent, 'p').run({ policy: 'wait', end }))
  await until('work')
  await until('started', end === 'crash' ? 2 : 1)
  await world.advance(1_000)
  const { archive } = a.core.backend.handle
  expect((await archive.process('default', 'parent/p'))?.owner).not.toBeNull()
  expect(a.written().filter((entry) => entry.k === 'end' && entry.op === 'run')).toEqual([])
  a.kill()
  const b = await world.node('b', [parent, child])
  const again = await world.run(b.core.messenger.handle('parent/p', handle.key))
  await world.advance(30_000)
  world.jump(HOUR)
  const outcome = await world.run(again.result().catch((error: { code: string }) => error.code))
  expect(oracle.count('worked')).toBeGreaterThan(0)
  expect(outcome).toBe({ done: 'parent', rejected: 'CALL_REJECTED', crash: 'DEAD_LETTERED' }[end])
})

test('[Y6] detach: the child goes on', async () => {
  const node = await world.node('a', [parent, child])
  await node.call(node.ref(parent, 'p').run({ policy: 'detach', end: 'done' }))
  await until('work')
  await world.advance(30_000)
  world.jump(HOUR)
  await until('worked')
  expect(cancels(node)).toBe(0)
})

test('[Y6] stop: a child whose start is not awaited is not left behind', async () => {
  const node = await world.node('a', [parent, child])
  node.faults.plan(({ method }) => (method === 'request' ? { kind: 'hold', until: held.promise } : undefined))
  const called = node.ref(parent, 'p').hasty()
  const outcome = called.then((value) => value)
  await world.advance(200)
  held.open()
  expect(await world.run(outcome)).toBe('parent')
  const handle = await world.run(node.core.messenger.handle('child/c', 'hasty'))
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
})

test('[Y6] a turn cannot wait for an operation of its own process', async () => {
  const node = await world.node('a', [parent, child])
  const error = await world.refusal(node.call(node.ref(parent, 'p').own()))
  expect(error.message).toContain('begins after it')
})

test('[Y6] a policy that does not exist is refused', async () => {
  const node = await world.node('a', [parent, child])
  const handle = await node.start(node.ref(parent, 'p').bad())
  expect((await world.refusal(handle.result())).message).toContain('use stop, wait or detach')
})

test('[Y7] a turn asks for the end of what it started, and hears its end', async () => {
  const node = await world.node('a', [parent, child])
  const answer = node.call(node.ref(parent, 'p').gives(false))
  await until('work')
  begun.open()
  const [asked, heard, again] = (await answer) as unknown[]
  expect([asked, again]).toEqual([true, false])
  expect(heard).toContain('cancelled by parent/p: changed my mind')
  oracle.expectStep('stopped').once()
})

test('[Y7] the request is recorded: a node that dies after it does not ask again', async () => {
  const a = await world.node('a', [parent, child])
  await a.send(a.ref(parent, 'p').gives(true))
  await until('work')
  begun.open()
  await until('asked')
  await world.until(() => a.written().some((entry) => entry.k === 'step' && entry.key.startsWith('cancel:')))
  a.kill()
  const b = await world.node('b', [parent, child])
  held.open()
  await world.until(() => b.written().some((entry) => entry.k === 'end' && entry.op === 'gives'), 'the end')
  const { results } = (await b.stored('parent/p')) as { results: unknown[] }
  expect(results).toEqual([true, expect.stringContaining('changed my mind'), false])
  oracle.expectStep('stopped').once()
})

test('[Y7] a reason that is no text is refused', async () => {
  const odd = agent('odd', {
    state: () => null,
    maxAttempts: 1,
    on: {
      async run(ctx) {
        const started = await ctx.start(child, 'c', 'quick')
        await started.cancel(7 as never)
      },
    },
  })
  const node = await world.node('a', [odd, child])
  expect((await world.refusal(node.ref(odd, 'o').run())).message).toContain('is number')
})
