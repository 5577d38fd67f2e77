/** Vital signs of the thread: how much it worked, what garbage collection took, who held it. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { BlockLog } from '../../server/host/block-log.ts'
import { VitalSigns } from '../../server/host/vitals.ts'
import { World } from '../support/runtime.ts'

const idle = agent('idle', { state: () => null, on: {} })
const world = World.memory()
afterEach(() => world.close())

test('[I7] a look tells of the time since the one before, and of blocks since the start', async () => {
  const node = await world.node('a', [idle])
  const signs = new VitalSigns(node.core)
  expect(signs.now().thread).toMatchObject({ gcMs: 0, gcMaxMs: 0, blocks: 0, blockedMs: 0, longest: null })

  collectGarbage()
  collectGarbage()
  const end = performance.now() + 20
  while (performance.now() < end);
  // The entries come in a task of their own.
  await new Promise((resolve) => setTimeout(resolve, 20))
  const blocks = new BlockLog()
  const block = { id: 'idle/x', op: null, durationMs: 400, at: 1 }
  blocks.add(block)
  node.core.watch = { warnMs: 250, watches: true, blocks }
  await world.advance(1_000)
  const { thread } = signs.now()
  expect(thread.gcMs).toBeGreaterThan(0)
  expect(thread.gcMaxMs).toBeLessThanOrEqual(thread.gcMs)
  expect(thread.utilisation).toBeGreaterThan(0)
  expect(thread.utilisation).toBeLessThanOrEqual(1)
  expect(thread).toMatchObject({ blocks: 1, blockedMs: 400, longest: block })

  await world.advance(1_000)
  expect(signs.now().thread.gcMs).toBeLessThan(thread.gcMs)
  signs.close()
})

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}
