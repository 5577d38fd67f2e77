/**
 * Entry of the process of a generation (generation.ts): starts the runtime, says so, and waits to be told to serve.
 *
 * - What it was loaded from is said by loaded-files.ts, in every thread.
 * - It ends when it is told to, and when the `viv dev` that started it is gone; what user code left running does not
 *   hold it. Only code that never comes back does: it is killed.
 */
import { BroadcastChannel } from 'node:worker_threads'
import { createRuntime } from '../../index.ts'
import { moduleUrls, type ServeOptions, serveOptions } from '../commands/start.ts'
import { cliError, EXIT } from '../outcome.ts'
import type { DevOptions, Failed, FromGeneration, ToGeneration } from './generation.ts'
import { LOADED_CHANNEL } from './loaded-files.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as DevOptions // written by generation.ts

/** A URL does not say it. */
const HTTP_PORT = 80

/** Whoever is gone needs no telling. */
function tell(message: FromGeneration): void {
  if (process.connected) process.send?.(message, () => {})
}

class GenerationMain {
  readonly #end = Promise.withResolvers<null>()
  readonly #serve = Promise.withResolvers<ServeOptions>()
  #step: Failed['step'] = 'load'

  constructor() {
    process.on('message', (message: ToGeneration) => {
      if (message.kind === 'serve') this.#serve.resolve(message.options)
      else this.#end.resolve(null)
    })
    process.once('disconnect', () => {
      this.#end.resolve(null)
      // Nobody is there who would kill what hangs in its modules.
      if (this.#step === 'load') process.exit(EXIT.failed)
    })
    // Ctrl-C reaches both; `viv dev` asks for the end.
    process.on('SIGINT', () => {})
    process.once('SIGTERM', () => this.#end.resolve(null))
    const loaded = new BroadcastChannel(LOADED_CHANNEL)
    loaded.unref()
    loaded.onmessage = ({ data }) => tell({ kind: 'loaded', path: String(data) })
  }

  async run(): Promise<void> {
    try {
      await this.#run()
    } catch (error) {
      const { message, exit, code } = cliError(error)
      process.exitCode = exit
      tell({ kind: 'failed', step: this.#step, exit, code, message })
    }
    // What was told last arrives before the channel is closed. What user code left running is not waited for.
    process.once('disconnect', () => process.exit())
    if (process.connected) process.disconnect?.()
    else process.exit()
  }

  async #run(): Promise<void> {
    const { data } = options
    const modules = await moduleUrls(options.modules)
    const runtime = await createRuntime({ modules, exportTelemetry: true, ...(data === undefined ? {} : { data }) })
    this.#step = 'listen'
    try {
      tell({ kind: 'ready' })
      const serving = await Promise.race([this.#serve.promise, this.#end.promise])
      if (serving === null) return
      const { url } = await runtime.listen(serveOptions(serving))
      tell({ kind: 'serving', url, port: Number(new URL(url).port || HTTP_PORT), place: runtime.place })
      await this.#end.promise
    } finally {
      await runtime.stop('signal')
    }
  }
}

await new GenerationMain().run()
