/** Parallel calls of one operation to one process: told apart by a key, bound on a replay as they were first. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, Oracle, type TestNode, World } from '../support/runtime.ts'

let world: World
let oracle: Oracle
let held = gate()
beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
  held = gate()
})
afterEach(() => world.close())

const lender = agent('lender', {
  state: () => ({ lent: [] as string[] }),
  on: {
    /** The first one takes the second out of the mailbox and answers it first. */
    async lend(ctx, what: string) {
      const other = await ctx.receive<string>('lend')
      other.reply(`${other.message} early`)
      ctx.state.lent.push(other.message, what)
      await ctx.checkpoint()
      await ctx.sleep(1_000)
      return `${what} late`
    },
    put: (ctx, what: string) => {
      ctx.state.lent.push(what)
      return ctx.state.lent.length
    },
  },
  queries: { holds: (state, what: string) => state.lent.includes(what) },
})

const reader = agent('reader', {
  state: () => ({ log: [] as unknown[] }),
  on: {
    async both(ctx) {
      const take = async (key: string): Promise<void> => {
        ctx.state.log.push(await ctx.call(ctx.ref(lender, 'l').lend(key), { key, timeoutMs: 60_000 }))
        await ctx.step(`had ${key}`, () => oracle.hit(key))
      }
      await Promise.all([take('a'), take('b')])
      await ctx.step('hold', () => held.promise)
      ctx.state.log.push('end')
    },
    async ask(ctx) {
      const asked = ['a', 'x'].map((key) => ctx.call(ctx.ref(lender, 'l').holds(key), { key }))
      ctx.state.log.push(...(await Promise.all(asked)))
    },
    async plain(ctx) {
      const ref = ctx.ref(lender, 'l')
      ctx.state.log.push(...(await Promise.allSettled([ref.put('a'), ref.put('b')])).map(({ status }) => status))
    },
    async twice(ctx) {
      const ref = ctx.ref(lender, 'l')
      await Promise.all([ctx.call(ref.put('a'), { key: 'k' }), ctx.call(ref.put('b'), { key: 'k' })])
    },
    async again(ctx) {
      const ref = ctx.ref(lender, 'l')
      for (const what of ['a', 'b']) ctx.state.log.push(await ctx.call(ref.put(what), { key: 'same' }))
    },
    async bad(ctx) {
      await ctx.call(ctx.ref(lender, 'l').put('a'), { key: '' })
    },
    log: (ctx) => ctx.state.log,
  },
  maxAttempts: 1,
})

const log = (node: TestNode): Promise<unknown> => node.call(node.ref(reader, 'r').log())

test('[T5][M2] two calls of one operation to one process run at once; a replay binds them as they were', async () => {
  const a = await world.node('a', [reader, lender])
  await a.send(a.ref(reader, 'r').both())
  await world.until(() => oracle.count('a') === 1, 'both answers')
  a.kill()
  const b = await world.node('b', [reader, lender])
  held.open()
  await world.until(() => b.written().some((entry) => entry.k === 'end' && entry.op === 'both'), 'the end')
  expect(await log(b)).toEqual(['b early', 'a late', 'end'])
  oracle.expectStep('a').once()
  oracle.expectStep('b').once()
  expect(await b.stored('lender/l')).toEqual({ lent: ['b', 'a'] })
  expect(b.seen('process:diverge')).toEqual([])
})

test('[T5] parallel queries have keys too', async () => {
  const node = await world.node('a', [reader, lender])
  await node.call(node.ref(lender, 'l').put('a'))
  await node.call(node.ref(reader, 'r').ask())
  expect(await log(node)).toEqual([true, false])
})

test('[T5] without a key, or with one that is open, a second call is refused with what to write', async () => {
  const node = await world.node('a', [reader, lender])
  const refused = await world.refusal(node.ref(reader, 'r').twice())
  expect(refused.message).toContain('STEP_KEY_REQUIRED')
  await node.call(node.ref(reader, 'r').plain())
  expect(await log(node)).toEqual(['fulfilled', 'rejected'])
  expect((await world.refusal(node.ref(reader, 'r').bad())).message).toContain('Call key')
})

test('[T5] a key may be used again once its call is over', async () => {
  const node = await world.node('a', [reader, lender])
  await node.call(node.ref(reader, 'r').again())
  expect(await log(node)).toEqual([1, 2])
})
