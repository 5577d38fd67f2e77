/**
 * What the compiler must refuse. This file is never run: `npm run typecheck` fails when an expectation does not hold.
 */
import { agent, type Context, computeModule, model, type Runtime } from 'vivarium'
import { cart, inventory } from '../../examples/shop.ts'

const work = computeModule<typeof import('./compute-work.ts')>(new URL('./compute-work.ts', import.meta.url))
const sizes = model<typeof import('./compute-model.ts')>('sizes', { module: new URL(import.meta.url) })

export async function misuseThreads(ctx: Context<null>): Promise<void> {
  // @ts-expect-error no such export
  ctx.task(work, 'scroe', [['a']])
  // @ts-expect-error an argument of another type
  ctx.task(work, 'score', ['a'])
  // @ts-expect-error an argument is missing
  ctx.task(work, 'add', [1])
  // @ts-expect-error the result is a number
  const text: string = await ctx.task(work, 'add', [1, 2]).result()
  // @ts-expect-error no function
  ctx.task(work, 'VERSION', [])
  // @ts-expect-error no function but a class
  ctx.task(work, 'Model', [])
  // @ts-expect-error its result has a method
  ctx.task(work, 'makeModel', [])
  // @ts-expect-error it takes a function
  ctx.task(work, 'callback', [() => {}])
  // @ts-expect-error no heartbeats come from a thread
  ctx.task(work, 'echo', [new Map()], { heartbeatMs: 5, key: text })
  // @ts-expect-error an input of another type
  await ctx.infer(sizes, { txt: 'a' })
  // @ts-expect-error the output has no such field
  const { tokens } = await ctx.infer(sizes, { text: `${text}` })
  // @ts-expect-error a module without run is no model
  await ctx.infer(model<typeof import('./compute-work.ts')>('work', { module: new URL(tokens) }), 1)
}

export async function misuse(runtime: Runtime): Promise<void> {
  const alice = runtime.ref(cart, 'alice')
  // @ts-expect-error a key is a string
  runtime.ref(cart, 7)
  // @ts-expect-error no such operation
  await alice.remove({ sku: 'tea', qty: 1 })
  // @ts-expect-error the message has another shape
  await alice.add({ sku: 'tea' })
  // @ts-expect-error the message is missing
  await alice.add()
  // @ts-expect-error a query of this agent takes no message
  await runtime.ref(inventory, 'tea').free(1)
  // @ts-expect-error the reply is a number
  const text: string = await alice.add({ sku: 'tea', qty: 1 })
  // @ts-expect-error start knows the operations too
  await runtime.start(cart, 'alice', 'remove', { sku: 'tea' })
  // @ts-expect-error a send needs a call, not its result
  await runtime.send(text)
  agent('wrong', {
    state: () => ({ n: 0 }),
    on: {
      set(ctx) {
        // @ts-expect-error the state has no such field
        ctx.state.m = 1
      },
    },
  })
}
