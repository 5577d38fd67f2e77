/**
 * Deletes records of what is over, oldest first, a bounded number of each kind in a statement of its own.
 *
 * - Rows are found by an index that begins with the oldest; what is not old enough ends the search.
 */
import {
  AUDIT_MS,
  DEAD_LETTER_MS,
  FAILURE_MS,
  NODE_MS,
  REQUEST_MS,
  SWEPT,
  type Swept,
} from '../../../shared/retention.ts'
import type { NodeIdentity } from '../store.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'

export async function sweep({ read, q }: Context, node: NodeIdentity, limit: number): Promise<Swept> {
  const swept: Swept = { deadLetters: 0, failures: 0, audit: 0, requests: 0, nodes: 0 }
  for (const table of SWEPT) {
    const [row] = await read.unsafe<{ rows: number }[]>(sweepSql(q, table), [...nodeValues(node), limit], {
      prepare: true,
    })
    swept[table] = row?.rows ?? 0
  }
  return swept
}

const ago = (ms: number): string => `now() - interval '${ms} milliseconds'`

/** Table and the oldest rows of it that may go. */
const OLDEST: Readonly<Record<keyof Swept, (q: string) => { table: string; oldest: string }>> = {
  deadLetters: (q) => byTime(`${q}dead_letters`, DEAD_LETTER_MS),
  failures: (q) => byTime(`${q}failures`, FAILURE_MS),
  requests: (q) =>
    byTime(`${q}requests`, REQUEST_MS, `and status <> 'pending' and (expires_at is null or expires_at < now())`),
  audit: (q) => ({
    table: `${q}audit`,
    oldest: `select place from (
      select ctid as place, at from ${q}audit where namespace = $3::text order by id limit $4::int) a
      where at < ${ago(AUDIT_MS)}`,
  }),
  // What a dead node owns is found by its row's absence as well; its claims keep the row only for people to see.
  nodes: (q) => ({
    table: `${q}nodes`,
    oldest: `select n.ctid as place from ${q}nodes n
      where n.namespace = $3::text and n.stopped_at < ${ago(NODE_MS)} and not exists (
        select 1 from ${q}processes p
        where p.namespace = $3::text and p.owner is not null and not p.ended and p.owner = n.id)
      order by n.id limit $4::int`,
  }),
}

function byTime(table: string, ms: number, more = ''): { table: string; oldest: string } {
  const oldest = `select ctid as place from ${table}
    where namespace = $3::text and at < ${ago(ms)} ${more} order by at limit $4::int`
  return { table, oldest }
}

/** A row that was changed meanwhile has another place and stays. */
function sweepSql(q: string, kind: keyof Swept): string {
  const { table, oldest } = OLDEST[kind](q)
  return `with ${fence(q)}, old as materialized (${oldest}),
  gone as (
    delete from ${table} t where t.ctid = any(array(select place from old)) and exists (select 1 from fence)
    returning 1)
  select count(*)::int as rows from gone`
}
