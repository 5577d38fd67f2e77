/** Failures of durable processes, and what an operator wants of them: attempts, poison, kill loops, desired state. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import { recordOf } from '../../server/journal/durable.ts'
import { gate, Oracle, World } from '../support/runtime.ts'

/** Node deaths with a message in hand after which it is suspected. */
const SUSPECTED_POISON_RECOVERIES = 5

let world: World
let oracle: Oracle

beforeEach(() => {
  world = World.memory()
  oracle = new Oracle()
})
afterEach(() => world.close())

const act = { actor: 'test' }
const HOUR = 3_600_000

test('[M5] a mailbox that could not be read is read again, also when its process has left memory by then', async () => {
  const box = agent('box', {
    state: () => ({ n: 0 }),
    on: { add: (ctx) => ++ctx.state.n },
    passivateAfterMs: 1_000,
  })
  const a = await world.node('a', [box])
  const b = await world.node('b', [box])
  await a.call(a.ref(box, 'k').add())
  a.faults.next('messages', { kind: 'fail', failure: 'unavailable' }, 6)
  a.faults.next('release', { kind: 'fail', failure: 'unavailable' })
  await b.send(b.ref(box, 'k').add())
  await world.advance(10_000)
  expect(a.faults.counts.get('messages')).toBeGreaterThan(0)
  expect(await a.stored('box/k')).toEqual({ n: 2 })
})

