/**
 * `viv doctor`: what does not go on by itself, why, and what to do. Asks the server, or the tables where none runs.
 * Exit code 1 when something needs somebody.
 */
import { z } from 'zod'
import { realClock } from '../../clock.ts'
import { readConfig } from '../../config.ts'
import { DATA_DEFAULT } from '../client.ts'
import { type Command, type Invocation, SERVER_OPTIONS, server, textOf, words } from '../command.ts'
import { CliError, EXIT } from '../outcome.ts'
import { age } from '../table.ts'

const diagnosisSchema = z.object({
  ok: z.boolean(),
  findings: z.array(
    z.object({
      severity: z.string(),
      kind: z.string(),
      since: z.number().nullable(),
      why: z.string(),
      todo: z.string(),
    }),
  ),
})
type Shown = z.infer<typeof diagnosisSchema>

export const doctorCommand: Command = {
  name: 'doctor',
  synopsis: '',
  summary: 'list work that does not go on by itself, why, and what to do; exit code 1 if somebody is needed',
  options: SERVER_OPTIONS,
  help: ['Where no server runs, the tables of --data (or DATABASE_URL) are asked; nothing is changed.', ''],
  async run(invocation: Invocation) {
    words(invocation, [])
    const { print, json } = invocation
    const answer = await ask(invocation)
    const diagnosis = diagnosisSchema.parse(answer)
    if (json) print(JSON.stringify(answer))
    else for (const line of lines(diagnosis)) print(line)
    return diagnosis.ok ? EXIT.ok : EXIT.failed
  },
}

async function ask(invocation: Invocation): Promise<unknown> {
  const { values } = invocation
  try {
    const client = await server(invocation)
    return await client.get('/doctor')
  } catch (error) {
    const data = textOf(values, 'data')
    const named = textOf(values, 'url') !== undefined || (data === undefined && readConfig().serverUrl !== null)
    if (named || !(error instanceof CliError) || error.exit !== EXIT.unreachable) throw error
    const databaseUrl = data === undefined ? readConfig().databaseUrl : null
    // Loaded here: with a server this command only speaks HTTP and should not wait for a whole runtime to load.
    const { diagnoseStore } = await import('../../index.ts')
    return diagnoseStore(databaseUrl === null ? { data: data ?? DATA_DEFAULT } : { databaseUrl })
  }
}

function lines({ findings }: Shown): string[] {
  if (findings.length === 0) return ['Nothing needs you.']
  const now = realClock().now()
  return findings.flatMap(({ severity, since, why, todo }) => [
    `${severity}${since === null ? '' : `, for ${age(now - since)}`}: ${why}`,
    `    ${todo}`,
  ])
}
