/** The end of a pool whose members live: who goes with it, and who is reachable afterwards. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import { Bench } from '../support/kernel-bench.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:test', reason: 'pk' }

const cart = agent('cart', {
  state: () => ({ n: 0 }),
  on: { add: (ctx) => ++ctx.state.n },
})

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

async function reborn(node: TestNode, id: string, incarnation: number): Promise<void> {
  await world.until(() => {
    const process = node.core.kernel.find(id)
    return process?.incarnation === incarnation && process.status === 'idle'
  }, `incarnation ${incarnation} of ${id}`)
}

test('[S64] a killed pool takes its members along; each is reachable at once by call, send and restart', async () => {
  const root = supervisor('top', { strategy: 'one_for_one', children: [pool(cart)] })
  const node = await world.node('a', [cart], { root })
  for (const key of ['a', 'b', 'c', 'd']) await node.call(node.ref(cart, key).add())
  const before = node.core.kernel.find('cart/d')
  await node.call(node.control.kill('pool/cart', act))
  // Sent and asked while the ends of the members are on their way to the store.
  const early = node.ref(cart, 'a').add()
  expect(await node.call(early)).toBe(2)
  await reborn(node, 'pool/cart', 2)
  await node.call(node.send(node.ref(cart, 'b').add()))
  await world.until(async () => JSON.stringify(await node.stored('cart/b')) === '{"n":2}')
  expect(await node.call(node.control.restart('cart/c', act))).toMatchObject({ id: 'cart/c', incarnation: 2 })
  expect(await node.call(node.ref(cart, 'c').add())).toBe(2)
  expect(before?.alive).toBe(false)
  expect(node.seen('failure').map((event) => event.decision)).toEqual(Array(4).fill('end'))
  expect(node.core.kernel.find('cart/d')).toBeUndefined()
  expect(await node.call(node.ref(cart, 'd').add())).toBe(2)
  expect(node.core.kernel.find('cart/d')?.incarnation).toBe(2)
})

test('[S64] a restart of a member that is still ending with its killed pool waits for that end', async () => {
  const root = supervisor('top', { strategy: 'one_for_one', children: [pool(cart)] })
  const node = await world.node('a', [cart], { root })
  await node.call(node.ref(cart, 'a').add())
  const killed = node.control.kill('pool/cart', act)
  await Promise.resolve()
  const again = node.control.restart('cart/a', act)
  await node.call(killed)
  expect(await node.call(again)).toMatchObject({ id: 'cart/a', incarnation: 2 })
  expect(await node.call(node.ref(cart, 'a').add())).toBe(2)
})

test('[S64] an accepted turn of a killed pool goes on, and its caller here gets the answer', async () => {
  const open = gate()
  let runs = 0
  let waiting = false
  const slow = agent('slow', {
    state: () => ({}),
    on: {
      async work(ctx) {
        await ctx.step('look', () => ++runs)
        await ctx.step('wait', () => {
          waiting = true
          return open.promise
        })
        return 'done'
      },
    },
  })
  const node = await world.node('a', [slow])
  const answer = node.ref(slow, 's').work()
  const done = answer.then((value) => value)
  await world.until(() => waiting)
  await world.advance(100)
  await node.call(node.control.kill('pool/slow', act))
  await world.until(() => (node.core.kernel.find('slow/s')?.incarnation ?? 0) === 2)
  open.open()
  expect(await world.run(done)).toBe('done')
  expect(runs).toBe(1)
})

test('[S64] ephemeral members that end in order after the kill of their pool leave nothing behind', async () => {
  const bench = new Bench()
  const leave = gate()
  const w = bench.pool({
    behaviour: bench.behaviour({
      on: { hold: (ctx) => bench.kernel.setTrapExit(ctx.process, true) },
      terminate: () => leave.promise,
    }),
  })
  const again = bench.kernel.spawn.bind(bench.kernel)
  const member = w.ensure('k')
  bench.send('w/k', 'hold')
  await bench.settle()
  bench.kernel.kill(w.process, { redeliver: true })
  const { id, key, agent: name, kind, behaviour } = w.process
  again({ id, key, agent: name, kind, behaviour, parent: null })
  await bench.settle()
  expect(member.alive).toBe(true)
  leave.open()
  await bench.settle()
  expect(bench.kernel.find('w/k')).toBeUndefined()
})
