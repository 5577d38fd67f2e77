/** Claims, loads, releases and snapshots on memory: the verdicts of the files of these names in postgres/. */
import { WAYPOINT_ROWS } from '../../../shared/retention.ts'
import { Attachments } from '../attach.ts'
import {
  type ClaimOutcome,
  type ClaimRequest,
  type Loaded,
  type NewTimer,
  type NodeIdentity,
  type Pid,
  type ProcessRecord,
  type Release,
  type SnapshotWrite,
  WAKE,
} from '../store.ts'
import { blobRefs, isFresh, refer } from './blob.ts'
import { NEW_PROCESS } from './commit.ts'
import { type MemoryDatabase, NO_CLAIM, type StoredProcess } from './database.ts'
import { assertText } from './text.ts'

export function claim(db: MemoryDatabase, node: NodeIdentity, request: ClaimRequest): ClaimOutcome {
  const { id, agent, key, kind, parent, stateVersion } = request
  let process = db.find(node.namespace, id)
  if (process === undefined) {
    const isWanted = request.create !== 'mail' || (db.box(node.namespace, id)?.size ?? 0) > 0
    if (request.create === false || !isWanted) return { kind: 'absent' }
    const row = { ...NEW_PROCESS, id, agent, key, kind, parent, stateVersion, namespace: node.namespace, open: false }
    process = db.insertProcess(row)
  }
  const live = db.ownerAlive(process)
  // An owner that lives and has this node's id has its epoch too, as the node itself was found alive.
  if (live && !(request.mine === true && process.owner === node.id)) return { kind: 'owned', record: recordOf(process) }
  if (process.stateVersion > stateVersion) return { kind: 'unsupported', record: recordOf(process) }
  if (process.ended && !request.recreate) return { kind: 'ended', record: recordOf(process) }
  const recovered = process.owner !== null && !live
  take(process, node, stateVersion)
  const head = { seq: db.heads.get(process.pid)?.seq ?? 0, claim: db.nextClaim() }
  db.heads.set(process.pid, head)
  if (recovered) raiseRecoveries(db, process)
  return { kind: 'claimed', record: recordOf(process), claim: head.claim, seq: head.seq, recovered }
}

function take(process: StoredProcess, node: NodeIdentity, stateVersion: number): void {
  if (process.ended) {
    process.incarnation += 1
    process.exit = null
    process.ended = false
  }
  if (process.stateVersion === 0) process.stateVersion = stateVersion
  process.owner = node.id
  process.ownerEpoch = node.epoch
  process.open = false
  process.gone = false
  process.wait = null
  process.takes = null
  process.judged = null
}

/** P2: the owner died holding the oldest pending message. */
function raiseRecoveries(db: MemoryDatabase, process: StoredProcess): void {
  for (const message of db.box(process.namespace, process.id)?.values() ?? []) {
    if (message.kind === 'reply' || message.kind === 'withdraw' || message.kind === 'cancel') continue
    message.recoveries += 1
    return
  }
}

export function recordOf(process: StoredProcess): ProcessRecord {
  const { namespace: _namespace, open: _open, takes: _takes, judged: _judged, ...record } = process
  return record
}

