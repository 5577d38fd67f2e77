/**
 * One durable agent. Run it twice: the second run counts on, because the state is in the folder `.vivarium`.
 *
 *   node examples/01-hello.ts
 */
import { agent, createRuntime, pool } from 'vivarium'

const greeter = agent('greeter', {
  state: () => ({ visits: 0 }),
  on: {
    greet(ctx, name: string) {
      ctx.state.visits += 1
      return `Hello ${name}, this is visit ${ctx.state.visits}.`
    },
  },
  queries: { visits: (state) => state.visits },
})

const runtime = await createRuntime({ root: pool(greeter), ...dataFromArguments() })
console.log(await runtime.ref(greeter, 'world').greet('Ada'))
console.log(`Visits so far: ${await runtime.ref(greeter, 'world').visits()}`)
await runtime.stop()

function dataFromArguments(): { data?: string } {
  const folder = process.argv[2]
  return folder === undefined ? {} : { data: folder }
}
