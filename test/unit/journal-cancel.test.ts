/** Cancellation of turns: where it is heard, what it ends, and what a replay makes of it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { cancelArgs } from '../../server/journal/cancellation.ts'
import { newMessage } from '../../server/journal/message.ts'
import { NO_LINEAGE } from '../../server/kernel/envelope.ts'
import { isRuntimeError } from '../../shared/error.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

const HOUR = 3_600_000

let world: World
let oracle: Oracle
let held = gate()

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
})
afterEach(() => world.close())

const codeOf = (error: unknown): string => (isRuntimeError(error) ? error.code : String(error))

const helper = agent('helper', {
  state: () => ({ done: 0 }),
  on: {
    async slow(ctx) {
      await ctx.step('hold', () => held.promise)
      ctx.state.done += 1
      return 'slow'
    },
    quick: (ctx) => {
      ctx.state.done += 1
      return 'quick'
    },
  },
})

const parker = agent('parker', {
  state: () => null,
  passivateAfterMs: 1_000,
  on: {
    async cleanup(ctx) {
      try {
        await ctx.sleep(HOUR)
      } finally {
        await ctx.step('clean', () => oracle.hit('cleaned'))
      }
    },
  },
})

const worker = agent('worker', {
  state: () => ({ log: [] as string[] }),
  on: {
    async sleep(ctx) {
      ctx.state.log.push('begun')
      await ctx.sleep(HOUR)
      return 'slept'
    },
    async aborted(ctx) {
      await ctx.step('work', ({ signal }) => {
        oracle.hit('work')
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            oracle.hit(`aborted ${codeOf(signal.reason)}`)
            reject(signal.reason as Error)
          })
        })
      })
    },
    async call(ctx) {
      return ctx.ref(helper, 'h').slow()
    },
    async receive(ctx) {
      return (await ctx.receive('poke')).op
    },
    poke: () => {
      oracle.hit('poked')
    },
    /** All kinds at once, each caught and told in the order in which it was heard. */
    async all(ctx) {
      const told = async (name: string, wait: Promise<unknown>): Promise<void> => {
        const outcome = await wait.then(() => 'done', codeOf)
        ctx.state.log.push(`${name} ${outcome}`)
        await ctx.step(`after ${name}`, () => oracle.hit(`after ${name}`))
      }
      await Promise.all([
        told('sleep', ctx.sleep(HOUR)),
        told(
          'step',
          ctx.step('long', () => held.promise),
        ),
        told('receive', ctx.receive('poke')),
        told('call', ctx.call(ctx.ref(helper, 'h').slow())),
      ])
      await ctx.sleep(5_000)
      ctx.state.log.push('end')
      return ctx.state.log.length
    },
    async cleanup(ctx) {
      try {
        await ctx.sleep(HOUR)
      } catch (error) {
        await ctx.step('clean', () => oracle.hit('clean'))
        await ctx.sleep(5_000)
        oracle.hit('cleaned')
        throw error
      }
    },
    async busy(ctx) {
      await held.promise
      oracle.hit('free')
      await ctx.sleep(1)
      oracle.hit('slept')
    },
    async noWait() {
      await held.promise
      return 'whole'
    },
    async shield(ctx) {
      const saved = await ctx.shield(async () => {
        await ctx.sleep(1_000)
        await ctx.step('save', () => oracle.hit('save'))
        return 'saved'
      })
      ctx.state.log.push(saved)
      oracle.hit('left')
      await ctx.sleep(HOUR)
    },
    async store(ctx) {
      ctx.state.log.push('kept')
      await ctx.sleep(10)
      await ctx.checkpoint()
      oracle.hit('stored')
      ctx.state.log.push('lost')
      await ctx.sleep(HOUR)
    },
    async fail(ctx) {
      oracle.hit('try')
      await ctx.step('first', () => null)
      throw new Error('boom')
    },
    async took(ctx) {
      await ctx.receive('poke')
      oracle.hit('took')
      await ctx.sleep(HOUR)
    },
    log: (ctx) => ctx.state.log,
  },
})

