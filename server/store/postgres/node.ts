/**
 * Nodes: registration, lease, death, leaving.
 *
 * - F2: every start of a node gets a row and an epoch of its own. An epoch ends by being replaced: the unique index on
 *   it makes that change wait for every statement that holds the row, and every later one finds nothing.
 * - All times are the database's. A lease that ran out only permits a takeover; renewing it late is fine as long as
 *   nobody took over.
 * - F6: the proof is checked in the statement that buries, not before it.
 */
import type { NodeIdentity, NodeRow, NodeStart } from '../store.ts'
import { type Context, fence, ms } from './context.ts'
import { nodeValues } from './fenced.ts'
import { NO_CLAIM } from './park.ts'
import { sessionKeySql } from './session-lock.ts'

export async function registerNode({ read, q }: Context, namespace: string, start: NodeStart): Promise<NodeIdentity> {
  const [row] = await read.unsafe<{ id: number; epoch: number }[]>(
    `insert into ${q}nodes (namespace, epoch, name, host, boot_id, os_pid, os_started_at, capabilities, lease_until)
     values ($1::text, nextval('${q}epochs'), $2::text, $3::text, $4::text, $5::int, $6::text, $7::text,
       now() + make_interval(secs => $8::float8 / 1000))
     returning id, epoch`,
    [
      ...[namespace, start.name, start.host, start.bootId, start.osPid, start.osStartedAt],
      JSON.stringify(start.capabilities),
      start.leaseMs,
    ],
  )
  if (row === undefined) throw new Error('Inserting a node row returned none.')
  return { id: row.id, epoch: row.epoch, name: start.name, namespace }
}

export async function renewLease({ read, q }: Context, node: NodeIdentity, leaseMs: number): Promise<boolean> {
  const rows = await read.unsafe(
    `update ${q}nodes set lease_until = now() + make_interval(secs => $4::float8 / 1000)
     where id = $1::bigint and epoch = $2::bigint and namespace = $3::text returning id`,
    [...nodeValues(node), leaseMs],
    { prepare: true },
  )
  return rows.length > 0
}

type Row = {
  id: number
  epoch: number
  name: string
  host: string
  boot_id: string
  os_pid: number
  os_started_at: string
  started_at: number
  lease_until: number
  capabilities: string
  stopped_at: number | null
}

/** Live nodes, and dead ones that still own something. */
export async function nodes({ read, q }: Context, namespace: string): Promise<NodeRow[]> {
  const rows = await read.unsafe<Row[]>(
    `select id, epoch, name, host, boot_id, os_pid, os_started_at, ${ms('started_at')} as started_at,
       ${ms('lease_until')} as lease_until, capabilities, ${ms('stopped_at')} as stopped_at
     from ${q}nodes n
     where namespace = $1::text and (stopped_at is null or exists (
       select 1 from ${q}processes p
       where p.namespace = $1::text and p.owner is not null and not p.ended and p.owner = n.id))
     order by id`,
    [namespace],
    { prepare: true },
  )
  return rows.map((row) => ({
    id: row.id,
    epoch: row.epoch,
    name: row.name,
    host: row.host,
    bootId: row.boot_id,
    osPid: row.os_pid,
    osStartedAt: row.os_started_at,
    startedAt: row.started_at,
    leaseUntil: row.lease_until,
    capabilities: JSON.parse(row.capabilities) as Record<string, number>, // written by registerNode
    stoppedAt: row.stopped_at,
  }))
}

export async function buryNode(
  { read, q, schema }: Context,
  node: NodeIdentity,
  { victim, proof }: { victim: { id: number; epoch: number }; proof: 'lease' | 'host' | 'session' },
): Promise<boolean> {
  const rows = await read.unsafe(
    `with ${fence(q)}
     update ${q}nodes n set epoch = nextval('${q}epochs'), stopped_at = now() from fence
     where n.namespace = $3::text and n.id = $4::bigint and n.epoch = $5::bigint and case $6::text
       when 'host' then true
       when 'lease' then n.lease_until < now()
       when 'session' then n.session and pg_try_advisory_xact_lock(${sessionKeySql('$7::text', '$5::bigint')})
     end
     returning n.id`,
    [...nodeValues(node), victim.id, victim.epoch, proof, schema],
    { prepare: true },
  )
  if (rows.length > 0) await dropReplies(read, q, node.namespace)
  return rows.length > 0
}

/** Answers that nodes did not live to take. A statement of its own: what a commit in flight still stored for the node
 *  is seen only after the wait for it. Looks at those of all dead nodes, so one that was cut short is made up for. */
async function dropReplies(read: Context['read'], q: string, namespace: string): Promise<void> {
  await read.unsafe(
    `delete from ${q}mailbox m where m.namespace = $1::text and m.target >= 'node/' and m.target < 'node0'
     and not exists (
       select 1 from ${q}nodes n where n.namespace = $1::text and m.target = 'node/' || n.id || '-' || n.epoch)`,
    [namespace],
    { prepare: true },
  )
}

/** Frees everything the node owns and ends its epoch, in one statement. A drain released what it could before; what is
 *  left here was not put in order, so recovery is told to look at it. */
export async function leave({ read, q }: Context, node: NodeIdentity): Promise<void> {
  await read.unsafe(
    `with ended as (
       update ${q}nodes set epoch = nextval('${q}epochs'), stopped_at = now()
       where id = $1::bigint and epoch = $2::bigint and namespace = $3::text returning id),
     freed as (
       update ${q}processes p set owner = null, owner_epoch = null, open = true from ended
       where p.namespace = $3::text and p.owner = $1::bigint and p.owner_epoch = $2::bigint returning p.pid)
     update ${q}heads h set claim = ${NO_CLAIM} from freed f where h.process = f.pid`,
    nodeValues(node),
  )
  await dropReplies(read, q, node.namespace)
}
