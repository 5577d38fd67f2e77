/** A node of the tallies in a process of its own: `tally-node.ts DATA`. Calls each key it is sent, says its answer. */
import { createRuntime } from 'vivarium'
import { tallies, tally } from './tally.ts'

const runtime = await createRuntime({ root: tallies, data: process.argv[2] ?? '' })
process.on('message', (key: string) => {
  runtime
    .ref(tally, key)
    .add({ id: `child-${key}`, fill: '' })
    .then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.(String(error)),
    )
})
process.once('SIGTERM', () => void runtime.stop().then(() => process.exit(0)))
process.send?.('up')
