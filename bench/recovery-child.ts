/** The process that bench `recovery` kills, and the one that resumes: 10,000 agents in the middle of a turn. */
import { agent, createRuntime, pool } from '../server/index.ts'

const [, , data = '', gate = 'begin', turns = '0'] = process.argv

const sleeper = agent('sleeper', {
  state: () => ({ done: 0 }),
  on: {
    async nap(ctx, n: number): Promise<number> {
      const first = await ctx.step('first', () => n)
      // The first process never gets past this; the second finds the gate open.
      const second = await ctx.step('second', () => (gate === 'go' ? n * 2 : new Promise<number>(() => {})))
      ctx.state.done += 1
      return first + second
    },
  },
})

const runtime = await createRuntime({ root: pool(sleeper), data })
process.once('SIGTERM', async () => {
  await runtime.stop()
  process.exit(0)
})
if (gate === 'begin') {
  for (let i = 0; i < Number(turns); i++) {
    // Never answered: the process is killed first, and the turns go on without their callers.
    runtime
      .ref(sleeper, `k${i}`)
      .nap(i)
      .catch(() => {})
  }
}
