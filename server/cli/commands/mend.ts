/** `viv edit`, `rewind`, `skip`, `retry`: verbs on the state and the turn of a process. */
import {
  ACT_HELP,
  ACT_OPTIONS,
  argument,
  type Command,
  type Invocation,
  textOf,
  wholeNumber,
  words,
} from '../command.ts'
import { usage } from '../outcome.ts'
import { ask } from './act.ts'

const VERSION_HELP = '    --expect VERSION   refuse if the state is not that version any more'

export const editCommand: Command = {
  name: 'edit',
  synopsis: 'ID VALUE --expect VERSION',
  summary: 'replace the state of a process by VALUE, if it is still VERSION',
  options: { ...ACT_OPTIONS, expect: { type: 'string' } },
  help: [VERSION_HELP, ...ACT_HELP, 'VALUE is JSON; anything else is taken as text. viv inspect shows the version.'],
  async run(invocation: Invocation) {
    const [id = '', text] = words(invocation, ['ID', 'VALUE'])
    const expectedVersion = expected(invocation)
    if (expectedVersion === undefined) throw usage('--expect is missing: the version of the state that VALUE replaces.')
    return ask(invocation, id, 'state', { value: argument(text), expectedVersion })
  },
}

export const rewindCommand: Command = {
  name: 'rewind',
  synopsis: 'ID VERSION',
  summary: 'make the state of an earlier version the newest one; nothing else is undone',
  options: { ...ACT_OPTIONS, expect: { type: 'string' } },
  help: [VERSION_HELP, ...ACT_HELP],
  async run(invocation: Invocation) {
    const [id = '', text = ''] = words(invocation, ['ID', 'VERSION'])
    const version = wholeNumber({ VERSION: text }, 'VERSION', Number.MAX_SAFE_INTEGER)
    const expectedVersion = expected(invocation)
    return ask(invocation, id, 'rewind', { version, ...(expectedVersion === undefined ? {} : { expectedVersion }) })
  },
}

export const skipCommand: Command = {
  name: 'skip',
  synopsis: 'ID [MESSAGE]',
  summary: 'give a message up, the one in hand by default; it becomes a dead letter',
  options: ACT_OPTIONS,
  help: ACT_HELP,
  async run(invocation: Invocation) {
    const [id = '', message] = words(invocation, ['ID', 'MESSAGE'], 1)
    return ask(invocation, id, 'skip', message === undefined ? {} : { message })
  },
}

export const retryCommand: Command = {
  name: 'retry',
  synopsis: 'ID [--step N]',
  summary: 'run the open turn of a process again, from the start or from result N on',
  options: { ...ACT_OPTIONS, step: { type: 'string' }, turn: { type: 'string' } },
  help: [
    '    --step N           keep the results before the Nth; what a checkpoint stored is always kept',
    '    --turn ID          refuse if another turn is open by now',
    ...ACT_HELP,
  ],
  async run(invocation: Invocation) {
    const [id = ''] = words(invocation, ['ID'])
    const step = wholeNumber(invocation.values, 'step', Number.MAX_SAFE_INTEGER)
    const turn = textOf(invocation.values, 'turn')
    const more = { ...(step === undefined ? {} : { step }), ...(turn === undefined ? {} : { turn }) }
    return ask(invocation, id, 'retry', more)
  },
}

function expected({ values }: Invocation): number | undefined {
  return wholeNumber(values, 'expect', Number.MAX_SAFE_INTEGER)
}
