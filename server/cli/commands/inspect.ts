/** `viv inspect`: everything about one process. */
import { type Command, type Invocation, processPath, SERVER_OPTIONS, server, words } from '../command.ts'
import { EXIT, usage } from '../outcome.ts'

const PARTS = ['state', 'mailbox', 'journal', 'failures', 'recorded'] as const

export const inspectCommand: Command = {
  name: 'inspect',
  synopsis: 'ID [state|mailbox|journal|failures|recorded]',
  summary: 'show one process and its state, or one part of it',
  options: SERVER_OPTIONS,
  help: [],
  async run(invocation: Invocation) {
    const { print, json } = invocation
    const [id = '', part] = words(invocation, ['ID', 'PART'], 1)
    if (part !== undefined && !(PARTS as readonly string[]).includes(part)) {
      throw usage(`${JSON.stringify(part)} is no part of a process. Use one of ${PARTS.join(', ')}.`)
    }
    const client = await server(invocation)
    const answer =
      part === undefined
        ? { ...Object(await client.get(processPath(id))), state: await client.get(processPath(id, '/state')) }
        : await client.get(processPath(id, `/${part}`))
    print(JSON.stringify(answer, null, json ? undefined : 2))
    return EXIT.ok
  },
}
