/** "Needs you": what an operator is shown first. */
import { afterEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { BlockLog, RECENT_MS } from '../../server/host/block-log.ts'
import { needsOf } from '../../server/host/need.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { World } from '../support/runtime.ts'

const weak = agent('weak', {
  state: () => ({}),
  on: {
    fail: (_ctx, n: number) => {
      throw new Error(`cannot ${n}`)
    },
    other: () => {
      throw new Error('neither')
    },
  },
  maxAttempts: 1,
})

const world = World.memory()
afterEach(() => world.close())

test('dead letters of one process and operation are one need, and hide no other', async () => {
  const node = await world.node('a', [weak])
  for (let i = 0; i < 3; i++) await node.call(node.send(node.ref(weak, 'k').fail(i)))
  await node.call(node.send(node.ref(weak, 'k').other()))
  const { archive } = node.core.backend.handle
  await world.until(async () => (await archive.deadLetters('default', { limit: 10 })).length === 4)
  const letters = await archive.deadLetters('default', { limit: 10 })
  const needs = needsOf(node.core, letters).filter((need) => need.kind === 'dead-letter')
  expect(needs.map((need) => need.key).sort()).toEqual(['dead-letter:weak/k:fail', 'dead-letter:weak/k:other'])
  const [several] = needs.filter((need) => need.key.endsWith('fail'))
  expect(several?.text).toMatch(/^weak\/k has 3 dead letters of "fail", the last: .*cannot 2/)
  expect(several?.since).toBe(Math.min(...letters.filter((letter) => letter.op === 'fail').map((letter) => letter.at)))
})

test('[I6] who held the thread lately is a need, once, with the longest hold, and no case for the doctor', async () => {
  const node = await world.node('b', [weak])
  const blocks = new BlockLog()
  node.core.watch = { warnMs: 250, watches: true, blocks }
  const now = node.core.clock.now()
  const block = (id: string, durationMs: number, at: number) => blocks.add({ id, op: 'fail', durationMs, at })
  block('weak/old', 900, now - RECENT_MS - 1)
  block('weak/k', 1_204.4, now - 2_000)
  block('weak/k', 300, now - 1_000)
  block('vivarium/runtime', 5_000, now)
  const needs = needsOf(node.core, [])
  expect(needs).toEqual([
    {
      ...{ key: 'thread:weak/k', severity: 'warning', kind: 'thread', process: 'weak/k', since: now - 1_000 },
      text:
        'weak/k held the thread of its node for 1204 ms in "fail", the longest of 2 times; ' +
        'nothing else ran meanwhile.',
    },
  ])
  expect(blocks.stats).toMatchObject({ blocks: 4, blockedMs: 7_404.4, longest: { durationMs: 5_000 } })
  const { findings } = await new RuntimeInspect(node.core).doctor()
  expect(findings.filter(({ why }) => why.includes('thread'))).toEqual([])
})

test('[I6] a process that held the thread long ago begins anew, and only so many are remembered', () => {
  const blocks = new BlockLog()
  blocks.add({ id: 'a/1', op: null, durationMs: 900, at: 0 })
  blocks.add({ id: 'a/1', op: null, durationMs: 300, at: RECENT_MS + 1 })
  expect(blocks.recent(RECENT_MS + 1)).toMatchObject([{ times: 1, longest: { durationMs: 300 } }])
  for (let i = 0; i < 60; i++) blocks.add({ id: `b/${i}`, op: null, durationMs: 300, at: RECENT_MS + 2 })
  expect(blocks.recent(RECENT_MS + 2)).toHaveLength(50)
})
