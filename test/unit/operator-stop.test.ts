/** What an operator's verbs do to the tree, and to processes that are only stored. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { supervisorAt } from '../support/tree-world.ts'

const act = { actor: 'operator:ana' }

const desk = agent('desk', {
  state: () => ({ n: 0 }),
  on: { add: (ctx) => ++ctx.state.n },
  passivateAfterMs: 1_000,
})
const order = agent('order', {
  state: () => ({ n: 0 }),
  on: { add: (ctx) => ++ctx.state.n },
  passivateAfterMs: 1_000,
})
const lamp = agent('lamp', { durability: 'ephemeral', state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })

const office = supervisor('office', {
  strategy: 'rest_for_one',
  intensity: 0,
  children: [desk.spec({ key: 'first' }), desk.spec({ key: 'second' }), lamp.spec({ key: 'l' })],
})
const root = supervisor('top', { strategy: 'one_for_one', intensity: 0, children: [office, pool(order)] })

let world: World
let inspect: RuntimeInspect | null = null
beforeEach(() => {
  world = World.memory()
})
afterEach(async () => {
  inspect?.close()
  inspect = null
  await world.close()
})

async function start(name: string): Promise<TestNode> {
  const node = await world.node(name, [desk, order, lamp], { root })
  inspect?.close()
  inspect = new RuntimeInspect(node.core)
  return node
}

async function view(id: string) {
  const detail = inspect === null ? null : await world.run(inspect.process(id))
  if (detail === null) throw new Error(`Nobody sees ${id}.`)
  const { status, desired, incarnation, restarts } = detail
  return { status, desired, incarnation, restarts }
}

async function mail(id: string): Promise<number | undefined> {
  return (await inspect?.mailbox(id, {}))?.items.length
}

const add = (node: TestNode, id: string): PromiseLike<unknown> =>
  node.control.call(id, 'add', undefined, { ...act, timeoutMs: 60_000 }).then(({ reply }) => reply)

async function refused(node: TestNode, id: string): Promise<void> {
  const before = world.clock.now()
  expect((await world.refusal(add(node, id))).code).toBe('PROCESS_EXITED')
  expect(world.clock.now() - before).toBeLessThan(1_000)
}

async function passive(node: TestNode, id: string): Promise<void> {
  await world.until(() => node.core.kernel.find(id) === undefined, `the passivation of ${id}`)
}

describe('stop', () => {
  test('[S65] of a permanent child counts for none and takes no sibling along, a restart brings it back', async () => {
    const node = await start('a')
    await node.call(add(node, 'desk/first'))
    expect(await node.call(node.control.stop('desk/first', act))).toMatchObject({ outcome: 'stopped', incarnation: 1 })
    await world.advance(5_000)
    expect(await view('desk/first')).toEqual({ status: 'exited', desired: 'stopped', incarnation: 1, restarts: 0 })
    for (const id of ['desk/second', 'lamp/l']) expect((await view(id)).incarnation).toBe(1)
    expect(supervisorAt(node, 'office').detail(world.clock.monotonic()).recentRestarts).toBe(0)
    expect(node.seen('supervisor:give-up')).toEqual([])
    await refused(node, 'desk/first')
    await node.call(node.control.send('desk/first', 'add', undefined, act))
    expect(await mail('desk/first')).toBe(1)
    expect(await node.call(node.control.restart('desk/first', act))).toMatchObject({ incarnation: 2 })
    expect(await node.call(add(node, 'desk/first'))).toBe(3)
    expect(await view('desk/first')).toMatchObject({ desired: 'running', incarnation: 2 })
  })

  test('[S65] a stopped child stays down over a restart of its group and of its supervisor', async () => {
    const node = await start('a')
    await node.call(node.control.stop('lamp/l', act))
    await node.call(node.control.restart('supervisor/office', act))
    await world.advance(1_000)
    expect(await view('lamp/l')).toMatchObject({ status: 'exited', desired: 'stopped' })
    await node.call(node.control.kill('desk/first', act))
    await world.advance(1_000)
    expect(await view('lamp/l')).toMatchObject({ status: 'exited', desired: 'stopped' })
    await refused(node, 'lamp/l')
    await node.call(node.control.restart('supervisor/top', act))
    await node.call(node.control.resume('lamp/l', act))
    expect(await node.call(add(node, 'lamp/l'))).toBe(1)
  })

  test('[S65] of supervisors and pools ends what is below; it is down, seen so, over a new node too', async () => {
    const a = await start('a')
    await a.call(add(a, 'order/1'))
    await a.call(a.control.stop('pool/order', act))
    await a.call(a.control.stop('supervisor/office', act))
    await a.call(a.control.send('order/1', 'add', undefined, act))
    await a.call(a.control.send('desk/first', 'add', undefined, act))
    const look = async (node: TestNode): Promise<void> => {
      await world.advance(5_000)
      for (const id of ['pool/order', 'supervisor/office']) {
        expect(await view(id)).toMatchObject({ status: 'exited', desired: 'stopped', incarnation: 1 })
      }
      for (const id of ['order/1', 'order/new', 'desk/first', 'lamp/l']) await refused(node, id)
      expect((await world.refusal(node.control.restart('desk/first', act))).message).toContain('supervisor/office')
      expect(node.seen('supervisor:give-up')).toEqual([])
    }
    await look(a)
    await a.stop()
    const b = await start('b')
    await look(b)
    await b.call(b.control.restart('pool/order', act))
    await b.call(b.control.resume('supervisor/office', act))
    await world.until(async () => JSON.stringify(await b.stored('order/1')) === '{"n":2}')
    await world.until(async () => JSON.stringify(await b.stored('desk/first')) === '{"n":1}')
    expect(await view('supervisor/office')).toMatchObject({ status: 'idle', desired: 'running', incarnation: 2 })
  })

  test('[S65] of the root holds over a new node', async () => {
    const a = await start('a')
    await a.call(a.control.stop('supervisor/top', act))
    await a.stop()
    const b = await start('b')
    expect(await view('supervisor/top')).toMatchObject({ status: 'exited', desired: 'stopped' })
    await refused(b, 'desk/first')
    await b.call(b.control.restart('supervisor/top', act))
    expect(await b.call(add(b, 'desk/first'))).toBe(1)
  })

  test('[S65] of a child that waits for its restart ends the waiting, and its mail is stored', async () => {
    const calm = supervisor('top', { strategy: 'one_for_one', intensity: 9, children: [desk.spec({ key: 'first' })] })
    const node = await world.node('a', [desk], { root: calm })
    inspect = new RuntimeInspect(node.core)
    await node.call(add(node, 'desk/first'))
    const first = () => node.core.kernel.find('desk/first')
    for (let n = 0; n < 2; n++) {
      await world.until(() => first()?.status === 'idle')
      await node.call(node.control.kill('desk/first', act))
    }
    await world.until(() => first()?.status === 'restarting' && first()?.gone === true)
    await node.call(node.control.send('desk/first', 'add', undefined, act))
    await node.call(node.control.stop('desk/first', act))
    await world.advance(5_000)
    expect(await view('desk/first')).toMatchObject({ status: 'exited', desired: 'stopped' })
    await node.call(node.control.restart('desk/first', act))
    expect(await node.call(add(node, 'desk/first'))).toBe(3)
  })
})

describe('passive processes', () => {
  test('[N8] are suspended, resumed, stopped and killed where they are', async () => {
    const node = await start('a')
    await node.call(add(node, 'order/1'))
    await passive(node, 'order/1')
    expect(await node.call(node.control.suspend('order/1', act))).toMatchObject({
      incarnation: 1,
      outcome: 'suspended',
    })
    await node.call(node.control.send('order/1', 'add', undefined, act))
    await world.advance(2_000)
    expect(await node.stored('order/1')).toEqual({ n: 1 })
    expect((await view('order/1')).desired).toBe('suspended')
    await node.call(node.control.resume('order/1', act))
    await world.until(async () => JSON.stringify(await node.stored('order/1')) === '{"n":2}')
    await passive(node, 'order/1')
    expect(await inspect?.plan('kill', 'order/1')).toMatchObject({ incarnation: 1 })
    expect(await node.call(node.control.kill('order/1', act))).toMatchObject({ outcome: 'killed', incarnation: 1 })
    expect(await node.call(add(node, 'order/1'))).toBe(3)
    expect((await view('order/1')).incarnation).toBe(2)
    await passive(node, 'order/1')
    expect(await node.call(node.control.stop('order/1', act))).toMatchObject({ incarnation: 2, outcome: 'stopped' })
    await refused(node, 'order/1')
    expect((await world.refusal(node.control.kill('order/1', act))).code).toBe('PROCESS_EXITED')
  })

  test('[N8] a stopped one keeps what is sent, is truly seen meanwhile, and comes back with a resume', async () => {
    const node = await start('a')
    await node.call(add(node, 'order/1'))
    await node.call(node.control.kill('order/1', act))
    await node.call(add(node, 'order/1'))
    await node.call(node.control.stop('order/1', act))
    const before = await view('order/1')
    expect(before.desired).toBe('stopped')
    const sent = node.control.send('order/1', 'add', undefined, act)
    for (let n = 0; n < 20; n++) {
      await world.settle()
      expect(await view('order/1')).toEqual(before)
    }
    await node.call(sent)
    expect(await mail('order/1')).toBe(1)
    const resumed = await node.call(node.control.resume('order/1', act))
    expect(resumed).toMatchObject({ incarnation: before.incarnation })
    await world.until(async () => JSON.stringify(await node.stored('order/1')) === '{"n":3}')
  })

  test('[N8] one that another node runs is refused as that, one that nobody saw as unknown', async () => {
    const a = await start('a')
    const other = await world.node('b', [order], {})
    await other.call(other.ref(order, '9').add())
    expect((await world.refusal(a.control.suspend('order/9', act))).code).toBe('FENCED')
    expect((await world.refusal(a.control.suspend('order/none', act))).code).toBe('PROCESS_NOT_FOUND')
  })
})
