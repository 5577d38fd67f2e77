/**
 * A saga: a trip whose parts are booked one by one, and taken back in reverse when one of them cannot be had. The
 * process is killed in the middle of taking back; the next start goes on where it was. Then a trip that its customer
 * cancels.
 *
 *   node examples/08-trip-saga.ts; node examples/08-trip-saga.ts
 */
import { agent, createRuntime, pool } from 'vivarium'

const booked = (part: string): void => console.log(`${part} booked`)
const returned = (part: string): void => console.log(`${part} taken back`)

const trip = agent('trip', {
  state: () => ({ status: 'new' }),
  maxAttempts: 1,
  on: {
    async book(ctx, { car }: { car: boolean }) {
      for (const part of ['flight', 'hotel']) {
        // Before the step: whatever becomes of the booking, it is known how to take it back.
        ctx.onRollback(part, () => returned(part))
        await ctx.step(part, () => booked(part))
      }
      ctx.onRollback('mail', () => {
        // On the way back the last registration comes first.
        if (isFirst && !car) process.kill(process.pid, 'SIGKILL')
        returned('mail')
      })
      if (!car) throw new Error('no car is left')
      await ctx.sleep(14 * 24 * 3_600_000) // the customer may change his mind for two weeks
      ctx.state.status = 'booked'
    },
  },
  queries: { status: (state) => state.status },
})

const data = process.argv[2]
const runtime = await createRuntime({ root: pool(trip), ...(data === undefined ? {} : { data }) })
const failing = await runtime.start(trip, 't-1', 'book', { car: false }, { idempotencyKey: 't-1' })
const isFirst = failing.created
await failing.result().catch((error: { code: string }) => console.log(`t-1 ended with ${error.code}`))

const cancelled = await runtime.start(trip, 't-2', 'book', { car: true }, { idempotencyKey: 't-2' })
while ((await runtime.inspect.process(cancelled.process))?.wait?.kind !== 'sleep') await new Promise(setImmediate)
await cancelled.cancel('it will rain')
await cancelled.result().catch((error: Error) => console.log(error.message))
console.log('t-2 is', await runtime.ref(trip, 't-2').status())
await runtime.stop()
