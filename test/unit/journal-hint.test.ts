/** Starts that nobody asked for here: word of a row that may be gone by the time it is looked for. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { type TestNode, World } from '../support/runtime.ts'

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
