/**
 * Calls, steps and sends between agents (the agents are in shop.ts), and a started operation that survives its caller.
 *
 *   node examples/03-shop.ts
 */
import { createRuntime } from 'vivarium'
import { cart, inventory, mailer } from './shop.ts'

const data = process.argv[2]
const runtime = await createRuntime({
  modules: [new URL('./shop.ts', import.meta.url)],
  ...(data === undefined ? {} : { data }),
})
const alice = runtime.ref(cart, 'alice')
await alice.add({ sku: 'tea', qty: 2 })
await alice.add({ sku: 'cup', qty: 1 })

// The same key starts the checkout once, however often this line runs.
const handle = await runtime.start(cart, 'alice', 'checkout', { number: '4242' }, { idempotencyKey: 'order-1' })
console.log('receipt:', await handle.result())
console.log('cart is', await alice.status(), 'and tea has', await runtime.ref(inventory, 'tea').free(), 'left')
// A message to the mailer makes this read wait for nothing: queries see what is committed.
while ((await runtime.ref(mailer, 'main').count()) === 0) await new Promise(setImmediate)
console.log('mails:', await runtime.ref(mailer, 'main').count())
await runtime.stop()
