/**
 * V4: everything of many processes as one instant saw it: snapshots, later journal rows, mailbox, timers, ties, names,
 * and the large values that snapshots and rows refer to.
 * One repeatable-read transaction, its statements sent together.
 */

import type { ShownTies } from '../archive.ts'
import { Attachments } from '../attach.ts'
import type { JournalRow, Loaded, NodeIdentity, Pid, TimerRow } from '../store.ts'
import { begin } from './begin.ts'
import { type BlobRefRow, refSql } from './blob.ts'
import { type Context, ms } from './context.ts'
import { bigints, numberList } from './list.ts'
import { type MailboxRow, messageColumns, messageRow } from './message-row.ts'

type SnapshotRow = { process: number; seq: number; state_version: number; value: string }
export type JournalSqlRow = {
  process: number
  seq: number
  claim: number
  state_version: number
  code_version: string
  turn_ids: string | null
  cause: string | null
  root: string | null
  traceparent: string | null
  actor: string | null
  at: number
  payload: string
}
type TieRow = {
  pid: number
  outgoing: boolean
  kind: 'link' | 'monitor'
  peer: string
  ref: string
  ephemeral: boolean
}
type Mutable = { -readonly [K in keyof Loaded]: Loaded[K] extends readonly (infer T)[] ? T[] : Loaded[K] }

export async function load({ read, q }: Context, node: NodeIdentity, processes: readonly Pid[]): Promise<Loaded[]> {
  if (processes.length === 0) return []
  const pids = numberList(processes, (pid) => pid)
  const values = [node.namespace, pids]
  const options = { prepare: true }
  const [snapshots, journal, mailbox, timers, ties, names, refs] = await begin(
    read,
    (tx) =>
      Promise.all([
        tx.unsafe<SnapshotRow[]>(snapshotSql(q), [pids], options),
        tx.unsafe<JournalSqlRow[]>(journalSql(q), [pids], options),
        tx.unsafe<(MailboxRow & { pid: number })[]>(mailboxSql(q), values, options),
        tx.unsafe<TimerRow[]>(timerSql(q), [pids], options),
        tx.unsafe<TieRow[]>(tieSql(q), values, options),
        tx.unsafe<{ pid: number; name: string }[]>(nameSql(q), values, options),
        tx.unsafe<BlobRefRow[]>(refSql(q, bigints('$1')), [pids], options),
      ]),
    'isolation level repeatable read read only',
  )
  const byPid = new Map<Pid, Mutable>(
    processes.map((process) => [
      process,
      { process, snapshot: null, journal: [], mailbox: [], timers: [], links: [], names: [] },
    ]),
  )
  for (const { process, seq, state_version: stateVersion, value } of snapshots) {
    const loaded = byPid.get(process)
    if (loaded !== undefined) loaded.snapshot = { seq, stateVersion, value }
  }
  for (const row of journal) byPid.get(row.process)?.journal.push(journalRow(row))
  for (const row of mailbox) byPid.get(row.pid)?.mailbox.push(messageRow(row))
  for (const row of timers) byPid.get(row.process)?.timers.push({ ...row })
  for (const row of ties) byPid.get(row.pid)?.links.push(tieOf(row))
  for (const { pid, name } of names) byPid.get(pid)?.names.push(name)
  const attachments = new Attachments(refs)
  return processes.flatMap((pid) => {
    const loaded = byPid.get(pid)
    return loaded === undefined ? [] : { ...loaded, ...attachments.attach(pid, loaded) }
  })
}

function tieOf({ outgoing, kind, peer, ref, ephemeral }: TieRow): Loaded['links'][number] {
  const shown = kind === 'monitor' && !outgoing ? 'monitored' : kind
  return { kind: shown, peer, ref: kind === 'link' ? null : ref, ephemeral }
}

/** What is told of a process that no one has in memory. */
export async function shownTies({ archive, q }: Context, namespace: string, pid: Pid): Promise<ShownTies> {
  const values = [namespace, numberList([pid], (one) => one)]
  const [ties, names, [last]] = await Promise.all([
    archive.unsafe<TieRow[]>(tieSql(q), values),
    archive.unsafe<{ name: string }[]>(nameSql(q), values),
    archive.unsafe<{ at: number }[]>(
      `select ${ms('at')} as at from ${q}journal where process = $1::bigint order by seq desc limit 1`,
      [pid],
    ),
  ])
  return { links: ties.map(tieOf), names: names.map(({ name }) => name), lastAt: last?.at ?? null }
}

function snapshotSql(q: string): string {
  return `select process, seq, state_version, value from ${q}snapshots where process = any(${bigints('$1')})`
}

export const journalColumns = (alias: string): string =>
  `${alias}.process, ${alias}.seq, ${alias}.claim, ${alias}.state_version, ${alias}.code_version,
   array_to_string(${alias}.turn_ids, E'\\x1f') as turn_ids, ${alias}.cause, ${alias}.root, ${alias}.traceparent,
   ${alias}.actor, ${ms(`${alias}.at`)} as at, ${alias}.payload`

function journalSql(q: string): string {
  return `select ${journalColumns('j')} from unnest(${bigints('$1')}) as x(pid)
    cross join lateral (
      select * from ${q}journal r
      where r.process = x.pid and r.seq > coalesce((select s.seq from ${q}snapshots s where s.process = x.pid), 0)
      order by r.seq) j`
}

function mailboxSql(q: string): string {
  return `select p.pid, ${messageColumns('m')} from ${q}processes p
    cross join lateral (select * from ${q}mailbox b where b.namespace = $1::text and b.target = p.id order by b.ord) m
    where p.pid = any(${bigints('$2')})`
}

function timerSql(q: string): string {
  return `select process, target, name, arm, ${ms('due')} as due, op, args, root, traceparent
    from ${q}timers where process = any(${bigints('$1')}) order by process, name`
}

/** Laterals that cannot be flattened: per process one index lookup, whatever the statistics say. */
function tieSql(q: string): string {
  const ties = (own: string, other: string, outgoing: boolean) => `
    select p.pid, ${outgoing} as outgoing, l.kind, l.other as peer, l.ref, l.ephemeral from ${q}processes p
    cross join lateral (
      select t.kind, t.${other} as other, t.ref,
        t.${outgoing ? 'peer_' : ''}incarnation is null as ephemeral from ${q}links t
      where t.namespace = $1::text and t.${own} = p.id and t.kind <> 'child' offset 0) l
    where p.pid = any(${bigints('$2')})`
  return `${ties('process', 'peer', true)} union all ${ties('peer', 'process', false)} order by 1, 3, 4, 5`
}

function nameSql(q: string): string {
  return `select p.pid, n.name from ${q}processes p
    cross join lateral (
      select t.name from ${q}names t where t.namespace = $1::text and t.process = p.id offset 0) n
    where p.pid = any(${bigints('$2')}) order by p.pid, n.name`
}

export function journalRow(row: JournalSqlRow): JournalRow {
  return {
    seq: row.seq,
    claim: row.claim,
    at: row.at,
    stateVersion: row.state_version,
    codeVersion: row.code_version,
    turnIds: row.turn_ids === null || row.turn_ids === '' ? [] : row.turn_ids.split('\u001f'),
    cause: row.cause,
    root: row.root,
    traceparent: row.traceparent,
    actor: row.actor,
    payload: row.payload,
  }
}
