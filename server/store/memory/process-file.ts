/** One process out of memory and back: the verdicts of postgres/process-file.ts. */
import { splitId } from '../../../shared/id.ts'
import type { ImportOutcome, ImportPlace, ProcessBody } from '../../../shared/process-file.ts'
import type { MessageKind, NodeIdentity, ReplyAddress } from '../store.ts'
import { putBlob } from './blob.ts'
import { keyOf, type MemoryDatabase, NO_CLAIM } from './database.ts'
import { assertAlive } from './message.ts'

export function exportProcess(db: MemoryDatabase, namespace: string, id: string): ProcessBody | null {
  const process = db.find(namespace, id)
  if (process === undefined || process.kind !== 'agent') return null
  const { pid, agent, key, parent, incarnation, stateVersion, restarts, desired, diverged } = process
  const { trapExit, gone, ended, exit, createdAt, sandbox, branch } = process
  const refs = (db.blobRefs.get(pid) ?? []).map((ref) => ({ ...ref }))
  const hashes = [...new Set(refs.map((ref) => ref.hash))].filter((hash) => db.blobs.has(hash)).sort()
  const kept = ({
    claim: _claim,
    ...row
  }: {
    claim: number
    seq: number
    stateVersion: number
    value: string
    at: number
  }) => row
  const snapshot = db.snapshots.get(pid)
  return {
    process: {
      ...{ id, agent, key, parent, incarnation, stateVersion, restarts, desired, diverged },
      ...{ trapExit, gone, ended, exit, createdAt, sandbox, branch },
    },
    seq: db.heads.get(pid)?.seq ?? 0,
    snapshot: snapshot === undefined ? null : kept(snapshot),
    waypoints: (db.waypoints.get(pid) ?? []).map(kept),
    journal: (db.journal.get(pid) ?? []).map(({ claim: _claim, turnIds, ...row }) => ({
      ...row,
      format: 1,
      turnIds: [...turnIds],
    })),
    mailbox: [...(db.box(namespace, id)?.values() ?? [])].map(({ ord: _ord, target: _target, chain, ...row }) => ({
      ...row,
      chain: [...chain],
    })),
    timers: [...(db.timers.get(pid)?.values() ?? [])]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, arm, due, op, args, root, traceparent }) => ({ name, arm, due, op, args, root, traceparent })),
    refs,
    blobs: hashes.map((hash) => ({ hash, value: db.blobs.get(hash)?.value ?? '' })),
  }
}

export function importProcess(
  db: MemoryDatabase,
  node: NodeIdentity,
  { body, place }: { body: ProcessBody; place: ImportPlace },
): ImportOutcome {
  assertAlive(db, node)
  const { namespace } = node
  const found = db.find(namespace, place.id)
  if (found !== undefined && !place.replace) return 'exists'
  if (found !== undefined && db.ownerAlive(found)) return 'owned'
  if (found !== undefined) {
    const { pid } = found
    for (const rows of [db.journal, db.snapshots, db.waypoints, db.heads, db.timers, db.blobRefs, db.processes]) {
      rows.delete(pid)
    }
    db.mailbox.delete(keyOf(namespace, place.id))
  }
  const { createdAt, ...stored } = body.process
  const incarnation = Math.max(stored.incarnation, found?.incarnation ?? 0)
  const made = db.insertProcess({
    ...{ ...stored, incarnation, id: place.id, key: splitId(place.id).key, namespace, kind: 'agent' },
    ...{ owner: null, ownerEpoch: null, open: !stored.ended, wait: null, takes: null, judged: null },
  })
  made.createdAt = createdAt
  const { pid } = made
  for (const stream of db.streams.values()) {
    if (found !== undefined && stream.row.process === found.pid) stream.row = { ...stream.row, process: pid }
  }
  const at = { claim: NO_CLAIM }
  db.heads.set(pid, { seq: body.seq, claim: NO_CLAIM })
  for (const blob of body.blobs) putBlob(db, blob)
  db.blobRefs.set(pid, body.refs)
  if (body.snapshot !== null) db.snapshots.set(pid, { ...body.snapshot, ...at })
  db.waypoints.set(
    pid,
    body.waypoints.map((row) => ({ ...row, ...at })),
  )
  db.journal.set(
    pid,
    body.journal.map(({ format: _format, ...row }) => ({ ...row, ...at })),
  )
  for (const { attempts, recoveries, at: sentAt, kind, replyTo, ...row } of body.mailbox) {
    // Written by an export of this store or the other one, both of which hold nothing else.
    const known = { kind: kind as MessageKind, replyTo: replyTo as ReplyAddress | null }
    const message = db.deliver(namespace, { ...row, ...known, target: place.id })
    Object.assign(message, { attempts, recoveries, at: sentAt })
  }
  const timers = body.timers.map((row) => [row.name, { ...row, process: pid, target: place.id, namespace }] as const)
  db.timers.set(pid, new Map(timers))
  return 'imported'
}
