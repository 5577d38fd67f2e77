/** Starts that nobody asked for here: word of a row that may be gone by the time it is looked for. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { gate, type TestNode, World } from '../support/runtime.ts'

const counter = agent('counter', { state: () => ({ n: 0 }), on: { add: (ctx) => ++ctx.state.n } })

let world: World
let node: TestNode
beforeEach(async () => {
  world = World.memory()
  node = await world.node('a', [counter])
})
afterEach(() => world.close())

test('[E12] word of a row that is not there makes no process', async () => {
  node.core.layer.poke('counter/nobody')
  await world.advance(100)
  expect(node.core.kernel.find('counter/nobody')?.alive).not.toBe(true)
  expect(await node.core.backend.handle.archive.process('default', 'counter/nobody')).toBeNull()
  // Nor does it stand in the way of whoever comes by himself later.
  expect(await node.call(node.ref(counter, 'nobody').add())).toBe(1)
})

test('[E12] a call that comes while such a start looks makes it', async () => {
  node.core.layer.poke('counter/late')
  const answer = node.call(node.ref(counter, 'late').add())
  expect(await answer).toBe(1)
  expect(await node.call(node.ref(counter, 'late').add())).toBe(2)
})

test('[E12] nor is word of a row lost that comes while such a start looks', async () => {
  const looked = gate()
  node.faults.next('claim', { kind: 'hold', until: looked.promise })
  node.core.layer.poke('counter/row')
  await world.settle()
  const other = await world.node('b', [counter])
  node.faults.plan(({ method }) => (method === 'orphans' ? { kind: 'fail', failure: 'unavailable' } : undefined))
  other.faults.plan(({ method }) => (method === 'orphans' ? { kind: 'fail', failure: 'unavailable' } : undefined))
  await world.run(node.send(node.ref(counter, 'row').add()))
  looked.open()
  await world.until(async () => ((await node.stored('counter/row')) as { n: number } | undefined)?.n === 1, 'the turn')
})
