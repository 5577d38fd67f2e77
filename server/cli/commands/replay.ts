/** `viv replay`: recorded turns of a process against the code of modules, before it is deployed. */
import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type RecordedProcess, recordedSchema, replayText } from '../../../shared/recorded.ts'
import { type Command, type Invocation, processPath, SERVER_OPTIONS, server } from '../command.ts'
import { readJsonFile } from '../json-file.ts'
import { EXIT, usage } from '../outcome.ts'

export const replayCommand: Command = {
  name: 'replay',
  synopsis: 'ID|FILE --modules MODULE...',
  summary: 'run recorded turns again under other code, without effects, and show what would diverge',
  options: { ...SERVER_OPTIONS, modules: { type: 'boolean' } },
  help: [
    '    ID                 a process of the server; FILE what viv export or inspect ID recorded printed',
    '    --modules MODULE.. the code: the modules of its agent and of every agent it refers to',
    'Exit code 1 when a turn diverges or fails. The handlers run; what they do outside ctx happens.',
    '',
  ],
  async run(invocation: Invocation) {
    const { words, values, print, json } = invocation
    const [subject, ...modules] = words
    if (subject === undefined || modules.length === 0 || values['modules'] !== true) {
      throw usage('Name a process or file and its code: viv replay ID --modules MODULE...')
    }
    const recorded = await recordedOf(invocation, subject)
    // Loaded here: other commands only speak HTTP and should not wait for a whole runtime to load.
    const { loadAgents, replayTurns } = await import('../../index.ts')
    const agents = await loadAgents(modules.map((path) => pathToFileURL(resolve(path))))
    const report = await replayTurns(recorded, { agents })
    if (json) print(JSON.stringify(report))
    else for (const line of replayText(report)) print(line)
    return report.ok ? EXIT.ok : EXIT.failed
  },
}

async function recordedOf(invocation: Invocation, subject: string): Promise<RecordedProcess> {
  const isFile = await access(subject).then(
    () => true,
    () => false,
  )
  if (!isFile) {
    const client = await server(invocation)
    return recordedSchema.parse(await client.get(processPath(subject, '/recorded')))
  }
  // Loaded here, as below.
  const { recordedFile } = await import('../../index.ts')
  return recordedFile(await readJsonFile(subject, 'what viv export or viv inspect ID recorded printed'))
}
