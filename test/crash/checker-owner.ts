/**
 * Nodes and owners as rows: after a clean end nobody owns anything.
 *
 * - `open` may be set: what was still being taken over when the node left is marked for its successor. That no turn is
 *   open is read from the journal itself.
 */
import type { Rows } from './rows.ts'

export async function checkOwners({ sql, schema }: Rows): Promise<string[]> {
  const owned = await sql<{ id: string; owner: string }[]>`
    select id, owner from ${sql(schema)}.processes where owner is not null`
  const claimed = await sql<{ id: string }[]>`
    select p.id from ${sql(schema)}.heads h join ${sql(schema)}.processes p on p.pid = h.process where h.claim <> 0`
  const headless = await sql<{ id: string }[]>`
    select id from ${sql(schema)}.processes p
    where not exists (select 1 from ${sql(schema)}.heads h where h.process = p.pid)`
  const parked = await sql<{ id: string }[]>`select id from ${sql(schema)}.processes where diverged`
  return [
    ...owned.map((row) => `${row.id} is still owned by node ${row.owner}`),
    ...claimed.map((row) => `${row.id} still has a claim in its head`),
    ...headless.map((row) => `${row.id} has no head`),
    ...parked.map((row) => `${row.id} is parked as diverged`),
  ]
}
