/**
 * Deletes journal rows that nothing needs any more, in steps that hold up nobody: a commit inserts rows, these delete
 * old ones, and they share no lock but the fence.
 *
 * - F5: a step cuts at a stored snapshot or waypoint and deletes what is not above it. A snapshot is never taken while
 *   a turn is open (journal/snapshotter.ts), so an open turn lies above every cut with its base.
 * - V4: the waypoint at the cut stays: every version from it on can still be read.
 * - One node at a time: the row in `chores` is its lease, and is locked while a step runs. It also remembers how far
 *   the walk came, so that the next node goes on there.
 * - Rows are found by the key of the journal and deleted by their place, which no row of a journal ever leaves: no plan
 *   can read a whole journal.
 */
import type { Pruned, PruneStep } from '../../../shared/retention.ts'
import type { NodeIdentity } from '../store.ts'
import { begin } from './begin.ts'
import { type Context, fence } from './context.ts'
import { nodeValues } from './fenced.ts'

const CHORE = 'prune'

export function prune({ read, q }: Context, node: NodeIdentity, step: PruneStep): Promise<Pruned | null> {
  const { policies, processes, rows, leaseMs } = step
  const prepare = { prepare: true }
  return begin(read, async (tx) => {
    const lease = [...nodeValues(node), CHORE, leaseMs]
    const [chore] = await tx.unsafe<{ cursor: number }[]>(leaseSql(q), lease, prepare)
    if (chore === undefined) return null
    const values = [node.namespace, JSON.stringify(policies.map(policyItem)), chore.cursor, processes, rows]
    const [row] = await tx.unsafe<Result[]>(pruneSql(q), values, prepare)
    if (row === undefined) throw new Error('The step returned no row; an aggregate always returns one.')
    const over = row.looked < processes && row.rows < rows
    // A full batch means that there is more of the same processes.
    const cursor = over ? 0 : row.rows < rows ? row.last : chore.cursor
    await tx.unsafe(
      `update ${q}chores set cursor = $3::bigint where namespace = $1::text and name = $2::text`,
      [node.namespace, CHORE, cursor],
      prepare,
    )
    return { rows: row.rows, waypoints: row.waypoints, over }
  })
}

type Result = { looked: number; last: number; rows: number; waypoints: number }

function policyItem({ agent, maxAgeMs, maxRows }: PruneStep['policies'][number]) {
  return { agent, age_ms: maxAgeMs, max_rows: maxRows }
}

function leaseSql(q: string): string {
  return `with ${fence(q)}
  insert into ${q}chores as c (namespace, name, node, epoch, until)
  select $3::text, $4::text, $1::bigint, $2::bigint, now() + $5::float8 * interval '1 millisecond' from fence
  on conflict (namespace, name) do update set node = excluded.node, epoch = excluded.epoch, until = excluded.until
  where (c.node = excluded.node and c.epoch = excluded.epoch) or c.until < now()
    or not exists (select 1 from ${q}nodes n where n.id = c.node and n.epoch = c.epoch)
  returning cursor`
}

/** Exported for the test of its plan. A limit that is null compares to nothing and so keeps everything. */
export function pruneSql(q: string): string {
  return `with walk as materialized (
    select process, seq, at from ${q}snapshots where process > $3::bigint order by process limit $4::int),
  look as materialized (
    select s.process, k.cut from walk s
    join ${q}processes p on p.pid = s.process and p.namespace = $1::text
    join json_to_recordset($2::text::json) as x(agent text, age_ms float8, max_rows bigint) on x.agent = p.agent
    join ${q}heads h on h.process = s.process
    cross join lateral (
      select max(c.seq) as cut from (
        select s.seq, s.at
        union all
        select w.seq, w.at from ${q}waypoints w where w.process = s.process) c
      where c.seq <= h.seq - x.max_rows or c.at < now() - x.age_ms * interval '1 millisecond') k
    where k.cut is not null),
  doomed as materialized (
    select d.place from look l cross join lateral (
      select j.ctid as place from ${q}journal j where j.process = l.process and j.seq <= l.cut
      order by j.seq limit $5::int) d
    limit $5::int),
  gone as (delete from ${q}journal j where j.ctid = any(array(select place from doomed)) returning j.process, j.seq),
  passed as (
    delete from ${q}waypoints w using look l where w.process = l.process and w.seq < l.cut returning w.process, w.seq),
  freed as (
    delete from ${q}blob_refs r using (
      select process, seq, false as snapshot from gone union all select process, seq, true from passed) g
    where r.process = g.process and r.snapshot = g.snapshot and r.seq = g.seq)
  select (select count(*) from walk)::int as looked, coalesce((select max(process) from walk), 0)::float8 as last,
    (select count(*) from gone)::int as rows, (select count(*) from passed)::int as waypoints`
}
