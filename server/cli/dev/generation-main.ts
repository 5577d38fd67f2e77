/**
 * Entry of the process of a generation (generation.ts): starts the runtime, says so, and waits to be told to serve.
 *
 * - Files of the module graph are told as they are loaded, also those of a graph that does not load: a change of one of
 *   them is what mends it. Packages are none of them.
 * - It does not outlive the `viv dev` that started it.
 */
import { registerHooks } from 'node:module'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createRuntime, type Runtime } from '../../index.ts'
import { DATA_DEFAULT } from '../client.ts'
import { cliError } from '../outcome.ts'
import type { DevOptions, FromGeneration, ToGeneration } from './generation.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as DevOptions // written by generation.ts
const end = Promise.withResolvers<void>()
const serve = Promise.withResolvers<number | undefined>()

function tell(message: FromGeneration): void {
  process.send?.(message)
}

process.on('message', (message: ToGeneration) => {
  if (message.kind === 'serve') serve.resolve(message.port)
  else end.resolve()
})
process.once('disconnect', () => end.resolve())
// Ctrl-C reaches both; `viv dev` asks for the end.
process.on('SIGINT', () => {})
process.once('SIGTERM', () => end.resolve())

registerHooks({
  load(url, context, next) {
    if (url.startsWith('file:') && !url.includes('/node_modules/')) {
      tell({ kind: 'loaded', path: fileURLToPath(url) })
    }
    return next(url, context)
  },
})

try {
  await run()
} catch (error) {
  const { message, exit } = cliError(error)
  console.error(`viv dev: ${message}`)
  process.exitCode = exit
}
// What was told last is sent before the channel closes.
if (process.connected) process.disconnect?.()

async function run(): Promise<void> {
  const { modules, data, host, token } = options
  const urls = modules.map((path) => pathToFileURL(resolve(path)))
  const runtime = await createRuntime({
    modules: urls,
    exportTelemetry: true,
    ...(data === undefined ? {} : { data }),
  })
  try {
    tell({ kind: 'ready' })
    const port = await Promise.race([serve.promise, end.promise.then(() => null)])
    if (port === null) return
    await listen(runtime, { port, host, token })
    await end.promise
  } finally {
    await runtime.stop('signal')
  }
}

type Place = { port: number | undefined; host: string | undefined; token: string | undefined }

async function listen(runtime: Runtime, { port, host, token }: Place): Promise<void> {
  const { url } = await runtime.listen({
    data: options.data ?? DATA_DEFAULT,
    ...(port === undefined ? {} : { port }),
    ...(host === undefined ? {} : { host }),
    ...(token === undefined ? {} : { tokens: [{ token, name: 'cli', role: 'admin' as const }] }),
  })
  tell({ kind: 'serving', url, port: Number(new URL(url).port), place: runtime.place })
}
