/** `viv export` and `viv import`: one process as a file. */
import { z } from 'zod'
import {
  ACT_OPTIONS,
  type Command,
  type Invocation,
  processPath,
  SERVER_OPTIONS,
  server,
  textOf,
  words,
} from '../command.ts'
import { readJsonFile } from '../json-file.ts'
import { EXIT } from '../outcome.ts'

const resultSchema = z.object({ id: z.string(), outcome: z.string() })

export const exportCommand: Command = {
  name: 'export',
  synopsis: 'ID',
  summary: 'print everything stored of a process: viv export ID > FILE',
  options: SERVER_OPTIONS,
  help: ['Ties, names and streams are not part of it.', ''],
  async run(invocation: Invocation) {
    const [id = ''] = words(invocation, ['ID'])
    const client = await server(invocation)
    invocation.print(JSON.stringify(await client.get(processPath(id, '/export'))))
    return EXIT.ok
  },
}

export const importCommand: Command = {
  name: 'import',
  synopsis: 'FILE',
  summary: 'store an exported process; it goes on where it was',
  options: { ...SERVER_OPTIONS, reason: ACT_OPTIONS.reason, as: { type: 'string' }, replace: { type: 'boolean' } },
  help: [
    '    --as ID            another id of the same agent: a copy, to whose messages nobody waits for answers',
    '    --replace          take the place of a process of this id that no node runs',
    '-r, --reason TEXT      why; kept in the audit',
  ],
  async run(invocation: Invocation) {
    const { values, print, json } = invocation
    const [path = ''] = words(invocation, ['FILE'])
    const file = await readJsonFile(path, 'a file that viv export wrote')
    const [as, reason] = [textOf(values, 'as'), textOf(values, 'reason')]
    const more = { ...(as === undefined ? {} : { as }), ...(reason === undefined ? {} : { reason }) }
    const client = await server(invocation)
    const answer = await client.post('/import', { file, replace: values['replace'] === true, ...more })
    const { id, outcome } = resultSchema.parse(answer)
    print(json ? JSON.stringify(answer) : `${id}: ${outcome}`)
    return EXIT.ok
  },
}
