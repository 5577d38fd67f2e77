/** Processes that change hands: what one owner began or owed does not happen again, or out of order, at the next. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NO_CRASH } from '../../server/crash-point.ts'
import { agent } from '../../server/definition/agent.ts'
import type { Context } from '../../server/definition/context.ts'
import { Reject } from '../../server/definition/reject.ts'
import { TimerService } from '../../server/journal/timer-service.ts'
import type { NodeIdentity, Store } from '../../server/store/store.ts'
import { gate, Oracle, World } from '../support/runtime.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})

afterEach(() => world.close())

type Ctx = Context<{ done: string[] }>

const state = () => ({ done: [] as string[] })
const plain = agent('plain', { state, on: { add: (ctx: Ctx, name: string) => ctx.state.done.push(name) } })

function sessionLost(node: { core: { node: NodeIdentity } }): void {
  world.db?.sessions.delete(node.core.node.id)
}

/** Its first visit charges, waits for the gate, and crashes. */
function crashingShop() {
  const crash = gate()
  const shop = agent('shop', {
    state,
    on: {
      async work(ctx: Ctx, name: string) {
        await ctx.step('charge', () => oracle.hit('charge'))
        if (oracle.hit('visit') === 1) {
          await crash.promise
          throw new Error('too late')
        }
        ctx.state.done.push(name)
      },
    },
  })
  return { shop, crash }
}

describe('a process that is lost to another node', () => {
  test('[N1] what crashed here, and was taken over before that was stored, is not begun again', async () => {
    const { shop, crash } = crashingShop()
    const a = await world.node('a', [shop])
    const called = world.refusal(a.ref(shop, 'k').work('tea'))
    await world.until(() => oracle.count('visit') === 1)
    sessionLost(a)
    const b = await world.node('b', [shop])
    await world.until(async () => ((await b.stored('shop/k')) as { done: string[] }).done.length === 1)
    crash.open()
    expect(await called).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
    await world.advance(10_000)
    expect(await b.stored('shop/k')).toEqual({ done: ['tea'] })
    oracle.expectStep('charge').once()
    expect(await a.call(a.ref(shop, 'k').work('more'))).toBeNull()
  })

  test('[M1] a message that came during a claim and was handled elsewhere before is not begun again', async () => {
    const shop = agent('shop', {
      state,
      on: {
        async work(ctx: Ctx, name: string) {
          await ctx.step('charge', () => oracle.hit(name))
          ctx.state.done.push(name)
        },
      },
      passivateAfterMs: 500,
    })
    const a = await world.node('a', [shop])
    const slow = gate()
    a.faults.next('claim', { kind: 'hold', until: slow.promise })
    await world.run(a.send(a.ref(shop, 'k').work('first')))
    await world.run(a.send(a.ref(shop, 'k').work('second')))
    const b = await world.node('b', [shop])
    await world.until(() => oracle.count('second') === 1)
    await world.until(() => b.core.kernel.find('shop/k') === undefined)
    slow.open()
    await world.until(() => a.core.kernel.find('shop/k') !== undefined)
    await world.run(a.send(a.ref(shop, 'k').work('third')))
    await world.until(() => oracle.count('third') === 1)
    expect(oracle.log).toEqual(['first', 'second', 'third'])
  })

  test('[M5] what an earlier owner of the sender told nobody comes before what the next one sends', async () => {
    const sender = agent('sender', {
      state,
      on: { go: (ctx: Ctx, name: string) => ctx.send(ctx.ref(plain, 'r').add(name)) },
      passivateAfterMs: 500,
    })
    const a = await world.node('a', [sender, plain])
    const b = await world.node('b', [sender, plain])
    await b.call(b.ref(plain, 'r').add('0'))
    await a.call(a.ref(sender, 's').go('1'))
    await world.until(async () => ((await b.stored('plain/r')) as { done: string[] }).done.length === 2)
    const { id } = b.core.node
    const deaf = world.db?.sessions.get(id)
    world.db?.sessions.delete(id)
    await a.call(a.ref(sender, 's').go('2'))
    if (deaf !== undefined) world.db?.sessions.set(id, deaf)
    await world.until(() => a.core.kernel.find('sender/s') === undefined)
    await b.call(b.ref(sender, 's').go('3'))
    await world.until(async () => ((await b.stored('plain/r')) as { done: string[] }).done.length === 4)
    expect(await b.stored('plain/r')).toEqual({ done: ['0', '1', '2', '3'] })
  })

  test('[N2] a refusal of an epoch that is over does not end the next one', async () => {
    const a = await world.node('a', [plain])
    const { epoch } = a.core.node
    const late = gate()
    let asked = 0
    a.faults.plan(({ method, args: [node] }) => {
      const first = method === 'epochAlive' && (node as NodeIdentity).epoch === epoch // Store.epochAlive
      return first && ++asked === 1 ? { kind: 'hold', until: late.promise } : undefined
    })
    await a.call(a.ref(plain, 'k').add('before'))
    sessionLost(a)
    await world.node('b', [])
    void a
      .ref(plain, 'k')
      .add('lost')
      .catch(() => {})
    await world.until(() => asked > 0)
    await world.until(() => a.core.node.epoch !== epoch)
    const next = a.core.node.epoch
    late.open()
    await world.settle()
    expect(a.core.node.epoch).toBe(next)
  })

  test('[N2] what waits behind a row that was stored as the epoch ended is given up', async () => {
    const a = await world.node('a', [plain])
    const { epoch } = a.core.node
    await a.call(a.ref(plain, 'k').add('before'))
    a.faults.next('commit', { kind: 'lost' })
    a.faults.plan(({ method }) =>
      method === 'orphans' || (method === 'heads' && a.core.node.epoch === epoch)
        ? { kind: 'fail', failure: 'unavailable' }
        : undefined,
    )
    const called = a.ref(plain, 'k').add('stored').run({ timeoutMs: 30_000 })
    await world.advance(10)
    const process = a.core.kernel.find('plain/k') ?? expect.fail('The process is in memory.')
    a.core.kernel.kill(process, { redeliver: true })
    sessionLost(a)
    await world.node('b', [])
    await world.run(called)
    await world.until(() => a.core.node.epoch !== epoch)
    await a.call(a.ref(plain, 'k').add('after'))
    expect(await a.stored('plain/k')).toEqual({ done: ['before', 'stored', 'after'] })
  })

  test('[N2] what did not pass under its epoch passes under no later one', async () => {
    const a = await world.node('a', [plain])
    const { epoch } = a.core.node
    await a.call(a.ref(plain, 'k').add('before'))
    // Recovery would claim it anew, which would end the row as well.
    a.faults.plan(({ method }) =>
      method === 'orphans' || (method === 'commit' && a.core.node.epoch === epoch)
        ? { kind: 'fail', failure: 'unavailable' }
        : undefined,
    )
    const called = world.refusal(a.ref(plain, 'k').add('lost').run({ timeoutMs: 30_000 }))
    sessionLost(a)
    await world.node('b', [])
    expect(await called).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
    expect(a.core.node.epoch).not.toBe(epoch)
    expect(await a.stored('plain/k')).toEqual({ done: ['before'] })
  })
})

