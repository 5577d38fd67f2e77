/** Recorded turns of sandbox copies against the code: what was answered, and what was withheld (V7, E9, E10). */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { replayTurns } from '../../server/host/replay.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import type { TurnReplay } from '../../shared/recorded.ts'
import { type TestNode, World } from '../support/runtime.ts'
import { type SandboxActors, sandboxActors } from '../support/sandbox-actor.ts'

const act = { actor: 'operator:ana' }

let world: World
let actors: SandboxActors
let node: TestNode
beforeEach(async () => {
  world = World.memory()
  actors = sandboxActors()
  node = await world.node('a', actors.all)
})
afterEach(async () => {
  actors.door.open()
  await world.close()
})

async function stopsAt(target: string): Promise<void> {
  await world.until(() => node.core.kernel.find('desk/1~1')?.wait?.target === target, `a stop at ${target}`)
}
const answer = (value: unknown) => world.run(node.control.answer('desk/1~1', { value }, act))
const send = (op: string, args: unknown = null) => world.run(node.control.send('desk/1~1', op, args, act))

async function copied(): Promise<void> {
  await node.call(node.ref(actors.desk, '1').note('one'))
  await world.run(node.control.fork('desk/1', act))
}

async function replayed(): Promise<Pick<TurnReplay, 'op' | 'open' | 'outcome'>[]> {
  const before = [...actors.oracle.log]
  const recorded = await world.run(new RuntimeInspect(node.core).recorded('desk/1~1'))
  const { turns } = await replayTurns(recorded, { agents: actors.all })
  expect(actors.oracle.log).toEqual(before)
  return turns.map(({ op, open, outcome }) => ({ op, open, outcome }))
}

const ended = () => world.until(async () => (await node.journal('desk/1~1')).some(({ k }) => k === 'end'))

test('[V7][E9] a turn whose sends, names and ties were withheld comes to the same end', async () => {
  await copied()
  // The name is held by the original, which a copy may not know of.
  await node.call(node.ref(actors.desk, '1').reach('1'))
  await send('reach', '1')
  await ended()
  expect(await replayed()).toEqual([{ op: 'reach', open: false, outcome: { kind: 'same' } }])
})

test('[V7][E10] a turn that goes on by answers, open at a stop and at its end', async () => {
  await node.start(node.ref(actors.desk, '1').work())
  await world.until(() => actors.oracle.count('b') === 1)
  await world.run(node.control.fork('desk/1', act))
  await stopsAt('step b')
  await answer('mine')
  await send('note', 'for the turn')
  await stopsAt('call bank/1~1 pay')
  expect(await replayed()).toEqual([{ op: 'work', open: true, outcome: { kind: 'same' } }])
  await answer(5)
  await ended()
  expect(await replayed()).toEqual([{ op: 'work', open: false, outcome: { kind: 'same' } }])
})

test('[V7][E10] transactions, starts, external steps and compensations that were answered', async () => {
  await copied()
  await send('parent', '1')
  for (const target of ['start bank/1 hold', 'step b', 'transaction', 'start bank/1 pay']) {
    await stopsAt(target)
    await answer('given')
  }
  await ended()
  await send('approve')
  for (const target of ['step a', 'step ok']) {
    await stopsAt(target)
    await answer('given')
  }
  await send('saga')
  for (const target of ['step one', 'step two', 'rollback undo two', 'rollback undo one']) {
    await stopsAt(target)
    await answer(null)
  }
  await world.until(async () => (await node.journal('desk/1~1')).filter(({ k }) => k === 'end').length === 3)
  expect(await replayed()).toEqual(
    ['parent', 'approve', 'saga'].map((op) => ({ op, open: false, outcome: { kind: 'same' } })),
  )
})

test('[V7][E9] other code diverges on a copy as on its original', async () => {
  await node.start(node.ref(actors.desk, '1').work())
  await world.until(() => actors.oracle.count('b') === 1)
  await world.run(node.control.fork('desk/1', act))
  await stopsAt('step b')
  actors.change()
  expect(await replayed()).toMatchObject([{ op: 'work', open: true, outcome: { kind: 'diverges' } }])
})
