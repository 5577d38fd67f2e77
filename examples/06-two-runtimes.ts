/**
 * Two runtimes in one process never meet: each has its own agents, data and observer.
 *
 *   node examples/06-two-runtimes.ts
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { agent, createRuntime, pool } from 'vivarium'

const counter = agent('counter', {
  state: () => ({ n: 0 }),
  on: {
    add(ctx, by: number) {
      ctx.state.n += by
      return ctx.state.n
    },
  },
})

const folder = process.argv[2] ?? (await mkdtemp(join(tmpdir(), 'vivarium-')))
// One database, two schemas; two folders would do as well.
const left = await createRuntime({ root: pool(counter), data: folder, schema: 'left_side' })
const right = await createRuntime({ root: pool(counter), data: folder, schema: 'right_side' })
console.log('left:', await left.ref(counter, 'a').add(1), 'right:', await right.ref(counter, 'a').add(10))
await left.stop()
console.log('right alone:', await right.ref(counter, 'a').add(10))
await right.stop()
