/**
 * The smithy in a process of its own: `smithy-main.ts DATA PORT VISITORS RUN`. Says its address once the load runs.
 *
 * Keys of visitors carry RUN, so that after a restart every visitor of the run before is one too many.
 */
import { createRuntime } from 'vivarium'
import { crier, smithy, ticker, tickers, visitor, WORKERS, worker } from './smithy.ts'

const [, , data = '', port = '0', visitors = '0', run = ''] = process.argv
const runtime = await createRuntime({ root: smithy, data })
const { url } = await runtime.listen({ port: Number(port) })
const keys = Array.from({ length: Number(visitors) }, (_, index) => `${run}-${String(index).padStart(5, '0')}`)
await Promise.all(keys.map((key) => runtime.send(runtime.ref(visitor, key).hear())))
await runtime.send(runtime.ref(crier, 'main').begin(keys))
await Promise.all(tickers.map((key) => runtime.send(runtime.ref(ticker, key).tick())))
for (const [key, depth] of Object.entries(WORKERS)) {
  const { mailbox } = (await runtime.inspect.process(`worker/${key}`)) ?? { mailbox: 0 }
  const pieces = Array.from({ length: Math.max(0, depth - mailbox) }, (_, piece) => ({ piece, of: run }))
  await Promise.all(pieces.map((piece) => runtime.send(runtime.ref(worker, key).forge(piece))))
}
process.send?.(url)