describe('a process whose node drains', () => {
  test('[N1] a call that crashes meanwhile goes on elsewhere, and is not handed on as well', async () => {
    const { shop, crash } = crashingShop()
    const a = await world.node('a', [shop])
    const b = await world.node('b', [shop])
    const called = world.refusal(a.ref(shop, 'k').work('tea'))
    await world.until(() => oracle.count('visit') === 1)
    const stopped = a.stop()
    crash.open()
    await stopped
    expect(await called).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
    await world.until(async () => ((await b.stored('shop/k')) as { done: string[] }).done.length > 0)
    await world.advance(5_000)
    expect(await b.stored('shop/k')).toEqual({ done: ['tea'] })
    oracle.expectStep('charge').once()
  })
})

describe('a process whose owner died', () => {
  test('[N8] an operator starts a stopped process again whose node died with it', async () => {
    const a = await world.node('a', [plain])
    await a.call(a.ref(plain, 'k').add('before'))
    await a.core.backend.handle.store.setDesired(a.core.node, 'plain/k', 'stopped')
    a.kill()
    const b = await world.node('b', [plain])
    await world.advance(2_000)
    await world.run(b.control.resume('plain/k', { actor: 'operator:test' }))
    await b.call(b.ref(plain, 'k').add('after'))
    expect(await b.stored('plain/k')).toEqual({ done: ['before', 'after'] })
  })

  test('[M4] who waits for a result goes on waiting while the store is gone', async () => {
    const slow = gate()
    const shop = agent('shop', {
      state,
      on: { work: (ctx: Ctx) => ctx.step('s', () => slow.promise.then(() => 'done')) },
    })
    const a = await world.node('a', [shop])
    const handle = await a.start(a.ref(shop, 'k').work(), { idempotencyKey: 'key' })
    const over = a.faults.outage()
    const result = handle.result()
    await world.advance(3_000)
    over()
    slow.open()
    expect(await world.run(result)).toBe('done')
  })
})

describe('a process that leaves memory', () => {
  test('[J3] its claim is given back once the store can be reached again', async () => {
    const brief = agent('brief', { state, on: { add: () => {} }, passivateAfterMs: 500 })
    const a = await world.node('a', [brief])
    await a.call(a.ref(brief, 'k').add())
    a.faults.next('release', { kind: 'fail', failure: 'unavailable' }, 3)
    await world.until(() => a.faults.counts.get('release') === 4)
    await world.advance(10)
    expect(world.db?.find('default', 'brief/k')).toMatchObject({ owner: null })
  })
})

