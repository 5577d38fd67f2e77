/**
 * What the database holds of sagas, read as rows and text by one snapshot: also while a statement of the dead child is
 * still being carried out, the rows fit together.
 */
import type postgres from 'postgres'
import type { StoreReader } from 'vivarium'
import type { Rows } from './rows.ts'
import type { SagaState } from './saga.ts'

const AGENTS = ['traveller', 'porter', 'guide', 'tourist', 'watchman']

export type SagaEntry = {
  k: string
  turn?: string | null
  key?: string
  how?: string
  undo?: readonly string[]
  out?: { ok?: unknown; err?: { code: string } }
}
/** Rows of one process follow each other in their order. */
export type SagaRow = { id: string; seq: string; entries: readonly SagaEntry[] }

/** `outcome`: null while pending, `done`, or the code of the error. `at`: epoch ms of its settlement. */
export type SagaRequest = {
  scope: string
  key: string
  message: string
  outcome: string | null
  value: unknown
  at: number
}

export type SagaRows = {
  requests: readonly SagaRequest[]
  /** Requests for an end that nobody took yet. `op`: the message that is meant, `$child` for a child. */
  cancels: readonly { target: string; op: string }[]
  /** Answers that nobody took yet. */
  replies: readonly { target: string; op: string }[]
  journal: readonly SagaRow[]
  /** By message: failures of rollbacks, and why it was given up. */
  unmade: readonly string[]
  dead: ReadonlyMap<string, string>
}

export async function readSagaRows({ sql, schema }: Rows): Promise<SagaRows> {
  return sql.begin('isolation level repeatable read read only', async (tx) => {
    const requests = await tx<(Omit<SagaRequest, 'outcome' | 'value'> & { result: string | null })[]>`
      select scope, key, message_id as message, result, extract(epoch from at)::float8 * 1000 as at
      from ${sql(schema)}.requests where split_part(scope, '/', 1) = any(${AGENTS})`
    const waiting = await tx<{ kind: string; target: string; op: string }[]>`
      select kind, target, op from ${sql(schema)}.mailbox where kind in ('cancel', 'reply')`
    const unmade = await tx<{ message: string }[]>`
      select message_id as message from ${sql(schema)}.failures where class = 'RollbackFailed'`
    const dead = await tx<{ message: string; reason: string }[]>`
      select message_id as message, reason from ${sql(schema)}.dead_letters where op = 'trip'`
    return {
      requests: requests.map(({ result, ...request }) => ({ ...request, ...outcomeOf(result) })),
      cancels: waiting.filter(({ kind }) => kind === 'cancel'),
      replies: waiting.filter(({ kind }) => kind === 'reply'),
      journal: await journalOf(tx, sql(schema)),
      unmade: unmade.map(({ message }) => message),
      dead: new Map(dead.map(({ message, reason }) => [message, reason])),
    }
  })
}

async function journalOf(tx: postgres.TransactionSql, schema: postgres.Helper<string>): Promise<SagaRow[]> {
  const rows = await tx<{ id: string; seq: string; payload: string }[]>`
    select p.id, j.seq, j.payload from ${schema}.journal j join ${schema}.processes p on p.pid = j.process
    where p.agent = any(${AGENTS}) order by j.process, j.seq`
  return rows.map(({ id, seq, payload }) => ({ id, seq, entries: JSON.parse(payload) as SagaEntry[] })) // row format
}

function outcomeOf(result: string | null): Pick<SagaRequest, 'outcome' | 'value'> {
  if (result === null) return { outcome: null, value: null }
  const out = JSON.parse(result) as { ok?: unknown; err?: { code: string } } // the documented row format
  return out.err === undefined ? { outcome: 'done', value: out.ok } : { outcome: out.err.code, value: null }
}

/** What sagas counted, by agent (`traveller:trip r1-7`), and what watchmen were told. */
export type SagaDeeds = { deeds: ReadonlyMap<string, number>; said: ReadonlyMap<string, string> }

export async function readSagaDeeds(reader: StoreReader): Promise<SagaDeeds> {
  const deeds = new Map<string, number>()
  const said = new Map<string, string>()
  for (const agent of AGENTS) {
    for await (const { state } of reader.processes(agent)) {
      const known = state as unknown as SagaState | null // the shape of saga.ts
      for (const [what, times] of Object.entries(known?.done ?? {}))
        deeds.set(`${agent}:${what}`, (deeds.get(`${agent}:${what}`) ?? 0) + times)
      for (const [who, text] of Object.entries(known?.said ?? {})) said.set(who, text)
    }
  }
  return { deeds, said }
}