async function begun(node: TestNode, op: string): Promise<void> {
  await world.until(() => node.written().some((entry) => entry.k === 'accepted' && entry.message.op === op), op)
  await world.advance(20)
}

const ends = (node: TestNode): string[] =>
  node.written().flatMap((entry) => (entry.k === 'end' ? [`${entry.op} ${entry.how}`] : []))

test('[Y1] the caller of a cancelled operation hears CANCELLED with the reason, and its state is dropped', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').sleep())
  await begun(node, 'sleep')
  expect(await world.run(handle.cancel('too late'))).toBe(true)
  const error = await world.refusal(handle.result())
  expect(error.code).toBe('CANCELLED')
  expect(error.message).toContain('too late')
  expect(ends(node)).toEqual(['sleep cancelled'])
  expect(node.seen('turn:stop').at(-1)).toMatchObject({ op: 'sleep', outcome: 'cancelled' })
  expect(await node.call(node.ref(worker, 'w').log())).toEqual([])
  expect(await world.run(handle.cancel())).toBe(false)
})

test('[Y1] a message that has not begun is taken back; its caller hears CANCELLED', async () => {
  const node = await world.node('a', [worker, helper])
  const first = await node.start(node.ref(worker, 'w').busy())
  await world.settle()
  const second = await node.start(node.ref(worker, 'w').fail())
  await world.run(second.cancel('not wanted'))
  expect((await world.refusal(second.result())).code).toBe('CANCELLED')
  held.open()
  await world.run(first.result())
  expect(oracle.count('try')).toBe(0)
  const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['worker/w'])
  expect(counts.get('worker/w') ?? 0).toBe(0)
})

test('[Y1] an operator cancels by message id, audited, and repeats it without harm', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').cleanup())
  await begun(node, 'cleanup')
  const act = { actor: 'operator:ana', reason: 'wrong order' }
  await world.run(node.control.cancel('worker/w', handle.messageId, act))
  await world.run(node.control.cancel('worker/w', handle.messageId, act))
  await world.until(() => oracle.count('cleaned') === 1, 'the cleanup')
  const error = await world.refusal(handle.result())
  expect(error.message).toContain('operator:ana')
  expect(error.message).toContain('wrong order')
  await world.run(node.control.cancel('worker/w', handle.messageId, act))
  await world.settle()
  oracle.expectStep('clean').once()
  expect(node.written().filter((entry) => entry.k === 'cancel')).toHaveLength(1)
  const audits = node.seen('audit').filter(({ verb }) => verb === 'cancel')
  expect(audits).toHaveLength(3)
  expect(audits[0]).toMatchObject({ target: 'worker/w', actor: 'operator:ana', reason: 'wrong order' })
  const refused = await world.refusal(node.control.cancel('worker/none', 'm', act))
  expect(refused.code).toBe('PROCESS_NOT_FOUND')
  const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['worker/w'])
  expect(counts.get('worker/w') ?? 0).toBe(0)
})

test('[Y1] a parked turn hears of it, on whatever node', async () => {
  const a = await world.node('a', [parker])
  const handle = await a.start(a.ref(parker, 'w').cleanup())
  await begun(a, 'cleanup')
  await world.until(() => a.core.kernel.find('parker/w') === undefined, 'parking')
  await a.stop()
  const b = await world.node('b', [parker])
  const again = await world.run(b.core.messenger.handle('parker/w', handle.key))
  await world.run(again.cancel())
  await world.until(() => oracle.count('cleaned') === 1, 'the cleanup')
  expect((await world.refusal(again.result())).code).toBe('CANCELLED')
})

test('[Y1] a turn that is parked here hears of it at once', async () => {
  const node = await world.node('a', [parker])
  const handle = await node.start(node.ref(parker, 'w').cleanup())
  await begun(node, 'cleanup')
  await world.until(() => node.core.kernel.find('parker/w') === undefined, 'parking')
  await world.run(handle.cancel())
  await world.advance(50)
  oracle.expectStep('cleaned').once()
})

