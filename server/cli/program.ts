/**
 * `viv`: runs and steers a server from the command line.
 *
 * - Results go to standard output, everything else to standard error; with --json each is one JSON value a line.
 * - Exit codes are a promise, see `EXIT` and --help.
 */
import { parseArgs } from 'node:util'
import { packageVersion } from '../paths.ts'
import type { Command } from './command.ts'
import { cancelCommand, killCommand, restartCommand, resumeCommand, suspendCommand } from './commands/act.ts'
import { devCommand } from './commands/dev.ts'
import { doctorCommand } from './commands/doctor.ts'
import { exportCommand, importCommand } from './commands/file.ts'
import { inspectCommand } from './commands/inspect.ts'
import { editCommand, retryCommand, rewindCommand, skipCommand } from './commands/mend.ts'
import { callCommand, sendCommand } from './commands/message.ts'
import { psCommand } from './commands/ps.ts'
import { replayCommand } from './commands/replay.ts'
import { answerCommand, discardCommand, forkCommand } from './commands/sandbox.ts'
import { startCommand } from './commands/start.ts'
import { stopCommand } from './commands/stop.ts'
import { cliError, EXIT, type ExitCode, usage } from './outcome.ts'

const COMMANDS: readonly Command[] = [
  startCommand,
  devCommand,
  stopCommand,
  psCommand,
  inspectCommand,
  doctorCommand,
  sendCommand,
  callCommand,
  replayCommand,
  killCommand,
  restartCommand,
  suspendCommand,
  cancelCommand,
  resumeCommand,
  editCommand,
  rewindCommand,
  skipCommand,
  retryCommand,
  forkCommand,
  answerCommand,
  discardCommand,
  exportCommand,
  importCommand,
]

const COMMON_HELP = [
  '    --url URL          server to talk to',
  '    --data DIR         its data folder',
  '    --token TEXT       token, where the server asks for one',
  '    --json             one JSON value a line',
  '-h, --help             this text',
  '-v, --version          the version of this program',
  '',
  'The server is looked for in this order: --url, VIVARIUM_URL (unless --data is given), server.json in the folder of',
  '--data, server.json in ./.vivarium.',
  '',
  'Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 no such process, operation or server to stop,',
  '4 no server can be reached.',
]

/** Where a command writes: results to `print`, errors to `complain`. */
export type Output = { print: (line: string) => void; complain: (line: string) => void }

/** Runs one command line. Never throws: what went wrong is told and becomes the exit code. */
export async function runProgram(args: readonly string[], output: Output): Promise<ExitCode> {
  try {
    return await run(args, output.print)
  } catch (thrown) {
    const { message, exit, code } = cliError(thrown)
    output.complain(args.includes('--json') ? JSON.stringify({ code, message }) : `viv: ${message}`)
    return exit
  }
}

async function run(args: readonly string[], print: Output['print']): Promise<ExitCode> {
  const [name, ...rest] = args
  const asked = name === undefined ? undefined : COMMANDS.find((command) => command.name === name)
  if (asked === undefined) {
    if (name === '--help' || name === '-h' || name === 'help') return show(overview(), print)
    if (name === '--version' || name === '-v') return show([await packageVersion()], print)
    const problem = name === undefined ? 'Name a command.' : `There is no command ${JSON.stringify(name)}.`
    throw usage(`${problem} Commands: ${COMMANDS.map((command) => command.name).join(', ')}. viv --help tells more.`)
  }
  const { values, positionals } = parseArgs({
    args: rest,
    options: { ...asked.options, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
    strict: true,
  })
  if (values.help === true) return show(helpOf(asked), print)
  const plain = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, single(value)]))
  return asked.run({ values: plain, words: positionals, print, json: values.json === true })
}

function single(value: unknown): string | boolean | undefined {
  return typeof value === 'string' || typeof value === 'boolean' ? value : undefined
}

function show(lines: readonly string[], print: Output['print']): ExitCode {
  for (const line of lines) print(line)
  return EXIT.ok
}

function overview(): string[] {
  const width = Math.max(...COMMANDS.map(({ name, synopsis }) => name.length + synopsis.length))
  const commands = COMMANDS.map(
    ({ name, synopsis, summary }) => `  ${`${name} ${synopsis}`.padEnd(width + 3)}${summary}`,
  )
  return ['viv COMMAND [options]', '', ...commands, '', ...COMMON_HELP]
}

function helpOf({ name, synopsis, summary, help }: Command): string[] {
  return [`viv ${name} ${synopsis}`, '', `  ${summary}`, '', ...help, ...COMMON_HELP]
}