describe('attempts', () => {
  const times: number[] = []
  const weak = agent('weak', {
    state: () => ({ n: 0 }),
    on: {
      crash(_ctx, name: string) {
        times.push(world.clock.now())
        oracle.hit(name)
        throw new Error(`bad \u0000 text \ud800 of ${name}`)
      },
      add: (ctx) => ++ctx.state.n,
      async hang(ctx) {
        oracle.hit('hang')
        await ctx.step('hang', () => new Promise(() => {}))
      },
    },
    maxAttempts: 4,
  })
  const waiting = agent('waiting', {
    state: () => ({ n: 0 }),
    passivateAfterMs: 'never',
    on: {
      async sleep(ctx, then: 'done' | 'hang') {
        await ctx.sleep(HOUR)
        if (then === 'hang') await ctx.step('hang', () => new Promise(() => {}))
        ctx.state.n += 1
      },
    },
  })

  test('[P1] a crashing message is tried maxAttempts times with growing waits, then it is buried', async () => {
    times.length = 0
    const node = await world.node('a', [weak])
    await node.call(node.ref(weak, 'k').add())
    const refused = await world.refusal(node.ref(weak, 'k').crash('x'))
    expect(refused.code).toBe('DEAD_LETTERED')
    const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0))
    expect(waits).toEqual([50, 100, 200])
    const { archive } = node.core.backend.handle
    const [letter] = await archive.deadLetters('default', { limit: 10 })
    const failures = await archive.failures('default', { process: 'weak/k', limit: 10 })
    expect(failures.map((failure) => failure.decision)).toEqual(['dead-letter', 'retry', 'retry', 'retry'])
    expect(failures.map((failure) => failure.id)).toContain(letter?.failureId)
    expect(await node.call(node.ref(weak, 'k').add())).toBe(2)
  })

  test('[P1] crashes inside messages cost the supervisor nothing: other messages go on', async () => {
    const node = await world.node('a', [weak])
    for (let i = 0; i < 6; i++) await node.call(node.send(node.ref(weak, 'k').crash(`m${i}`)))
    expect(await node.call(node.send(node.ref(weak, 'k').add()))).toBeTypeOf('string')
    await world.until(async () => JSON.stringify(await node.stored('weak/k')) === '{"n":1}')
    for (let i = 0; i < 6; i++) expect(oracle.count(`m${i}`)).toBe(4)
    expect(node.seen('supervisor:give-up')).toEqual([])
  })

  test('[P3] incarnation rises on crash and kill, not on passivation, move and recovery', async () => {
    const a = await world.node('a', [weak])
    await a.call(a.ref(weak, 'k').add())
    await a.call(a.control.kill('weak/k', act))
    await a.call(a.ref(weak, 'k').add())
    expect(a.core.kernel.find('weak/k')?.incarnation).toBe(2)
    const process = a.core.kernel.find('weak/k')
    expect(process !== undefined && a.core.layer.passivate(process)).toBe(true)
    await a.call(a.ref(weak, 'k').add())
    expect(a.core.kernel.find('weak/k')?.incarnation).toBe(2)
    a.kill()
    const b = await world.node('b', [weak])
    expect(await b.call(b.ref(weak, 'k').add())).toBe(4)
    expect(b.core.kernel.find('weak/k')?.incarnation).toBe(2)
  })

  test('[P2] a message whose node dies with it again and again is a dead letter as SuspectedPoison', async () => {
    let node = await world.node('n0', [weak])
    await node.call(node.send(node.ref(weak, 'k').hang()))
    await node.call(node.send(node.ref(weak, 'k').add()))
    for (let i = 1; i <= SUSPECTED_POISON_RECOVERIES; i++) {
      await world.until(() => oracle.count('hang') === i)
      await world.advance(10)
      node.kill()
      node = await world.node(`n${i}`, [weak])
    }
    await world.until(async () => JSON.stringify(await node.stored('weak/k')) === '{"n":1}')
    expect(oracle.count('hang')).toBe(SUSPECTED_POISON_RECOVERIES)
    const [letter] = await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })
    expect(letter?.reason).toContain('SuspectedPoison')
  })

  test('[P2] a turn that only waits pays for no death meanwhile; one that kills after its wait does', async () => {
    let node = await world.node('n0', [waiting])
    const died = async (name: string) => {
      await world.advance(50)
      node.kill()
      node = await world.node(name, [waiting])
    }
    await node.call(node.send(node.ref(waiting, 'innocent').sleep('done')))
    await node.call(node.send(node.ref(waiting, 'guilty').sleep('hang')))
    for (let i = 1; i <= SUSPECTED_POISON_RECOVERIES + 3; i++) await died(`n${i}`)
    const letters = () => node.core.backend.handle.archive.deadLetters('default', { limit: 10 })
    expect(await letters()).toEqual([])
    await world.advance(HOUR)
    expect(await node.stored('waiting/innocent')).toEqual({ n: 1 })
    for (let i = 1; i <= SUSPECTED_POISON_RECOVERIES + 1; i++) await died(`m${i}`)
    await world.advance(1_000)
    expect((await letters()).map(({ process, reason }) => [process, reason.split(':')[0]])).toEqual([
      ['waiting/guilty', 'SuspectedPoison'],
    ])
  })

  test('[P2] draining and stopping nodes count as no recovery', async () => {
    let node = await world.node('n0', [weak])
    await node.call(node.send(node.ref(weak, 'k').hang()))
    for (let i = 1; i <= SUSPECTED_POISON_RECOVERIES + 1; i++) {
      await world.until(() => oracle.count('hang') === i)
      await node.stop()
      node = await world.node(`n${i}`, [weak])
    }
    await world.until(() => oracle.count('hang') === SUSPECTED_POISON_RECOVERIES + 2)
    expect(await node.core.backend.handle.archive.deadLetters('default', { limit: 10 })).toEqual([])
  })
})

describe('crashes that no message pays for', () => {
  const broken = agent('broken', {
    state: () => ({ n: 0 }),
    activated: () => {
      oracle.hit('activated')
      throw new Error('cannot wake')
    },
    on: { add: (ctx) => ++ctx.state.n },
  })

  test('[P1] a process that cannot be activated ends as halted for its key alone', async () => {
    const node = await world.node('a', [broken])
    const refused = await world.refusal(node.ref(broken, 'k').add())
    expect(refused.code).toBe('RESTART_LIMIT')
    expect(oracle.count('activated')).toBe(4)
    expect((await world.refusal(node.ref(broken, 'k').add())).code).toBe('RESTART_LIMIT')
    expect(node.seen('supervisor:give-up')).toEqual([])
    expect(node.core.kernel.find('pool/broken')?.alive).toBe(true)
  })

  const sibling = agent('sibling', {
    state: () => ({ attempts: [] as number[] }),
    on: {
      async work(ctx) {
        oracle.hit('work')
        await ctx.step('wait', () => (oracle.count('work') === 1 ? new Promise(() => {}) : null))
        ctx.state.attempts.push(ctx.message.attempt)
      },
      crash() {
        throw new Error('down with all')
      },
    },
    maxAttempts: 1,
  })

  test('[P2] a stop by the strategy of a sibling costs no attempt and drops no message', async () => {
    const children = [sibling.spec({ key: 'one' }), sibling.spec({ key: 'two' })]
    const root = supervisor('app', { strategy: 'one_for_all', intensity: 5, children })
    const node = await world.node('a', [sibling], { root })
    await node.call(node.send(node.ref(sibling, 'one').work()))
    await node.call(node.send(node.ref(sibling, 'one').work()))
    await world.until(() => oracle.count('work') === 1)
    expect((await world.refusal(node.ref(sibling, 'two').crash())).code).toBe('DEAD_LETTERED')
    // The turn in hand does not end: after the shutdown time it is killed.
    await world.until(async () => JSON.stringify(await node.stored('sibling/one')) === '{"attempts":[1,1]}')
    expect(oracle.count('work')).toBe(3)
    expect(node.core.kernel.find('sibling/one')?.incarnation).toBe(2)
  })
})