test('[Y1] a request that meets an end which is then refused is heard by the turn that runs again', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').busy())
  await world.settle()
  const row = newMessage({
    ...{ id: 'c', target: 'worker/w', kind: 'cancel', op: handle.messageId, args: cancelArgs('late'), sender: null },
    ...{ n: 0, lineage: NO_LINEAGE },
  })
  const { store } = node.core.backend.handle
  const [ord = 0] = await world.run(store.enqueue(node.core.node, [row]))
  let isFirst = true
  node.faults.plan(({ method, batch }) => {
    if (method !== 'commit' || !isFirst || !batch.some(({ payload }) => payload.includes('"how":"done"')))
      return undefined
    isFirst = false
    // The end is on its way, and nobody knows yet what becomes of it.
    node.core.layer.deliver({ ...row, ord, at: world.clock.now(), attempts: 0, recoveries: 0 })
    return { kind: 'fail', failure: 'rejected' }
  })
  held.open()
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['worker/w'])
  expect(counts.get('worker/w') ?? 0).toBe(0)
})

test('[Y1] a request that was stored is not lost with the node that stored it', async () => {
  const a = await world.node('a', [worker, helper])
  const handle = await a.start(a.ref(worker, 'w').cleanup())
  await begun(a, 'cleanup')
  a.faults.plan(({ method }) => (method === 'enqueue' ? { kind: 'die', when: 'after' } : undefined))
  void handle.cancel('gone').catch(() => {})
  await world.until(() => a.dead, 'the death')
  const b = await world.node('b', [worker, helper])
  await world.until(() => oracle.count('cleaned') === 1, 'the cleanup on b')
  oracle.expectStep('clean').once()
  const again = await world.run(b.core.messenger.handle('worker/w', handle.key))
  expect((await world.refusal(again.result())).code).toBe('CANCELLED')
})

test('[Y1] of a cancellation and an end that meet, one counts', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').noWait())
  await world.settle()
  const asked = handle.cancel()
  held.open()
  await world.run(asked)
  expect(await world.run(handle.result())).toBe('whole')
  await world.settle()
  const counts = await node.core.backend.handle.archive.mailboxCounts('default', ['worker/w'])
  expect(counts.get('worker/w') ?? 0).toBe(0)
})

test('[Y1] of what is buried nothing comes; a turn that crashes after the request is not tried again', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').fail())
  await world.until(() => oracle.count('try') === 3, 'the attempts')
  expect((await world.refusal(handle.result())).code).toBe('DEAD_LETTERED')
  await world.run(node.control.cancel('worker/w', handle.messageId, { actor: 'test' }))
  await world.settle()
  expect(node.seen('dead-letter')).toHaveLength(1)
  const again = await node.start(node.ref(worker, 'v').fail())
  await world.until(() => oracle.count('try') === 4, 'the first attempt')
  await world.run(again.cancel())
  const error = await world.refusal(again.result())
  expect(error).toMatchObject({ code: 'CANCELLED', cause: { message: 'boom' } })
  oracle.expectStep('try').times(5)
})

test('[Y2] a step is aborted, a receive and a call are over, and the call is withdrawn', async () => {
  const node = await world.node('a', [worker, helper])
  const hold = node.ref(helper, 'h').slow()
  const other = node.start(hold)
  await other
  for (const op of ['aborted', 'receive', 'call'] as const) {
    const handle = await node.start(node.ref(worker, op)[op]())
    await begun(node, op)
    await world.run(handle.cancel())
    expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  }
  expect(oracle.log).toEqual(['work', 'aborted CANCELLED'])
  held.open()
  await world.run((await other).result())
  await world.advance(100)
  expect(await node.stored('helper/h')).toEqual({ done: 1 })
  expect(node.core.kernel.find('helper/h')?.mailboxLength).toBe(0)
})

