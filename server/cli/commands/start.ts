/** `viv start`: a server for agent modules; runs until SIGTERM or SIGINT, then drains. */
import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DATA_DEFAULT } from '../client.ts'
import { type Command, type Invocation, textOf, type Values, wholeNumber } from '../command.ts'
import { EXIT, type ExitCode, usage } from '../outcome.ts'

const PORT_MAX = 65_535

export const START_OPTIONS = {
  data: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  token: { type: 'string' },
} as const satisfies Command['options']

export const START_HELP: readonly string[] = [
  '    --data DIR         data folder, default DATABASE_URL if set, else .vivarium',
  '    --port N           default 4711; 0 takes a free one',
  '    --host ADDRESS     default 127.0.0.1; any other address needs --token',
  '    --token TEXT       ask callers for this token; it makes them admin',
]

export const startCommand: Command = {
  name: 'start',
  synopsis: 'MODULE...',
  summary: 'run agent modules (.ts or .js; the default export is the tree) and serve the observer',
  options: START_OPTIONS,
  help: START_HELP,
  async run(invocation: Invocation) {
    const { values, print, json } = invocation
    const modules = await moduleUrls(invocation.words)
    const options = optionsOf(values)
    const { data } = options
    // Before anything is started: what a signal interrupts halfway would be left running.
    const ended = endingSignal()
    // Loaded here: other commands only speak HTTP and should not wait for a whole runtime to load.
    const { createRuntime } = await import('../../index.ts')
    const runtime = await createRuntime({ modules, exportTelemetry: true, ...(data === undefined ? {} : { data }) })
    try {
      const { url } = await runtime.listen(serveOptions(options))
      print(json ? JSON.stringify({ url, pid: process.pid, place: runtime.place }) : `Observer: ${url}`)
      if (!json) print(`Data in ${runtime.place}. Stop with Ctrl-C.`)
      await ended
    } finally {
      await runtime.stop('signal')
    }
    return EXIT.ok as ExitCode
  },
}

/** @throws CliError  naming what is missing */
export async function moduleUrls(words: readonly string[]): Promise<URL[]> {
  if (words.length === 0) throw usage('MODULE is missing. Name a file whose default export is a supervisor.')
  const paths = words.map((word) => resolve(word))
  for (const path of paths) {
    await access(path).catch(() => {
      throw usage(`${path} does not exist. Name an agent module (.ts or .js).`)
    })
  }
  return paths.map((path) => pathToFileURL(path))
}

/** Options of a server that a command line gives. */
export type ServeOptions = {
  readonly data?: string
  readonly port?: number
  readonly host?: string
  readonly token?: string
}

export function optionsOf(values: Values): ServeOptions {
  const [data, host, token] = ['data', 'host', 'token'].map((name) => textOf(values, name))
  const port = wholeNumber(values, 'port', PORT_MAX)
  return {
    ...(data === undefined ? {} : { data }),
    ...(port === undefined ? {} : { port }),
    ...(host === undefined ? {} : { host }),
    ...(token === undefined ? {} : { token }),
  }
}

/** What `runtime.listen` is given for them. */
export function serveOptions({ data = DATA_DEFAULT, token, ...rest }: ServeOptions) {
  return {
    data,
    ...rest,
    ...(token === undefined ? {} : { tokens: [{ token, name: 'cli', role: 'admin' as const }] }),
  }
}

/** Resolves at the first signal; a second one ends the program at once. */
export function endingSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
