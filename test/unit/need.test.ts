/** "Needs you": what an operator is shown first. */
import { afterEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { needsOf } from '../../server/host/need.ts'
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