test('[Y2] every open request hears of it, once, and a replay binds the same way', async () => {
  const a = await world.node('a', [worker, helper])
  const handle = await a.start(a.ref(worker, 'w').all())
  await begun(a, 'all')
  await world.run(handle.cancel())
  await world.until(() => oracle.log.length === 4, 'all that is told')
  const order = [...oracle.log]
  a.kill()
  const b = await world.node('b', [worker, helper])
  const again = await world.run(b.core.messenger.handle('worker/w', handle.key))
  expect(await world.run(again.result())).toBe(5)
  expect(await b.stored('worker/w')).toEqual({
    log: ['sleep CANCELLED', 'step CANCELLED', 'receive CANCELLED', 'call CANCELLED', 'end'],
  })
  expect(oracle.log).toEqual(order)
})

test('[Y2] code that waits for something else hears of it at its next request, which does not begin', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').busy())
  await world.settle()
  await world.run(handle.cancel())
  await world.advance(50)
  held.open()
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  expect(oracle.log).toEqual(['free'])
})

test('[Y2] after it was heard all verbs work, also when the node dies in the cleanup', async () => {
  const a = await world.node('a', [worker, helper])
  const handle = await a.start(a.ref(worker, 'w').cleanup())
  await begun(a, 'cleanup')
  await world.run(handle.cancel())
  await world.until(() => oracle.count('clean') === 1, 'the cleanup')
  await world.advance(50)
  a.kill()
  const b = await world.node('b', [worker, helper])
  await world.until(() => oracle.count('cleaned') === 1, 'the end of the cleanup')
  oracle.expectStep('clean').once()
  await world.until(() => ends(b).includes('cleanup cancelled'), 'the end')
})

test('[Y2] what a cancelled turn received goes back, and its own handler gets it', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').took())
  await begun(node, 'took')
  await node.call(node.send(node.ref(worker, 'w').poke()))
  await world.until(() => oracle.count('took') === 1, 'the message')
  await world.advance(20)
  await world.run(handle.cancel())
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  await world.until(() => oracle.count('poked') === 1, 'the handler of the message')
})

test('[Y2] a caller in memory hears of it too', async () => {
  const node = await world.node('a', [worker, helper])
  const called = node.ref(worker, 'w').sleep()
  const outcome = called.then(() => 'done', codeOf)
  await begun(node, 'sleep')
  const accepted = node.written().find((entry) => entry.k === 'accepted')
  await world.run(node.control.cancel('worker/w', accepted?.k === 'accepted' ? accepted.turn : '', { actor: 'test' }))
  expect(await world.run(outcome)).toBe('CANCELLED')
})

test('[Y3] a checkpoint comes to its outcome first', async () => {
  const node = await world.node('a', [worker, helper])
  const handle = await node.start(node.ref(worker, 'w').store())
  await world.until(() => node.written().some((entry) => entry.k === 'due'), 'the sleep')
  const stored = gate()
  let isHeld = false
  node.faults.plan(({ method, batch }) => {
    if (method !== 'commit' || !batch.some(({ payload }) => payload.includes('"checkpoint"'))) return undefined
    isHeld = true
    return { kind: 'hold', until: stored.promise }
  })
  await world.until(() => isHeld, 'the checkpoint')
  await world.run(handle.cancel())
  await world.advance(20)
  stored.open()
  expect((await world.refusal(handle.result())).code).toBe('CANCELLED')
  oracle.expectStep('stored').once()
  expect(await node.stored('worker/w')).toEqual({ log: ['kept'] })
})

test.each(['alive', 'after a crash'] as const)('[Y3] a shielded section is left first, %s', async (how) => {
  const a = await world.node('a', [worker, helper])
  const handle = await a.start(a.ref(worker, 'w').shield())
  await begun(a, 'shield')
  await world.run(handle.cancel())
  await world.advance(100)
  if (how === 'after a crash') a.kill()
  const b = how === 'alive' ? a : await world.node('b', [worker, helper])
  await world.until(() => oracle.count('left') > 0, 'the end of the section')
  const again = await world.run(b.core.messenger.handle('worker/w', handle.key))
  expect((await world.refusal(again.result())).code).toBe('CANCELLED')
  oracle.expectStep('save').once()
})
