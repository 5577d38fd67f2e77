/** An operator drops a waiting message while another is in hand, and the node dies: only the dropped one is gone. */
import { afterEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { World } from '../support/runtime.ts'

let hangs = true
const worker = agent('worker', {
  state: () => ({ done: [] as string[] }),
  on: {
    async work(ctx, { id }: { id: string }) {
      await ctx.step('begin', () => id)
      if (hangs) await new Promise(() => {})
      ctx.state.done.push(id)
    },
  },
})

const world = World.memory()
afterEach(() => world.close())

test('[B16] a message that is dropped takes no open turn with it', async () => {
  hangs = true
  const first = await world.node('first', [worker])
  const kept = await first.call(first.send(first.ref(worker, 'k').work({ id: 'kept' })))
  const dropped = await first.call(first.send(first.ref(worker, 'k').work({ id: 'dropped' })))
  await world.advance(100)
  await first.call(first.control.dropMessage('worker/k', dropped, { actor: 'test' }))
  await world.advance(100)
  first.kill()
  hangs = false
  const second = await world.node('second', [worker])
  await world.until(async () => JSON.stringify(await second.stored('worker/k')) === '{"done":["kept"]}', kept)
  const letters = await second.core.backend.handle.archive.deadLetters('default', { limit: 10 })
  expect(letters.map((letter) => letter.messageId)).toEqual([dropped])
})
