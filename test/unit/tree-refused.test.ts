/** Rows of supervisors that the store refuses for a while, or that another node writes: what the next row says. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { supervisor } from '../../server/definition/supervisor.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { brittle, crash, journalOf, ledgered, rowOf, told, treeOf } from '../support/tree-world.ts'

const ACT = { actor: 'operator:ana', reason: 'it leaks' }

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

function start(name: string): Promise<TestNode> {
  const inner = supervisor('inner', {
    strategy: 'one_for_one',
    intensity: 1,
    periodMs: 60_000,
    children: [brittle.spec({ key: 'in' })],
    restart: 'transient',
  })
  const root = supervisor('app', { strategy: 'one_for_one', intensity: 0, children: [inner] })
  return world.node(name, [brittle, ledgered], { root, agents: [ledgered] })
}

/** Every row of the supervisor is refused until the returned function is called. */
function refuse(node: TestNode, id: string): () => void {
  return node.faults.plan(({ method, batch }) =>
    method === 'commit' && batch.some((row) => row.id === id) ? { kind: 'fail', failure: 'rejected' } : undefined,
  )
}

const isUp = (node: TestNode) => world.until(async () => (await told(node, 'supervisor/inner')).includes('up'))

test('[S55] a refused row takes neither the name of the operator nor the incarnation with it', async () => {
  const node = await start('a')
  await isUp(node)
  const accept = refuse(node, 'supervisor/inner')
  await node.call(node.control.restart('supervisor/inner', ACT))
  await world.advance(500)
  accept()
  await world.until(async () => (await treeOf(node, 'supervisor/inner'))?.children.get('brittle/in') !== undefined)
  await world.advance(5_000)
  expect(await rowOf(node, 'supervisor/inner')).toMatchObject({ incarnation: 2 })
  const actors = (await journalOf(node, 'supervisor/inner')).map(({ actor }) => actor)
  expect(actors.filter((actor) => actor !== null)).toEqual(['operator:ana'])
})

test('[S57] a supervisor that gave up while its row was refused leaves its failure with the next one', async () => {
  const node = await start('a')
  await isUp(node)
  const accept = refuse(node, 'supervisor/inner')
  await crash(node, 'in')
  await crash(node, 'in')
  await world.advance(500)
  accept()
  await world.until(async () => (await treeOf(node, 'supervisor/inner'))?.gaveUp != null)
  const inspect = new RuntimeInspect(node.core)
  const { items } = await inspect.failures({ process: 'supervisor/inner' })
  expect(items).toMatchObject([{ class: 'GaveUp', error: { code: 'SUPERVISOR_GAVE_UP' } }])
  inspect.close()
})

test('[S56] what an operator did to a follower is not said of the row with which it takes over', async () => {
  const a = await start('a')
  const b = await start('b')
  await isUp(a)
  await b.call(b.control.restart('supervisor/inner', ACT))
  await world.advance(100)
  a.kill()
  await world.until(async () => (await rowOf(b, 'supervisor/inner'))?.owner === b.core.node.id)
  await world.until(async () => (await told(b, 'supervisor/inner')).filter((note) => note === 'owned').length === 2)
  expect((await journalOf(b, 'supervisor/inner')).flatMap(({ actor }) => actor ?? [])).toEqual([])
})
