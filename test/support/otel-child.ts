/**
 * A real node that exports what it does: `otel-child.ts DATABASE_URL begin|resume`. Two agents of one conversation.
 *
 * - `begin` asks the desk once and stops in the middle, in a step that never ends: made to be killed there.
 * - `resume` only goes on with what it finds, and lets that step end.
 * Says what it reached over the IPC channel; `stop` drains it.
 */
import { trace } from '@opentelemetry/api'
import { agent, createRuntime, pool, supervisor } from 'vivarium'

const [, , databaseUrl = '', mode = 'begin'] = process.argv
const user = trace.getTracer('user')
const say = (what: string): void => void process.send?.(what)

const order = agent('order', {
  state: () => ({ reserved: 0, shipped: 0 }),
  on: {
    reserve(ctx, quantity: number): number {
      ctx.state.reserved += quantity
      return ctx.state.reserved
    },
    ship(ctx): void {
      ctx.state.shipped += 1
      ctx.after(1, 'done')
    },
    done(): void {
      say('shipped')
    },
  },
})

const desk = agent('desk', {
  state: () => ({ answered: 0 }),
  on: {
    async ask(ctx, quantity: number): Promise<number> {
      user.startSpan('reading the request').end()
      const price = await ctx.step('price', () =>
        user.startActiveSpan('price lookup', async (span) => {
          await Promise.resolve()
          span.end()
          return 7
        }),
      )
      const reserved = await ctx.ref(order, '1').reserve(quantity)
      await ctx.step('charge', () => (mode === 'begin' ? hang() : price * reserved))
      ctx.send(ctx.ref(order, '1').ship())
      ctx.state.answered += 1
      return reserved
    },
  },
})

function hang(): Promise<never> {
  say('hanging')
  return new Promise(() => {})
}

const root = supervisor('shop', { strategy: 'one_for_one', children: [pool(desk), pool(order)] })
const runtime = await createRuntime({ root, databaseUrl, exportTelemetry: true })
process.on('message', (what) => {
  if (what !== 'stop') return
  runtime.stop('asked').then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
if (mode === 'begin') await runtime.start(desk, 'alice', 'ask', 2, { idempotencyKey: 'once' })
