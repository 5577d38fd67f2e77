/** `ctx.transaction` where no database can carry rows. */
import { afterEach, expect, test } from 'vitest'
import { agent } from '../../server/definition/agent.ts'
import { World } from '../support/runtime.ts'

const world = World.memory()
afterEach(() => world.close())

const on = {
  async write(ctx: { transaction(fn: () => unknown): Promise<unknown>; state: unknown }) {
    try {
      return await ctx.transaction(() => expect.fail('the callback ran'))
    } catch (error) {
      const { code, message } = error as { code: string; message: string } // refused by the runtime
      return { code, message }
    }
  },
}
const kept = agent('kept', { state: () => ({ n: 0 }), on })
const loose = agent('loose', { durability: 'ephemeral', state: () => ({ n: 0 }), on })

test('[T15] state in memory and ephemeral agents are refused with what to do', async () => {
  const node = await world.node('a', [kept, loose])
  expect(await node.call(node.ref(kept, 'k').write())).toEqual({
    code: 'TRANSACTION_UNSUPPORTED',
    message: expect.stringContaining('databaseUrl'),
  })
  expect(await node.call(node.ref(loose, 'k').write())).toEqual({
    code: 'TRANSACTION_UNSUPPORTED',
    message: expect.stringContaining('Make the agent durable'),
  })
})
