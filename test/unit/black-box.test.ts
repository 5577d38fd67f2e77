/** What is kept of a crash: the black box of OBSERVER §2.11. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { World } from '../support/runtime.ts'

let world: World
beforeEach(() => {
  world = World.memory()
})
afterEach(() => world.close())

const fragile = agent('fragile', {
  state: () => ({ n: 0 }),
  on: {
    drop(ctx, text: string) {
      ctx.log.warn(`about to drop ${text}`)
      if (text === 'glass') throw new Error('it broke')
      ctx.state.n += 1
    },
  },
})

test('[J7] a failure record holds the last events before the end, the mailbox and the message in hand', async () => {
  const node = await world.node('a', [fragile])
  await world.refusal(node.ref(fragile, 'shelf').drop('glass').run())
  const { archive } = node.core.backend.handle
  const records = await archive.failures(node.core.namespace, { process: 'fragile/shelf', limit: 10 })
  expect(records.length).toBe(3)
  const [newest] = records
  const texts = newest?.box.events.map((event) => event.text) ?? []
  expect(texts).toContain('warn about to drop glass')
  expect(texts.some((text) => text.startsWith('incarnation 2 ended: crash Error: it broke'))).toBe(true)
  expect(newest?.box.turn?.op).toBe('drop')
  expect(newest).toMatchObject({ class: 'Crash', attempt: 3, decision: 'dead-letter' })
})