describe('a process that stays', () => {
  test('[M8] a received message goes back once, also when its mailbox is read meanwhile', async () => {
    const picky = agent('picky', {
      state,
      on: {
        async work(ctx: Ctx) {
          await ctx.receive('note')
          throw new Reject('not that')
        },
        note: (ctx: Ctx, name: string) => ctx.state.done.push(name),
      },
    })
    const a = await world.node('a', [picky])
    const called = world.refusal(a.ref(picky, 'k').work())
    await world.until(() => a.written().some(({ k }) => k === 'accepted'))
    const slow = gate()
    a.faults.plan(({ method, batch }) =>
      method === 'commit' && batch.some(({ payload }) => payload.includes('rejected'))
        ? { kind: 'hold', until: slow.promise }
        : undefined,
    )
    await world.run(a.send(a.ref(picky, 'k').note('n')))
    await world.advance(50)
    a.core.layer.reread('picky/k')
    await world.advance(50)
    slow.open()
    expect(await called).toMatchObject({ code: 'CALL_REJECTED' })
    await world.settle()
    expect(await a.stored('picky/k')).toEqual({ done: ['n'] })
  })

  test('[W2] a turn that was parked and became a dead letter leaves no timer', async () => {
    const doomed = agent('doomed', {
      state,
      on: {
        async work(ctx: Ctx) {
          await ctx.receive('go', { timeoutMs: 600_000 })
          throw new Error('never')
        },
        go: () => {},
      },
      maxAttempts: 1,
      passivateAfterMs: 500,
    })
    const a = await world.node('a', [doomed])
    await world.run(a.send(a.ref(doomed, 'k').work()))
    const timers = (): number => [...(world.db?.timers.values() ?? [])].flatMap((list) => [...list.keys()]).length
    await world.until(() => timers() === 1 && a.core.kernel.find('doomed/k') === undefined)
    await world.run(a.send(a.ref(doomed, 'k').go()))
    await world.until(() => world.db?.deadLetters.size === 1)
    expect(timers()).toBe(0)
  })

  test('[V5] a node whose clock is ahead of the store does not ask for due timers all the time', async () => {
    const clock = new VirtualClock()
    const due = clock.now() + 500
    let asked = 0
    const store = {
      fireTimers: async () => {
        asked += 1
        return []
      },
      nextTimer: async () => due,
    } as unknown as Store // of which the service needs no more
    const timers = new TimerService({
      ...{ store, clock, crash: NO_CRASH, clockOffset: () => 1_000, loads: () => 0, deliver: () => {} },
      ...{
        node: () => ({ id: 1, epoch: 1, name: 'a', namespace: 'default' }),
        failed: () => {},
        mayHaveLost: () => {},
      },
    })
    timers.start()
    await clock.advance(200)
    timers.close()
    expect(asked).toBeGreaterThan(5)
    expect(asked).toBeLessThan(50)
  })
})

test('[D11] a spawned child whose node drains before it has begun is begun elsewhere', async () => {
  const child = agent('child', {
    state,
    on: { note: () => null },
    activated(ctx) {
      if (ctx.state.done.length === 0) ctx.state.done.push('begun')
    },
  })
  const on = { note: () => null, bear: (ctx: Ctx) => void ctx.spawn(child, 'c') }
  const parent = agent('parent', { state, on })
  const a = await world.node('a', [parent, child])
  await a.call(a.ref(parent, 'p').note())
  const loading = gate()
  let held = false
  a.faults.plan(({ method }) => {
    if (method !== 'load') return undefined
    held = true
    return { kind: 'hold', until: loading.promise }
  })
  await a.call(a.ref(parent, 'p').bear())
  await world.until(() => held, 'the child is loaded')
  const stopping = a.core.stop()
  await world.settle()
  loading.open()
  await world.run(stopping)
  const b = await world.node('b', [parent, child])
  await world.until(async () => ((await b.stored('child/c')) as { done: string[] } | undefined)?.done.length === 1)
})

test('[P5] a node that leaves before it looked leaves the look to whoever takes over', async () => {
  const watcher = agent('watcher', {
    state,
    on: { watch: (ctx: Ctx) => void ctx.monitor('plain/nobody') },
    onDown: (ctx, { reason }) => void ctx.state.done.push(reason.kind),
  })
  const a = await world.node('a', [watcher, plain], { drainMs: 500 })
  const leaving = gate()
  a.faults.plan(({ method }) => {
    if (method === 'sweepTies') return { kind: 'fail', failure: 'unavailable' }
    return method === 'leave' ? { kind: 'hold', until: leaving.promise } : undefined
  })
  await a.call(a.ref(watcher, 'w').watch())
  const stopping = a.core.stop()
  await world.until(() => a.faults.counts.get('leave') === 1, 'it is about to leave')
  await world.advance(400) // the next try to look would come now
  leaving.open()
  await world.run(stopping)
  const b = await world.node('b', [watcher, plain])
  const heard = async () => ((await b.stored('watcher/w')) as { done: string[] }).done.length
  await world.until(async () => (await heard()) > 0, 'it is heard of')
  expect(await b.stored('watcher/w')).toEqual({ done: ['noproc'] })
})
