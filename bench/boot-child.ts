/** The process that bench `boot` starts: one agent, served. */
import { agent, createRuntime, pool } from '../server/index.ts'

const note = agent('note', { state: () => ({ text: '' }), on: { read: (ctx) => ctx.state.text } })
const runtime = await createRuntime({ root: pool(note), data: process.argv[2] ?? '' })
const { url } = await runtime.listen({ port: 0 })
console.log(url)
process.once('SIGTERM', async () => {
  await runtime.stop()
  process.exit(0)
})
