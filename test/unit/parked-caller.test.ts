/** Who waits for parked turns: remembered while they wait, and not without end. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { CALLERS_MAX, LOOK_MIN, ParkedCallers } from '../../server/journal/parked-caller.ts'
import { PendingCall } from '../../server/kernel/call.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

const call = (): PendingCall => {
  const pending = new PendingCall(null, 'sleeper/k', 'nap')
  pending.promise.catch(() => {})
  return pending
}

test('[W2] callers of parked turns that gave up are forgotten', () => {
  const callers = new ParkedCallers()
  const waiting = call()
  callers.add('waits', waiting)
  for (let i = 0; i < 3 * LOOK_MIN; i++) {
    const pending = call()
    callers.add(`${i}`, pending)
    pending.resolve(null)
  }
  expect(callers.size).toBeLessThan(LOOK_MIN)
  expect(callers.take('waits')).toBe(waiting)
  expect(callers.take('waits')).toBeNull()
})

test('[W2] callers of parked turns are bounded, the oldest are forgotten first', () => {
  const callers = new ParkedCallers()
  const waiting = call()
  for (let i = 0; i <= CALLERS_MAX; i++) callers.add(`${i}`, waiting)
  expect(callers.size).toBeLessThanOrEqual(CALLERS_MAX)
  expect([callers.take('0'), callers.take(`${CALLERS_MAX}`)]).toEqual([null, waiting])
})

const sleeper = agent('sleeper', {
  state: () => ({ n: 0 }),
  on: { nap: (ctx, ms: number) => ctx.sleep(ms) },
  passivateAfterMs: 1_000,
})

test('[W2] a caller whose patience ended is not kept when its turn is parked', async () => {
  const node = await world.node('a', [sleeper])
  const asked = node.ref(sleeper, 'k').nap(600_000).run({ timeoutMs: 100 })
  expect((await world.refusal(asked)).code).toBe('CALL_TIMEOUT')
  await world.until(() => node.core.kernel.find('sleeper/k') === undefined)
  expect(node.core.layer.parking.callers.size).toBe(0)
})

test('[K20] a caller of a parked turn, and who waits for its result, hear that the runtime stopped', async () => {
  const node = await world.node('a', [sleeper])
  const asked = node.ref(sleeper, 'k').nap(600_000).run({ timeoutMs: 3_000_000 })
  const heard = asked.then(
    () => 'done',
    (error: { code: string }) => error.code,
  )
  const handle = await node.start(node.ref(sleeper, 'h').nap(600_000))
  const result = handle.result().then(
    () => 'done',
    (error: { code: string }) => error.code,
  )
  await world.until(() => node.core.kernel.find('sleeper/k') === undefined)
  await node.stop()
  expect(await world.run(Promise.all([heard, result]))).toEqual(['RUNTIME_STOPPED', 'RUNTIME_STOPPED'])
})

test('[K20] a call whose message cannot be kept any more hears that the runtime stopped', async () => {
  const node = await world.node('a', [sleeper])
  await node.call(node.send(node.ref(sleeper, 'k').nap(600_000)))
  await world.until(() => node.core.kernel.find('sleeper/k')?.busy === true)
  const asked = node.ref(sleeper, 'k').nap(1).run({ timeoutMs: 3_000_000 })
  const heard = asked.then(
    () => 'done',
    (error: { code: string }) => error.code,
  )
  await world.until(() => node.core.kernel.find('sleeper/k')?.mailboxLength === 1)
  node.faults.next('enqueue', { kind: 'fail', failure: 'unavailable' }, 99)
  await node.stop()
  expect(node.faults.counts.get('enqueue')).toBeGreaterThan(0)
  expect(await world.run(heard)).toBe('RUNTIME_STOPPED')
})

test('[K20] so do callers of what is busy, and of what is suspended, at the end of a drain', async () => {
  const door = gate()
  const desk = agent('desk', {
    durability: 'ephemeral',
    state: () => ({}),
    on: { wait: () => door.promise },
  })
  const worker = agent('worker', {
    state: () => ({}),
    on: { wait: (ctx) => ctx.step('wait', () => door.promise), quick: () => null },
  })
  const node = await world.node('a', [worker, desk], { drainMs: 100 })
  const code = (error: { code: string }): string => error.code
  await node.call(node.ref(worker, 's').quick())
  await world.run(node.control.suspend('worker/s', { actor: 'operator:test' }))
  const asked = [
    node.ref(worker, 'b').wait(),
    node.ref(worker, 'b').quick(),
    node.ref(worker, 's').quick(),
    node.ref(desk, 'e').wait(),
    node.ref(desk, 'e').wait(),
  ].map((call) => call.run({ timeoutMs: 3_000_000 }).then(() => 'done', code))
  await world.until(() => node.core.kernel.find('worker/b')?.wait?.kind === 'step')
  await world.until(() => node.core.kernel.find('desk/e')?.mailboxLength === 1)
  const stopped = node.stop()
  // Whoever comes now, to what still stands, is not made to wait for the end.
  const late = (): Promise<string> =>
    node
      .ref(worker, 's')
      .quick()
      .run()
      .then(() => 'done', code)
  expect(await late()).toBe('NODE_DRAINING')
  await stopped
  expect(await late()).toBe('RUNTIME_STOPPED')
  expect(await world.run(Promise.all(asked))).toEqual(asked.map(() => 'RUNTIME_STOPPED'))
  door.open()
})

test('[K20] a turn in hand reaches others by the runtime while that drains', async () => {
  const door = gate()
  const desk = agent('desk', { durability: 'ephemeral', state: () => ({}), on: { ping: () => 'pong' } })
  const worker = agent('worker', {
    state: () => ({ heard: '' }),
    on: {
      async work(ctx) {
        await ctx.step('wait', () => door.promise)
        ctx.state.heard = await ctx.step('ask', () => node.ref(desk, 'd').ping().run())
      },
    },
  })
  const node: TestNode = await world.node('a', [worker, desk], { drainMs: 5_000 })
  await node.call(node.ref(desk, 'd').ping())
  await node.send(node.ref(worker, 'w').work())
  await world.until(() => node.core.kernel.find('worker/w')?.wait?.kind === 'step')
  const stopped = node.stop()
  await world.advance(50)
  expect(node.core.state).toBe('draining')
  door.open()
  await stopped
  const next = await world.node('b', [worker])
  expect(await next.stored('worker/w')).toEqual({ heard: 'pong' })
})

test('[K20] who waits for one that waits for another hears the same', async () => {
  const back = agent('back', { durability: 'ephemeral', state: () => ({}), on: { wait: () => new Promise(() => {}) } })
  const front = agent('front', {
    durability: 'ephemeral',
    state: () => ({}),
    on: { ask: (ctx) => ctx.ref(back, 'b').wait().run({ timeoutMs: 600_000 }) },
  })
  const node = await world.node('a', [back, front], { drainMs: 100 })
  const heard = node
    .ref(front, 'f')
    .ask()
    .run({ timeoutMs: 3_000_000 })
    .then(
      () => 'done',
      (error: { code: string }) => error.code,
    )
  await world.until(() => node.core.kernel.find('back/b')?.busy === true)
  await node.stop()
  expect(await world.run(heard)).toBe('RUNTIME_STOPPED')
})
