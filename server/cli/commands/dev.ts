/** `viv dev`: `viv start` for who writes the modules; each save of a file they load is a new generation of the code. */
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { realClock } from '../../clock.ts'
import { type Command, type Invocation, textOf, wholeNumber } from '../command.ts'
import type { DevOptions } from '../dev/generation.ts'
import { Turnover, type TurnoverPorts } from '../dev/turnover.ts'
import { EXIT, type ExitCode, usage } from '../outcome.ts'
import { endingSignal, PORT_MAX, START_HELP, START_OPTIONS } from './start.ts'

export const devCommand: Command = {
  name: 'dev',
  synopsis: 'MODULE...',
  summary: 'like start, and runs the new code at each save of a file the modules load',
  options: START_OPTIONS,
  help: START_HELP,
  async run(invocation: Invocation) {
    const { values } = invocation
    const modules = await Promise.all(invocation.words.map(modulePath))
    if (modules.length === 0) throw usage('MODULE is missing. Name a file whose default export is a supervisor.')
    const ended = endingSignal()
    const [data, host, token] = ['data', 'host', 'token'].map((name) => textOf(values, name))
    const options: DevOptions = {
      modules,
      ...(data === undefined ? {} : { data }),
      ...(host === undefined ? {} : { host }),
      ...(token === undefined ? {} : { token }),
    }
    const port = wholeNumber(values, 'port', PORT_MAX)
    const folder = process.cwd()
    const turnover = new Turnover({ clock: realClock(), options, port, folder, ...teller(invocation) })
    try {
      await Promise.race([turnover.start(), ended])
      await ended
    } finally {
      await turnover.close()
    }
    return EXIT.ok as ExitCode
  },
}

function teller({ print, json }: Invocation): Pick<TurnoverPorts, 'served' | 'failed' | 'ended' | 'unwatched'> {
  return {
    served({ serving: { url, place }, ms, generation, because }) {
      if (json) return print(JSON.stringify({ kind: 'serving', url, place, generation, ms, because }))
      if (generation === 1) print(`Observer: ${url}`)
      if (generation === 1) print(`Data in ${place}. Save a file to run it; stop with Ctrl-C.`)
      else print(`Generation ${generation} serves ${url} after ${ms} ms: ${because.join(', ')} changed.`)
    },
    failed({ generation, running }) {
      if (json) return print(JSON.stringify({ kind: 'failed', generation, running }))
      const then = running ? 'What ran before goes on.' : 'Nothing runs.'
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

/** As the module graph names it: links resolved. */
function modulePath(word: string): Promise<string> {
  const path = resolve(word)
  return realpath(path).catch(() => {
    throw usage(`${path} does not exist. Name an agent module (.ts or .js).`)
  })
}
