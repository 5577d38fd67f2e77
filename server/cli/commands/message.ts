/** `viv send` and `viv call`: messages to a process; a key of a known pool is activated by its first one. */
import { z } from 'zod'
import {
  ACT_HELP,
  ACT_OPTIONS,
  actBody,
  argument,
  type Command,
  type Invocation,
  processPath,
  server,
  textOf,
  wholeNumber,
  words,
} from '../command.ts'
import { EXIT } from '../outcome.ts'

/** Milliseconds; an hour is what a call may wait at the most. */
const TIMEOUT_MS_MAX = 3_600_000
const KEY_HELP = '    --key TEXT         idempotency key: the same key acts once'
const ARGS_HELP = 'ARGS is JSON; anything else is taken as text.'

export const sendCommand: Command = {
  name: 'send',
  synopsis: 'ID OP [ARGS]',
  summary: 'put a message into a mailbox and print its id',
  options: { ...ACT_OPTIONS, key: { type: 'string' } },
  help: [KEY_HELP, ...ACT_HELP, ARGS_HELP],
  async run(invocation: Invocation) {
    const answer = await post(invocation, 'send', {})
    const { messageId } = z.object({ messageId: z.string() }).parse(answer)
    invocation.print(invocation.json ? JSON.stringify(answer) : messageId)
    return EXIT.ok
  },
}

export const callCommand: Command = {
  name: 'call',
  synopsis: 'ID OP [ARGS]',
  summary: 'send a message, wait for its reply and print it as JSON',
  options: { ...ACT_OPTIONS, key: { type: 'string' }, timeout: { type: 'string' } },
  help: [`    --timeout MS       at most ${TIMEOUT_MS_MAX}`, KEY_HELP, ...ACT_HELP, ARGS_HELP],
  async run(invocation: Invocation) {
    const timeoutMs = wholeNumber(invocation.values, 'timeout', TIMEOUT_MS_MAX)
    const answer = await post(invocation, 'call', timeoutMs === undefined ? {} : { timeoutMs })
    const { reply } = z.object({ reply: z.unknown() }).parse(answer)
    invocation.print(invocation.json ? JSON.stringify(answer) : JSON.stringify(reply, null, 2))
    return EXIT.ok
  },
}

async function post(invocation: Invocation, verb: string, more: Record<string, unknown>): Promise<unknown> {
  const [id = '', op = '', args] = words(invocation, ['ID', 'OP', 'ARGS'], 1)
  const key = textOf(invocation.values, 'key')
  const body = { ...actBody(invocation), ...(key === undefined ? {} : { idempotencyKey: key }), ...more }
  const parsed = argument(args)
  const client = await server(invocation)
  return client.post(processPath(id, `/${verb}`), { ...body, op, args: parsed })
}
