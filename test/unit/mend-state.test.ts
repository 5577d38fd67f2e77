/** Operator verbs on the state: edits and rewinds, alone and against whatever else happens to the process. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const act = { actor: 'operator:ana', reason: 'wrong total' }

let world: World
let opened: ReturnType<typeof gate>
let inspect: RuntimeInspect | null = null
beforeEach(() => {
  world = World.memory()
  opened = gate()
})
afterEach(async () => {
  inspect?.close()
  inspect = null
  await world.close()
})

const cart = agent('cart', {
  state: () => ({ n: 0, broken: false }),
  on: {
    add: (ctx, by: number) => {
      if (ctx.state.broken) throw new Error('the state is broken')
      ctx.state.n += by
      return ctx.state.n
    },
    spoil: (ctx) => {
      ctx.state.broken = true
    },
    async hold(ctx) {
      await ctx.step('wait', () => opened.promise)
    },
    async think() {
      await opened.promise
    },
  },
  queries: { total: (state) => state.n },
  passivateAfterMs: 1_000,
})
const lamp = agent('lamp', { durability: 'ephemeral', state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })
const root = supervisor('top', { strategy: 'one_for_one', children: [pool(cart), lamp.spec({ key: 'l' })] })

async function start(name = 'a'): Promise<TestNode> {
  const node = await world.node(name, [cart, lamp], { root })
  inspect?.close()
  inspect = new RuntimeInspect(node.core)
  return node
}

async function version(id: string): Promise<number> {
  if (inspect === null) throw new Error('No node was started.')
  return (await world.run(inspect.state(id))).version
}

const edit = (node: TestNode, id: string, value: unknown, expectedVersion: number): Promise<{ outcome: string }> =>
  node.call(node.control.editState(id, value, { ...act, expectedVersion }))

describe('an edit', () => {
  test('[E2] replaces the state as a version of its own, with who and why, and holds over restarts', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(2))
    const before = await version('cart/1')
    const done = await edit(a, 'cart/1', { n: 40, broken: false }, before)
    expect(done).toMatchObject({ outcome: `version ${before + 1}` })
    expect(await version('cart/1')).toBe(before + 1)
    expect(await a.call(a.ref(cart, '1').total())).toBe(40)
    expect(await a.journal('cart/1')).toContainEqual(
      expect.objectContaining({ k: 'edited', to: null, by: 'operator:ana', why: 'wrong total' }),
    )
    expect((await inspect?.journal('cart/1', {}))?.items[0]).toMatchObject({
      ...{ kind: 'edited', actor: 'operator:ana', summary: 'state edited by operator:ana: wrong total' },
    })
    expect(await a.call(a.ref(cart, '1').add(2))).toBe(42)
    a.kill()
    const b = await start('b')
    expect(await b.call(b.ref(cart, '1').add(0))).toBe(42)
  })

  test('[E2] of another version than the one that was read is refused with the one it is', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    await a.call(a.ref(cart, '1').add(1))
    const refused = await world.refusal(a.control.editState('cart/1', { n: 0 }, { ...act, expectedVersion: read }))
    expect(refused).toMatchObject({ code: 'VERSION_CONFLICT', detail: { version: read + 1 } })
    const ahead = a.control.editState('cart/1', { n: 0 }, { ...act, expectedVersion: read + 9 })
    expect((await world.refusal(ahead)).code).toBe('VERSION_CONFLICT')
    expect(await a.stored('cart/1')).toMatchObject({ n: 2 })
  })

  test('[E2] holds where rows came after that version and left the state as it was', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(5))
    const read = await version('cart/1')
    await a.send(a.ref(cart, '1').add(0))
    await world.until(async () => (await a.core.backend.handle.archive.process('default', 'cart/1'))?.seq === read + 1)
    await world.until(() => a.core.kernel.find('cart/1') === undefined)
    await edit(a, 'cart/1', { n: 6, broken: false }, read)
    expect(await a.stored('cart/1')).toMatchObject({ n: 6 })
  })

  test('[E2] of what cannot be stored is refused with its path and changes nothing', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const bad = a.control.editState('cart/1', { n: () => 1 }, { ...act, expectedVersion: await version('cart/1') })
    const { code, message } = await world.refusal(bad)
    expect([code, message]).toEqual(['VALUE_UNSUPPORTED', expect.stringContaining('$.n')])
    expect(await a.stored('cart/1')).toMatchObject({ n: 1 })
  })

  test.each(['hold', 'think'] as const)('[E2] is refused while "%s" is in hand, not after it', async (op) => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    await a.send(a.ref(cart, '1')[op]())
    await world.until(() => a.core.kernel.find('cart/1')?.current?.op === op)
    const early = a.control.editState('cart/1', { n: 9, broken: false }, { ...act, expectedVersion: read })
    expect(await world.refusal(early)).toMatchObject({ code: 'TURN_OPEN', message: expect.stringContaining(op) })
    opened.open()
    await world.until(() => a.core.kernel.find('cart/1')?.current === null)
    await edit(a, 'cart/1', { n: 9, broken: false }, read)
    expect(await a.stored('cart/1')).toMatchObject({ n: 9 })
  })

  test('[E2] mends a process whose state makes every message fail, while it waits for the next attempt', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').spoil())
    const failing = a.call(a.ref(cart, '1').add(3))
    await world.until(() => a.core.kernel.find('cart/1')?.status === 'restarting')
    await edit(a, 'cart/1', { n: 4, broken: false }, await version('cart/1'))
    expect(await failing).toBe(7)
    expect(await a.journal('cart/1')).toContainEqual(expect.objectContaining({ k: 'edited' }))
  })

  test('[E2] of ten operators who read the same version one succeeds', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    const tries = Array.from({ length: 10 }, (_, n) =>
      a.control.editState('cart/1', { n: 100 + n, broken: false }, { ...act, expectedVersion: read }),
    )
    const ends = await world.run(Promise.allSettled(tries))
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const lost = ends.flatMap((end) => (end.status === 'rejected' ? [(end.reason as { code: string }).code] : []))
    expect(new Set(lost)).toEqual(new Set(['VERSION_CONFLICT']))
    expect(await version('cart/1')).toBe(read + 1)
  })

  test('[E2] that races with turns loses to them or comes before them, never between', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    const calls = Array.from({ length: 20 }, () => Promise.resolve(a.ref(cart, '1').add(1)))
    const edited = a.control.editState('cart/1', { n: 1_000, broken: false }, { ...act, expectedVersion: read }).then(
      () => true,
      () => false,
    )
    const totals = await world.run(Promise.all(calls))
    const last = (await a.stored('cart/1')) as { n: number }
    expect(last.n).toBe((await edited) ? 1_020 : 21)
    expect(totals.at(-1)).toBe(last.n)
  })
})

describe('a rewind', () => {
  test('[E3] makes an earlier state the newest one by an appended entry', async () => {
    const a = await start()
    for (let i = 0; i < 3; i++) await a.call(a.ref(cart, '1').add(1))
    const rows = (await a.journal('cart/1')).length
    expect(await a.call(a.control.rewind('cart/1', 1, act))).toMatchObject({ outcome: 'version 4' })
    expect(await a.call(a.ref(cart, '1').total())).toBe(1)
    const journal = await a.journal('cart/1')
    expect(journal).toHaveLength(rows + 1)
    expect(journal.at(-1)).toMatchObject({ k: 'edited', to: 1 })
    expect(await a.call(a.control.rewind('cart/1', 3, act))).toMatchObject({ outcome: 'version 5' })
    expect(await a.call(a.ref(cart, '1').add(1))).toBe(4)
  })

  test('[E3] is refused for a version that moved on, is not there yet, or is open to nobody', async () => {
    const a = await start()
    for (let i = 0; i < 2; i++) await a.call(a.ref(cart, '1').add(1))
    const moved = a.control.rewind('cart/1', 1, { ...act, expectedVersion: 1 })
    expect((await world.refusal(moved)).code).toBe('VERSION_CONFLICT')
    const refused = await world.refusal(a.control.rewind('cart/1', 3, act))
    expect(refused).toMatchObject({ code: 'VERSION_NOT_KEPT', detail: { oldest: 1 } })
    expect((await world.refusal(a.control.rewind('cart/none', 1, act))).code).toBe('PROCESS_NOT_FOUND')
    await a.send(a.ref(cart, '1').hold())
    await world.until(() => a.core.kernel.find('cart/1')?.current !== null)
    expect((await world.refusal(a.control.rewind('cart/1', 1, act))).code).toBe('TURN_OPEN')
    opened.open()
  })

  test('[E3] leaves the messages that wait where they are', async () => {
    const a = await start()
    for (let i = 0; i < 2; i++) await a.call(a.ref(cart, '1').add(1))
    await a.call(a.control.suspend('cart/1', act))
    await a.send(a.ref(cart, '1').add(10))
    await a.call(a.control.rewind('cart/1', 1, act))
    expect(a.core.kernel.find('cart/1')?.mailboxLength).toBe(1)
    await a.call(a.control.resume('cart/1', act))
    await world.until(async () => ((await a.stored('cart/1')) as { n: number }).n === 11)
  })
})

describe('whom a verb on the state reaches', () => {
  test('[E1] a passive process is brought to memory, and its incarnation stays', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    await world.until(() => a.core.kernel.find('cart/1') === undefined)
    expect(await a.call(a.control.rewind('cart/1', 1, act))).toMatchObject({ incarnation: 1 })
    expect(a.core.kernel.find('cart/1')?.incarnation).toBe(1)
  })

  test('[E1] others are refused with what to do: stopped, reborn, ephemeral, no agent', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const code = async (id: string, more: object = {}): Promise<string> =>
      (await world.refusal(a.control.editState(id, {}, { ...act, expectedVersion: 1, ...more }))).code
    expect(await code('cart/1', { incarnation: 7 })).toBe('INCARNATION_GONE')
    expect(await code('lamp/l')).toBe('REQUEST_INVALID')
    expect(await code('supervisor/top')).not.toBe('INTERNAL')
    await a.call(a.control.stop('cart/1', act))
    expect(await code('cart/1')).toBe('PROCESS_EXITED')
    const audit = await a.core.backend.handle.archive.audit('default', { target: 'cart/1', limit: 9 })
    expect(audit.filter(({ verb }) => verb === 'edit-state').map(({ outcome }) => outcome)).toEqual([
      ...['refused: PROCESS_EXITED', 'refused: INCARNATION_GONE'],
    ])
  })

  test('[E1] one that another node runs is refused as that', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const b = await world.node('b', [cart, lamp], { root })
    expect((await world.refusal(b.control.rewind('cart/1', 1, act))).code).toBe('FENCED')
    expect((await world.refusal(b.control.skipMessage('cart/1', act))).code).toBe('FENCED')
    expect((await world.refusal(b.control.retryTurn('cart/1', act))).code).toBe('FENCED')
  })

  test('[E1] an answered edit outlives the death of the node at that instant', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    await edit(a, 'cart/1', { n: 7, broken: false }, await version('cart/1'))
    a.kill()
    const b = await start('b')
    expect(await b.call(b.ref(cart, '1').total())).toBe(7)
  })

  test.each(['before', 'after'] as const)('[E1] a node dies %s the statement: all or nothing', async (when) => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    a.faults.next('commit', { kind: 'die', when })
    void a.control.editState('cart/1', { n: 7, broken: false }, { ...act, expectedVersion: read })
    await world.until(() => a.dead)
    const b = await start('b')
    expect(await b.call(b.ref(cart, '1').add(0))).toBe(when === 'before' ? 1 : 7)
  })

  test('[E1] during an outage the verb waits, and is answered once it is stored', async () => {
    const a = await start()
    await a.call(a.ref(cart, '1').add(1))
    const read = await version('cart/1')
    let over = false
    const down = { kind: 'fail', failure: 'unavailable' } as const
    const end = a.faults.plan(({ method }) => (method === 'commit' ? down : undefined))
    const edited = a.control.editState('cart/1', { n: 7, broken: false }, { ...act, expectedVersion: read })
    edited.then(() => {
      over = true
    })
    await world.advance(5_000)
    expect(over).toBe(false)
    expect(await a.call(a.ref(cart, '1').total())).toBe(1)
    end()
    await world.run(edited)
    expect(await a.stored('cart/1')).toMatchObject({ n: 7 })
  })
})
