/** Retention on memory: the verdicts of postgres/prune.ts, sweep.ts and past.ts. */
import {
  AUDIT_MS,
  DEAD_LETTER_MS,
  FAILURE_MS,
  NODE_MS,
  type Pruned,
  type PruneStep,
  REQUEST_MS,
  type Swept,
} from '../../../shared/retention.ts'
import { Attachments, assertWhole, type Rows } from '../attach.ts'
import type { NodeIdentity, Pid } from '../store.ts'
import { keyOf, type MemoryDatabase } from './database.ts'

const CHORE = 'prune'

export function prune(db: MemoryDatabase, node: NodeIdentity, step: PruneStep): Pruned | null {
  if (!db.alive(node)) return null
  const now = db.clock.now()
  const key = keyOf(node.namespace, CHORE)
  const chore = db.chores.get(key)
  const held = chore !== undefined && chore.until >= now && db.alive({ ...chore.holder, namespace: node.namespace })
  if (held && chore.holder.epoch !== node.epoch) return null
  const cursor = chore?.cursor ?? 0
  const holder = { id: node.id, epoch: node.epoch }
  const pids = [...db.snapshots.keys()].filter((pid) => pid > cursor).sort((a, b) => a - b)
  const looked = pids.slice(0, step.processes)
  const pruned: Pruned = { rows: 0, waypoints: 0, over: false }
  for (const pid of looked) pruneOne(db, { node, step, pid }, pruned)
  pruned.over = looked.length < step.processes && pruned.rows < step.rows
  const next = pruned.over ? 0 : pruned.rows < step.rows ? (looked.at(-1) ?? 0) : cursor
  db.chores.set(key, { holder, until: now + step.leaseMs, cursor: next })
  return pruned
}

function pruneOne(db: MemoryDatabase, at: { node: NodeIdentity; step: PruneStep; pid: Pid }, pruned: Pruned): void {
  const { node, step, pid } = at
  const process = db.processes.get(pid)
  const policy = step.policies.find(({ agent }) => agent === process?.agent)
  const snapshot = db.snapshots.get(pid)
  if (process?.namespace !== node.namespace || policy === undefined || snapshot === undefined) return
  const oldest = policy.maxAgeMs === null ? Number.NEGATIVE_INFINITY : db.clock.now() - policy.maxAgeMs
  const below = policy.maxRows === null ? -1 : (db.heads.get(pid)?.seq ?? 0) - policy.maxRows
  const waypoints = db.waypoints.get(pid) ?? []
  const cuts = [...waypoints, snapshot].filter((row) => row.seq <= below || row.at < oldest)
  const cut = Math.max(0, ...cuts.map((row) => row.seq))
  if (cut === 0) return
  const rows = db.journal.get(pid) ?? []
  const gone = rows.filter((row) => row.seq <= cut).slice(0, step.rows - pruned.rows)
  db.journal.set(pid, rows.slice(gone.length))
  const kept = waypoints.filter((row) => row.seq >= cut)
  db.waypoints.set(pid, kept)
  const last = gone.at(-1)?.seq ?? 0
  const refs = (db.blobRefs.get(pid) ?? []).filter(({ snapshot: of, seq }) => seq > (of ? cut - 1 : last))
  db.blobRefs.set(pid, refs)
  pruned.rows += gone.length
  pruned.waypoints += waypoints.length - kept.length
}

export function stateRowsAt(db: MemoryDatabase, pid: Pid, seq: number): Rows | null {
  const snapshot = db.snapshots.get(pid)
  const bases = [...(db.waypoints.get(pid) ?? []), ...(snapshot === undefined ? [] : [snapshot])]
  const base = bases.filter((row) => row.seq <= seq).at(-1)
  const from = base?.seq ?? 0
  const journal = (db.journal.get(pid) ?? []).filter((row) => row.seq > from && row.seq <= seq)
  if (journal.length !== seq - from) return null
  const refs = (db.blobRefs.get(pid) ?? [])
    .filter((ref) => (ref.snapshot ? ref.seq === from : ref.seq > from && ref.seq <= seq))
    .map((ref) => ({ ...ref, process: pid, value: db.blobs.get(ref.hash)?.value ?? null }))
  const read = {
    snapshot: base === undefined ? null : { seq: base.seq, stateVersion: base.stateVersion, value: base.value },
    journal: journal.map((row) => ({ ...row })),
  }
  return assertWhole(new Attachments(refs).attach(pid, read), `process ${pid}`)
}

export function oldestState(db: MemoryDatabase, pid: Pid): number {
  const first = db.journal.get(pid)?.[0]?.seq ?? 0
  const snapshot = db.snapshots.get(pid)
  const bases = [...(db.waypoints.get(pid) ?? []), ...(snapshot === undefined ? [] : [snapshot])].map(({ seq }) => seq)
  return first === 1 || bases.length === 0 ? first : Math.min(...bases)
}

export function sweep(db: MemoryDatabase, node: NodeIdentity, limit: number): Swept {
  const swept: Swept = { deadLetters: 0, failures: 0, audit: 0, requests: 0, nodes: 0 }
  if (!db.alive(node)) return swept
  const now = db.clock.now()
  const { namespace } = node
  const take = <K, V>(rows: Map<K, V>, old: (row: V, key: K) => boolean): number => {
    const gone = [...rows].filter(([key, row]) => old(row, key)).slice(0, limit)
    for (const [key] of gone) rows.delete(key)
    return gone.length
  }
  const here = (row: { namespace: string; at: number }, ms: number) => row.namespace === namespace && row.at < now - ms
  swept.deadLetters = take(db.deadLetters, (row) => here(row, DEAD_LETTER_MS))
  swept.failures = take(db.failures, (row) => here(row, FAILURE_MS))
  swept.requests = take(db.requests, (row, key) => {
    if (!key.startsWith(keyOf(namespace, '')) || row.status === 'pending' || row.at >= now - REQUEST_MS) return false
    return row.expiresAt === null || row.expiresAt < now
  })
  const old = db.audit.filter((row) => here(row, AUDIT_MS)).slice(0, limit)
  for (const row of old) db.audit.splice(db.audit.indexOf(row), 1)
  swept.audit = old.length
  const owners = new Set([...db.processes.values()].flatMap((row) => (row.ended ? [] : [row.owner])))
  swept.nodes = take(db.nodes, (row) => {
    return row.namespace === namespace && (row.stoppedAt ?? now) < now - NODE_MS && !owners.has(row.id)
  })
  return swept
}
