/**
 * A run that is killed in the middle and finished by the next start: a recorded step, a wait for a signal, a sleep.
 * Run it twice: the first run ends with SIGKILL while the order waits; the second one finds it where it was.
 *
 *   node examples/07-durable-run.ts; node examples/07-durable-run.ts
 */
import { agent, createRuntime, pool } from 'vivarium'

const order = agent('order', {
  state: () => ({ status: 'new' }),
  on: {
    async fulfil(ctx, sku: string) {
      const receipt = await ctx.step('charge', ({ idempotencyKey }) => {
        console.log('the bank is asked')
        return `${sku} paid as ${idempotencyKey.slice(0, 8)}`
      })
      ctx.state.status = 'paid'
      await ctx.checkpoint() // what queries see from here on
      const approval = await ctx.receive<string>('approve', { timeoutMs: 7 * 24 * 3_600_000 })
      if (approval === null) return 'nobody approved it for a week'
      await ctx.sleep(100) // as well a month: the due time is recorded, not the timer
      ctx.state.status = 'shipped'
      return `${receipt}, approved by ${approval.message}`
    },
    approve(ctx, _by: string) {
      ctx.log.warn('approved, but nothing waits for it')
    },
  },
  queries: { status: (state) => state.status },
})

const data = process.argv[2]
const runtime = await createRuntime({ root: pool(order), ...(data === undefined ? {} : { data }) })
const run = await runtime.start(order, 'o-1', 'fulfil', 'tea', { idempotencyKey: 'o-1' })
if (run.created) {
  // The row of a process says what it waits for; here it may not be stored yet.
  while ((await runtime.inspect.process(run.process))?.wait?.kind !== 'receive') await new Promise(setImmediate)
  console.log('it waits for an approval; now this process is killed')
  process.kill(process.pid, 'SIGKILL')
}
await runtime.send(runtime.ref(order, 'o-1').approve('Grace'))
console.log(await run.result())
console.log('it is', await runtime.ref(order, 'o-1').status())
await runtime.stop()
