/**
 * `viv stop`: without an id the server of a data folder, and the embedded Postgres that a killed one left behind; with
 * an id that process, gracefully.
 */
import { resolve } from 'node:path'
import { realClock } from '../../clock.ts'
import { DATA_DEFAULT, readServerFile, type ServerFile } from '../client.ts'
import { ACT_HELP, ACT_OPTIONS, type Command, type Invocation, textOf } from '../command.ts'
import { CliError, EXIT, type ExitCode, usage } from '../outcome.ts'
import { isServerAlive } from '../server-process.ts'
import { act } from './act.ts'

/** Milliseconds a server has to drain: its own limit is below ten seconds, then the database stops. */
const DRAIN_MS_MAX = 30_000
const LOOK_MS = 100

export const stopCommand: Command = {
  name: 'stop',
  synopsis: '[ID]',
  summary: 'stop a process gracefully; without ID the server of --data',
  options: ACT_OPTIONS,
  help: ['    --data DIR         folder of the server to stop, default .vivarium', ...ACT_HELP],
  async run(invocation: Invocation) {
    return invocation.words.length > 0 ? act(invocation, 'stop') : stopServer(invocation)
  },
}

async function stopServer({ values, print, json }: Invocation): Promise<ExitCode> {
  if (textOf(values, 'url') !== undefined) {
    throw usage('A server is stopped by its data folder: viv stop --data DIR. With --url name a process.')
  }
  const folder = resolve(textOf(values, 'data') ?? DATA_DEFAULT)
  const file = await readServerFile(folder)
  const running = file !== null && (await isServerAlive(file))
  if (running) await terminate(file)
  const { stopEmbedded } = await import('../../store/embedded/embedded.ts')
  const database = await stopEmbedded(folder)
  if (!running && database === 'not-running') {
    throw new CliError(EXIT.notFound, `Nothing runs on ${folder}. Name another folder with --data.`, 'SERVER_NOT_FOUND')
  }
  const stopped = { folder, server: running ? file.pid : null, database: database === 'stopped' }
  if (json) print(JSON.stringify(stopped))
  else if (running) print(`Stopped the server of ${folder} (process ${file.pid}).`)
  else print(`Stopped the database that a killed server left on ${folder}.`)
  return EXIT.ok
}

async function terminate(file: ServerFile): Promise<void> {
  const { pid } = file
  process.kill(pid, 'SIGTERM')
  const clock = realClock()
  const until = clock.monotonic() + DRAIN_MS_MAX
  while (await isServerAlive(file)) {
    if (clock.monotonic() > until) {
      const message = `Process ${pid} did not end within ${DRAIN_MS_MAX / 1_000} s of SIGTERM. Look at its output.`
      throw new CliError(EXIT.failed, message, 'INTERNAL')
    }
    await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve))
  }
}
