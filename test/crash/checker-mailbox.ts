/**
 * Mailbox and dead letters as rows: what was consumed is gone, what waits is bounded by what was never ended, nothing
 * is addressed to somebody who cannot come.
 */
import type { Rows } from './rows.ts'

/** @param ended  ids of messages whose turn has an end */
export async function checkMailbox({ sql, schema }: Rows, ended: ReadonlySet<string>): Promise<string[]> {
  const found: string[] = []
  const rows = await sql<{ id: string; target: string; op: string }[]>`
    select id, target, op from ${sql(schema)}.mailbox where kind <> 'reply'`
  for (const { id, target, op } of rows) {
    if (ended.has(id)) found.push(`message ${id} (${op} to ${target}) was handled and is still in the mailbox`)
  }
  const doubled = await sql<{ id: string }[]>`
    select id from ${sql(schema)}.mailbox where kind <> 'reply' group by id having count(*) > 1`
  for (const { id } of doubled) found.push(`message ${id} is in the mailbox twice`)
  const dead = await sql<{ message_id: string; process: string; op: string; reason: string }[]>`
    select message_id, process, op, reason from ${sql(schema)}.dead_letters where op not in ('blow', 'trip', 'treat')`
  // But for the bomb, trips (checker-saga.ts) and skipped treatments (checker-mend.ts) nothing fails more than once: a
  // dead letter is a message the runtime gave up on without a cause.
  for (const row of dead)
    found.push(`message ${row.message_id} (${row.op} to ${row.process}) was given up: ${row.reason}`)
  return found
}

export type Waiting = { mailbox: number; timers: number; requests: number; owned: number }

export async function countWaiting({ sql, schema }: Rows): Promise<Waiting> {
  const [row] = await sql<[Waiting]>`select
    (select count(*)::int from ${sql(schema)}.mailbox) as mailbox,
    (select count(*)::int from ${sql(schema)}.timers) as timers,
    (select count(*)::int from ${sql(schema)}.requests where status = 'pending') as requests,
    (select count(*)::int from ${sql(schema)}.processes where owner is not null) as owned`
  return row
}
