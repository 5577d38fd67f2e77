/** `viv dev`: `viv start` for who writes the modules; each save of a file they load is a new generation of the code. */
import { realpath } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { realClock } from '../../clock.ts'
import type { Command, Invocation } from '../command.ts'
import { Turnover, type TurnoverPorts } from '../dev/turnover.ts'
import { CliError, EXIT, type ExitCode } from '../outcome.ts'
import { endingSignal, moduleUrls, optionsOf, START_HELP, START_OPTIONS } from './start.ts'

export const devCommand: Command = {
  name: 'dev',
  synopsis: 'MODULE...',
  summary: 'like start, and runs the new code at each save of a file the modules load',
  options: START_OPTIONS,
  help: START_HELP,
  async run(invocation: Invocation) {
    const options = optionsOf(invocation.values)
    const urls = await moduleUrls(invocation.words)
    // As the module graph names them: links resolved.
    const modules = await Promise.all(urls.map((url) => realpath(fileURLToPath(url))))
    const ended = endingSignal()
    const refused = Promise.withResolvers<never>()
    const turnover = new Turnover({
      ...{ clock: realClock(), modules, options, folder: process.cwd() },
      ...teller(invocation, refused.reject),
    })
    try {
      void turnover.start()
      await Promise.race([ended, refused.promise])
      // Whoever asks twice does not want to wait for the end.
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.prependOnceListener(signal, () => turnover.kill())
    } finally {
      await turnover.close()
    }
    return EXIT.ok as ExitCode
  },
}

type Teller = Pick<TurnoverPorts, 'served' | 'failed' | 'ended' | 'unwatched'>

/** @param refuse  the first generation cannot be reached: no save of a file mends an address */
function teller({ print, json }: Invocation, refuse: (error: CliError) => void): Teller {
  return {
    served({ serving: { url, place }, ms, generation, because }) {
      if (json) return print(JSON.stringify({ kind: 'serving', url, place, generation, ms, because }))
      if (generation === 1) print(`Observer: ${url}`)
      if (generation === 1) print(`Data in ${place}. Save a file to run it; stop with Ctrl-C.`)
      else print(`Generation ${generation} serves ${url} after ${ms} ms: ${because.join(', ')} changed.`)
    },
    failed({ generation, running, failure }) {
      const { step = 'load', code = 'INTERNAL', message = 'Its process ended without a word.' } = failure ?? {}
      if (generation === 1 && failure !== null && step === 'listen') {
        return refuse(new CliError(failure.exit, message, code))
      }
      if (json) return print(JSON.stringify({ kind: 'failed', generation, running, code, message }))
      const then = running ? 'What ran before goes on.' : 'Nothing runs.'
      console.error(`viv dev: ${message}`)
      console.error(`viv dev: generation ${generation} did not start. ${then} Save a file to try again.`)
    },
    ended({ generation }) {
      if (json) return print(JSON.stringify({ kind: 'ended', generation }))
      console.error(`viv dev: generation ${generation} ended, and nothing runs. Save a file to start the next.`)
    },
    unwatched(folder, error) {
      console.error(`viv dev: changes in ${folder} are not seen: ${error instanceof Error ? error.message : error}`)
    },
  }
}