describe('desired state', () => {
  const plain = agent('plain', {
    state: () => ({ n: 0 }),
    on: { add: (ctx) => ++ctx.state.n },
  })

  test('[N7] a suspended process stays suspended over a restart of everything; its messages wait', async () => {
    const a = await world.node('a', [plain])
    await a.call(a.ref(plain, 'k').add())
    await a.call(a.control.suspend('plain/k', act))
    await a.call(a.send(a.ref(plain, 'k').add()))
    await a.stop()
    const b = await world.node('b', [plain])
    await world.advance(5_000)
    expect(await b.stored('plain/k')).toEqual({ n: 1 })
    await b.call(b.send(b.ref(plain, 'k').add()))
    await world.advance(1_000)
    expect(await b.stored('plain/k')).toEqual({ n: 1 })
    await b.call(b.control.resume('plain/k', act))
    await world.until(async () => JSON.stringify(await b.stored('plain/k')) === '{"n":3}')
  })

  test("[N7] no message wakes a stopped process, here and after a restart; an operator's restart does", async () => {
    const a = await world.node('a', [plain])
    await a.call(a.ref(plain, 'k').add())
    await a.call(a.control.stop('plain/k', act))
    expect((await world.refusal(a.ref(plain, 'k').add())).code).toBe('PROCESS_EXITED')
    await a.call(a.send(a.ref(plain, 'k').add()))
    await a.stop()
    const b = await world.node('b', [plain])
    await world.advance(5_000)
    expect((await world.refusal(b.ref(plain, 'k').add())).code).toBe('PROCESS_EXITED')
    expect(await b.stored('plain/k')).toEqual({ n: 1 })
    await b.call(b.control.restart('plain/k', act))
    await world.until(async () => JSON.stringify(await b.stored('plain/k')) === '{"n":2}')
    expect(await b.call(b.ref(plain, 'k').add())).toBe(3)
  })

  test('[N7] a stopped static child stays stopped although it is permanent', async () => {
    const root = supervisor('app', { strategy: 'one_for_one', children: [plain.spec({ key: 'main' }), pool(plain)] })
    const a = await world.node('a', [plain], { root })
    await a.call(a.ref(plain, 'main').add())
    await a.call(a.control.stop('plain/main', act))
    await world.advance(2_000)
    expect(a.core.kernel.find('plain/main')?.alive ?? false).toBe(false)
    await a.stop()
    const b = await world.node('b', [plain], { root })
    await world.advance(2_000)
    expect(b.core.kernel.find('plain/main')?.alive ?? false).toBe(false)
    await b.call(b.control.restart('plain/main', act))
    expect(await b.call(b.ref(plain, 'main').add())).toBe(2)
  })

  test('[N4] a static child that another live node owns is not stolen', async () => {
    const root = supervisor('app', { strategy: 'one_for_one', children: [plain.spec({ key: 'main' })] })
    const a = await world.node('a', [plain], { root })
    const b = await world.node('b', [plain], { root })
    expect(await a.call(a.ref(plain, 'main').add())).toBe(1)
    expect(await b.call(b.ref(plain, 'main').add())).toBe(2)
    expect(a.core.kernel.find('plain/main')?.alive).toBe(true)
    expect(b.core.kernel.find('plain/main')?.alive ?? false).toBe(false)
    a.kill()
    expect(await b.call(b.ref(plain, 'main').add())).toBe(3)
    expect(b.core.kernel.find('plain/main')?.alive).toBe(true)
  })

  test('[N2] a static child runs again after its node lost its epoch and joined anew', async () => {
    const root = supervisor('app', { strategy: 'one_for_one', children: [plain.spec({ key: 'main' })] })
    const a = await world.node('a', [plain], { root })
    const { epoch } = a.core.node
    world.db?.nodes.set(a.core.node.id, {
      ...(world.db.nodes.get(a.core.node.id) as never as object),
      epoch: 99,
    } as never)
    await world.until(() => a.core.node.epoch !== epoch)
    await world.advance(2_000)
    expect(a.core.kernel.find('plain/main')?.alive).toBe(true)
    expect(await a.call(a.ref(plain, 'main').add())).toBe(1)
  })
})

