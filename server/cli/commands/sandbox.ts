/** `viv fork`, `answer`, `discard`: sandbox copies of processes. */
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

export const forkCommand: Command = {
  name: 'fork',
  synopsis: 'ID [--version N] [--as ID]',
  summary: 'make a sandbox copy of a process, from which nothing gets out',
  options: { ...ACT_OPTIONS, version: { type: 'string' }, as: { type: 'string' }, state: { type: 'string' } },
  help: [
    '    --version N        with the state of an earlier version; without it the open turn goes along',
    '    --state VALUE      with this state instead (JSON)',
    '    --as ID            id of the copy; by default the first free one of ID~1, ID~2 …',
    ...ACT_HELP,
  ],
  async run(invocation: Invocation) {
    const [id = ''] = words(invocation, ['ID'])
    const version = wholeNumber(invocation.values, 'version', Number.MAX_SAFE_INTEGER)
    const as = textOf(invocation.values, 'as')
    const state = textOf(invocation.values, 'state')
    return ask(invocation, id, 'fork', {
      ...(version === undefined ? {} : { version }),
      ...(as === undefined ? {} : { as }),
      ...(state === undefined ? {} : { state: argument(state) }),
    })
  },
}

export const answerCommand: Command = {
  name: 'answer',
  synopsis: 'ID [VALUE] [--error TEXT]',
  summary: 'give a process what it waits for: a sandbox copy, or a step from outside',
  options: { ...ACT_OPTIONS, error: { type: 'string' }, step: { type: 'string' } },
  help: [
    '    --error TEXT       fail what it waits for instead',
    '    --step KEY         key of what is answered, as viv inspect shows it; by default the oldest',
    ...ACT_HELP,
    'VALUE is JSON; anything else is taken as text. viv inspect shows what it waits for.',
  ],
  async run(invocation: Invocation) {
    const [id = '', text] = words(invocation, ['ID', 'VALUE'], 1)
    const error = textOf(invocation.values, 'error')
    const step = textOf(invocation.values, 'step')
    if ((text === undefined) === (error === undefined)) throw usage('Give either VALUE or --error TEXT.')
    const outcome = error === undefined ? { value: argument(text) } : { error }
    return ask(invocation, id, 'answer', { ...outcome, ...(step === undefined ? {} : { step }) })
  },
}

export const discardCommand: Command = {
  name: 'discard',
  synopsis: 'ID',
  summary: 'take a sandbox copy away, with everything that is stored of it',
  options: ACT_OPTIONS,
  help: ACT_HELP,
  async run(invocation: Invocation) {
    const [id = ''] = words(invocation, ['ID'])
    return ask(invocation, id, 'discard', {})
  },
}
