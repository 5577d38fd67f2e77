/**
 * A real program whose agent holds its thread for some time: `watch-child.ts MS [debug]`. Says over the IPC channel
 * when it begins, each block it hears of, and that it is done; `debug` opens the inspector before, as a person would.
 */
import { open } from 'node:inspector'
import { agent, pool } from 'vivarium'
import { memoryRuntime } from './memory-runtime.ts'

const [, , ms = '0', mode = ''] = process.argv
const say = (what: unknown): void => void process.send?.(what)
if (mode === 'debug') open(0, '127.0.0.1')

const spinner = agent('spinner', {
  state: () => null,
  durability: 'ephemeral',
  on: {
    spin() {
      const end = performance.now() + Number(ms)
      while (performance.now() < end);
    },
  },
})

const runtime = await memoryRuntime({ root: pool(spinner) })
runtime.on(['thread:block'], (event) => say(event))
process.on('message', () => void runtime.stop().then(() => process.disconnect?.()))
// A beat that knows of the debugger comes first.
await new Promise((resolve) => setTimeout(resolve, 200))
say('begin')
await runtime.ref(spinner, 'a').spin()
say('done')