export function load(db: MemoryDatabase, pid: Pid): Loaded {
  const process = db.processes.get(pid)
  const snapshot = db.snapshots.get(pid)
  const ties = [...db.ties.values()].flatMap(({ kind, ...tie }) =>
    kind === 'child' || tie.namespace !== process?.namespace ? [] : [{ ...tie, kind }],
  )
  const own = ties.filter((tie) => tie.process === process?.id)
  const foreign = ties.filter((tie) => tie.peer === process?.id)
  const rows = {
    snapshot:
      snapshot === undefined ? null : { seq: snapshot.seq, stateVersion: snapshot.stateVersion, value: snapshot.value },
    journal: (db.journal.get(pid) ?? []).filter((row) => row.seq > (snapshot?.seq ?? 0)).map((row) => ({ ...row })),
  }
  return {
    process: pid,
    ...new Attachments(blobRefs(db, pid)).attach(pid, rows),
    mailbox:
      process === undefined
        ? []
        : [...(db.box(process.namespace, process.id)?.values() ?? [])].map((row) => ({ ...row })),
    timers: [...(db.timers.get(pid)?.values() ?? [])]
      .map(({ namespace: _namespace, ...timer }) => timer)
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    links: [
      ...own.map(({ kind, peer, ref, peerIncarnation }) => {
        return { kind, peer, ref: kind === 'link' ? null : ref, ephemeral: peerIncarnation === null }
      }),
      ...foreign.map((tie) =>
        tie.kind === 'link'
          ? { kind: 'link' as const, peer: tie.process, ref: null, ephemeral: tie.incarnation === null }
          : { kind: 'monitored' as const, peer: tie.process, ref: tie.ref, ephemeral: false },
      ),
    ].sort((a, b) => (a.kind === b.kind ? (a.peer < b.peer ? -1 : 1) : a.kind < b.kind ? -1 : 1)),
    names: namesOf(db, process),
  }
}

function namesOf(db: MemoryDatabase, process: StoredProcess | undefined): string[] {
  if (process === undefined) return []
  const start = `${process.namespace}\u0000`
  return [...db.names]
    .filter(([key, holder]) => holder === process.id && key.startsWith(start))
    .map(([key]) => key.slice(start.length))
    .sort()
}

export function release(db: MemoryDatabase, node: NodeIdentity, claims: readonly Release[]): Pid[] {
  if (!db.alive(node)) return []
  return claims.flatMap(({ process: pid, claim: held, open, park }) => {
    const head = db.heads.get(pid)
    const process = db.processes.get(pid)
    if (head === undefined || process === undefined || head.claim !== held) return []
    head.claim = NO_CLAIM
    if (park !== undefined) rearm(db, process, park.timer)
    if (process.owner !== node.id || process.ownerEpoch !== node.epoch) return []
    const { wait = null, takes = null, judged = null } = park ?? {}
    Object.assign(process, { owner: null, ownerEpoch: null, open: open ?? false, wait, takes, judged })
    return [pid]
  })
}

/** The one timer of a parked turn: set or gone. */
function rearm(db: MemoryDatabase, { pid, namespace }: StoredProcess, timer: NewTimer | null): void {
  const timers = db.timers.get(pid) ?? new Map()
  if (timer === null) timers.delete(WAKE)
  else timers.set(WAKE, { ...timer, namespace })
  db.timers.set(pid, timers)
}

export function snapshot(db: MemoryDatabase, node: NodeIdentity, writes: readonly SnapshotWrite[]): void {
  for (const write of writes) assertText(write.value)
  if (!db.alive(node)) return
  for (const { process: pid, claim: held, seq, stateVersion, value, blobs = [] } of writes) {
    const head = db.heads.get(pid)
    if (head === undefined || head.claim !== held || head.seq < seq) continue
    if ((db.snapshots.get(pid)?.seq ?? 0) >= seq || !blobs.every((hash) => isFresh(db, hash))) continue
    keepWaypoint(db, pid)
    db.snapshots.set(pid, { seq, claim: held, stateVersion, value, at: db.clock.now() })
    refer(db, pid, { seq, snapshot: true }, blobs)
  }
}

/** V4: the snapshot that is replaced stays when the last waypoint is far behind it. */
function keepWaypoint(db: MemoryDatabase, pid: Pid): void {
  const before = db.snapshots.get(pid)
  const waypoints = db.waypoints.get(pid) ?? []
  if (before === undefined || before.seq < WAYPOINT_ROWS + (waypoints.at(-1)?.seq ?? 0)) return
  db.waypoints.set(pid, [...waypoints, before])
}
