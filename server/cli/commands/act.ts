/** The verbs on a process: `viv kill`, `restart`, `suspend`, `resume`, and `viv stop ID`. */
import { z } from 'zod'
import {
  ACT_HELP,
  ACT_OPTIONS,
  actBody,
  type Command,
  type Invocation,
  processPath,
  server,
  words,
} from '../command.ts'
import { EXIT, type ExitCode } from '../outcome.ts'

const resultSchema = z.object({ id: z.string(), incarnation: z.number(), outcome: z.string() })

export const killCommand = verb('kill', 'end a process at once; its supervisor decides on a restart')
export const restartCommand = verb('restart', 'end a process and start it anew; a supervisor with all its children')
export const cancelCommand = {
  name: 'cancel',
  synopsis: 'ID MESSAGE',
  summary: 'end the operation of a message: its code hears CANCELLED at a wait',
  options: ACT_OPTIONS,
  help: ACT_HELP,
  run: cancel,
} satisfies Command

export const suspendCommand = verb('suspend', 'let a process begin no new turn until resume')
export const resumeCommand = verb('resume', 'let a suspended process go on')

function verb(name: 'kill' | 'restart' | 'suspend' | 'resume', summary: string): Command {
  const run = (invocation: Invocation) => act(invocation, name)
  return { name, synopsis: 'ID', summary, options: ACT_OPTIONS, help: ACT_HELP, run }
}

async function cancel(invocation: Invocation): Promise<ExitCode> {
  const [id = '', message = ''] = words(invocation, ['ID', 'MESSAGE'])
  return ask(invocation, id, `messages/${encodeURIComponent(message)}/cancel`)
}

export async function act(invocation: Invocation, name: string): Promise<ExitCode> {
  const [id = ''] = words(invocation, ['ID'])
  return ask(invocation, id, name)
}

/** Asks the server for a verb and prints what it did. @param more  of the body, besides what every verb takes */
export async function ask(invocation: Invocation, target: string, verb: string, more: object = {}): Promise<ExitCode> {
  const body = { ...actBody(invocation), ...more }
  const client = await server(invocation)
  const answer = await client.post(processPath(target, `/${verb}`), body)
  const { id, incarnation, outcome } = resultSchema.parse(answer)
  invocation.print(invocation.json ? JSON.stringify(answer) : `${id}: ${outcome} (incarnation ${incarnation})`)
  return EXIT.ok
}
