/**
 * A message that crashes its agent is tried three times, then kept as a dead letter; agent and neighbours go on.
 *
 *   node examples/02-supervision.ts
 */
import { agent, createRuntime, pool, RuntimeError, supervisor } from 'vivarium'

const worker = agent('worker', {
  state: () => ({ done: 0 }),
  on: {
    work(ctx, input: string) {
      if (input === 'poison') throw new Error('this input cannot be handled')
      ctx.state.done += 1
      return ctx.state.done
    },
  },
})

const root = supervisor('app', { strategy: 'one_for_one', children: [pool(worker)] })
const runtime = await createRuntime({ root, ...(process.argv[2] === undefined ? {} : { data: process.argv[2] }) })
runtime.on(['process:restart'], (event) => {
  if (event.kind === 'process:restart') console.log(`restart of ${event.id}`)
})

const one = runtime.ref(worker, 'one')
console.log('done:', await one.work('apple'))
try {
  await one.work('poison')
} catch (error) {
  if (!(error instanceof RuntimeError)) throw error
  console.log(`${error.code}: ${error.message}`)
}
console.log('done:', await one.work('pear'))
const letters = await runtime.inspect.deadLetters({ process: 'worker/one' })
console.log('dead letters:', letters.items.length)
await runtime.stop()