describe('passivation', () => {
  const sleepy = agent('sleepy', {
    state: () => ({ n: 0 }),
    on: { add: (ctx) => ++ctx.state.n },
    passivateAfterMs: 1_000,
  })

  test('[J3] an idle process leaves memory and comes back with its state at the next message', async () => {
    const node = await world.node('a', [sleepy])
    await node.call(node.ref(sleepy, 'k').add())
    await world.until(() => node.core.kernel.find('sleepy/k') === undefined)
    const record = await node.core.backend.handle.archive.process('default', 'sleepy/k')
    expect(record?.owner).toBeNull()
    expect(await node.call(node.ref(sleepy, 'k').add())).toBe(2)
  })

  test('[J3] messages that race with the release of the process are handled once, after it', async () => {
    const node = await world.node('a', [sleepy])
    await node.call(node.ref(sleepy, 'k').add())
    const released = gate()
    node.faults.next('release', { kind: 'hold', until: released.promise })
    await world.until(() => node.core.kernel.find('sleepy/k') === undefined)
    const call = node.ref(sleepy, 'k').add().run()
    const sent = node.send(node.ref(sleepy, 'k').add())
    await world.advance(200)
    expect(await node.stored('sleepy/k')).toEqual({ n: 1 })
    released.open()
    await world.run(Promise.all([call, sent]))
    await world.until(async () => JSON.stringify(await node.stored('sleepy/k')) === '{"n":3}')
    await world.advance(500)
    expect(await node.stored('sleepy/k')).toEqual({ n: 3 })
  })

  test('[J3] a busy or suspended-with-messages process is not passivated', async () => {
    const node = await world.node('a', [sleepy])
    await node.call(node.ref(sleepy, 'k').add())
    await node.call(node.control.suspend('sleepy/k', act))
    await node.call(node.send(node.ref(sleepy, 'k').add()))
    await world.advance(10_000)
    expect(node.core.kernel.find('sleepy/k')?.mailboxLength).toBe(1)
  })
})

describe('effects', () => {
  const child = agent('child', { state: () => ({ n: 0 }), on: { take: (ctx) => ++ctx.state.n } })
  const parent = agent('parent', {
    state: () => ({ n: 0 }),
    on: {
      breed(ctx) {
        ctx.state.n += 1
        ctx.spawn(child)
        ctx.spawn(child)
        return ctx.state.n
      },
    },
  })

  test('[J4] an effect in memory that is refused after the commit undoes nothing and stops no neighbour', async () => {
    const children = [pool(parent), pool(child, { maxChildren: 1 })]
    const root = supervisor('app', { strategy: 'one_for_one', children })
    const node = await world.node('a', [parent, child], { root })
    const answers = ['p', 'q', 'r'].map((key) => node.ref(parent, key).breed().run())
    expect(await world.run(Promise.all(answers))).toEqual([1, 1, 1])
    expect(await node.call(node.ref(parent, 'p').breed())).toBe(2)
    const process = node.core.kernel.find('parent/p')
    expect(process !== undefined && recordOf(process)?.seq).toBe(2)
    expect(process?.stats.failures).toBe(0)
    expect(node.seen('log').some((event) => event.message.includes('full'))).toBe(true)
  })
})
