/** `viv ps`: the processes that live now, with what each waits for. */
import { z } from 'zod'
import { realClock } from '../../clock.ts'
import { type Command, type Invocation, SERVER_OPTIONS, server, textOf, wholeNumber } from '../command.ts'
import { EXIT } from '../outcome.ts'
import { age, table } from '../table.ts'

const LIMIT = 100
const LIMIT_MAX = 1_000

const waitSchema = z.object({
  kind: z.string(),
  target: z.string().nullable(),
  since: z.number(),
  deadline: z.number().nullable(),
})

const pageSchema = z.object({
  total: z.number(),
  cursor: z.string().nullable(),
  items: z.array(
    z.object({
      id: z.string(),
      status: z.string(),
      mailbox: z.number(),
      turns: z.number(),
      restarts: z.number(),
      wait: waitSchema.nullable(),
      sandbox: z.string().optional(),
    }),
  ),
})

export const psCommand: Command = {
  name: 'ps',
  synopsis: '[QUERY...]',
  summary: 'list processes; QUERY as in the filter of the observer: status:waiting mailbox>10',
  options: {
    ...SERVER_OPTIONS,
    under: { type: 'string' },
    status: { type: 'string' },
    sort: { type: 'string' },
    dir: { type: 'string' },
    limit: { type: 'string' },
  },
  help: [
    '    --under ID         only this supervisor and what is below it',
    '    --status STATUS    only this status; passive ones are listed only when asked for',
    '    --sort FIELD       id, status, mailbox, turns, busyMs, restarts, since or failures',
    '    --dir asc|desc     direction of --sort',
    `    --limit N          at most ${LIMIT_MAX}, default ${LIMIT}`,
  ],
  async run(invocation: Invocation) {
    const { values, print, json } = invocation
    const client = await server(invocation)
    const q = invocation.words.join(' ')
    const limit = wholeNumber(values, 'limit', LIMIT_MAX) ?? LIMIT
    const text = (name: string) => textOf(values, name)
    const query = { under: text('under'), status: text('status'), sort: text('sort'), dir: text('dir') }
    const answer = await client.get('/processes', { ...query, q: q === '' ? undefined : q, limit: String(limit) })
    if (json) print(JSON.stringify(answer))
    else for (const line of lines(pageSchema.parse(answer), realClock().now())) print(line)
    return EXIT.ok
  },
}

function lines({ items, total }: z.infer<typeof pageSchema>, now: number): string[] {
  if (items.length === 0) return ['No processes.']
  const rows = items.map(({ id, status, mailbox, turns, restarts, wait, sandbox }) => [
    sandbox === undefined ? id : `${id} (sandbox of ${sandbox})`,
    status,
    mailbox,
    turns,
    restarts,
    wait === null ? '' : waitText(wait, now),
  ])
  const shown = table([['PROCESS', 'STATUS', 'MAILBOX', 'TURNS', 'RESTARTS', 'WAITS FOR'], ...rows])
  return total > items.length ? [...shown, `${items.length} of ${total}; raise --limit or narrow the query.`] : shown
}

/** What for, since when, and until when at the most. */
function waitText({ kind, target, since, deadline }: z.infer<typeof waitSchema>, now: number): string {
  const what = target === null ? kind : `${kind} ${target}`
  const left = deadline === null ? '' : deadline > now ? `, ${age(deadline - now)} left` : ', due now'
  return `${what} ${age(now - since)}${left}`
}
