/**
 * The commit on memory. Same verdicts as the statement of postgres/commit.ts, in the same order: the node, then each
 * head with its claim and its consumed rows, then what would violate a key, and only then anything is written.
 */
import { assertOneEach, disarms, netNames, netTimers } from '../change.ts'
import { type Commit, type CommitOutcome, type NodeIdentity, type RequestResult, StoreFailure } from '../store.ts'
import { isFresh, refer } from './blob.ts'
import { keyOf, type MemoryDatabase } from './database.ts'
import { assertCommit } from './text.ts'
import { tellEnd, writeTies } from './tie.ts'

const REFUSED: CommitOutcome = { kind: 'refused' }

export function commit(db: MemoryDatabase, node: NodeIdentity, batch: readonly Commit[]): CommitOutcome[] {
  assertOneEach(batch.toSorted((a, b) => a.process - b.process))
  for (const row of batch) assertCommit(row)
  if (!db.alive(node)) return batch.map(() => REFUSED)
  const accepted = batch.map((row) => isAcceptable(db, node.namespace, row))
  assertKeys(
    db,
    node.namespace,
    batch.filter((_, i) => accepted[i]),
  )
  const ending = new Set(batch.flatMap((row, i) => (accepted[i] === true && row.ends !== undefined ? [row.id] : [])))
  return batch.map((row, i) => (accepted[i] === true ? write(db, node.namespace, { row, ending }) : REFUSED))
}

/** F1, M1 and D21. */
function isAcceptable(db: MemoryDatabase, namespace: string, row: Commit): boolean {
  const head = db.heads.get(row.process)
  if (head === undefined || head.seq !== row.seq - 1 || head.claim !== row.claim) return false
  if (!(row.blobs ?? []).every((hash) => isFresh(db, hash))) return false
  return (row.consumed ?? []).every((ref) => db.box(namespace, ref.target)?.has(ref.ord) === true)
}

/** Keys are checked before the first write: a violation refuses the whole batch, as class 23 does (C2). */
function assertKeys(db: MemoryDatabase, namespace: string, rows: readonly Commit[]): void {
  const taken = new Map<string, string>()
  for (const row of rows) {
    for (const change of netNames(row.names ?? [])) {
      if (change.kind !== 'register') continue
      const holder = taken.get(change.name) ?? db.names.get(keyOf(namespace, change.name))
      if (holder !== undefined && holder !== row.id) throw duplicate('names', change.name)
      taken.set(change.name, row.id)
    }
    for (const { id } of row.failures ?? []) {
      if (db.failures.has(keyOf(namespace, id))) throw duplicate('failures', id)
    }
    for (const { id } of row.deadLetters ?? []) {
      if (db.deadLetters.has(keyOf(namespace, id))) throw duplicate('dead_letters', id)
    }
  }
}

function duplicate(table: string, key: string): StoreFailure {
  return new StoreFailure('rejected', `Key ${JSON.stringify(key)} exists in ${table}.`, { sqlState: '23505' })
}

function write(db: MemoryDatabase, namespace: string, of: { row: Commit; ending: Set<string> }): CommitOutcome {
  const { row, ending } = of
  const at = db.clock.now()
  const journal = db.journal.get(row.process) ?? []
  journal.push({
    ...row.meta,
    turnIds: [...row.meta.turnIds],
    seq: row.seq,
    claim: row.claim,
    at,
    payload: row.payload,
  })
  db.journal.set(row.process, journal)
  refer(db, row.process, { seq: row.seq, snapshot: false }, row.blobs)
  db.heads.set(row.process, { seq: row.seq, claim: row.claim })
  for (const ref of row.consumed ?? []) db.remove(namespace, ref.target, ref.ord)
  for (const { ref, attempts } of row.attempted ?? []) {
    const message = db.box(namespace, ref.target)?.get(ref.ord)
    if (message !== undefined) message.attempts = attempts
  }
  const ords = (row.messages ?? []).map((message) => db.deliver(namespace, message).ord)
  writeTimers(db, namespace, row)
  writeTies(db, namespace, row)
  const told = tellEnd(db, namespace, row, ending)
  writeProcesses(db, namespace, row)
  writeRecords(db, namespace, row)
  const heard = row.requests === undefined ? [] : settle(db, namespace, row.requests)
  if (told === null && row.requests === undefined) return { kind: 'committed', at, ords }
  return { kind: 'committed', at, ords, told: [...new Set([...(told ?? []), ...heard])] }
}

/** M3: the first outcome stands. D45: whoever waits for it gets it as a reply, and is returned. */
function settle(db: MemoryDatabase, namespace: string, results: readonly RequestResult[]): string[] {
  return results.flatMap(({ scope, key, status, result }) => {
    const request = db.requests.get(keyOf(namespace, scope, key))
    if (request?.status !== 'pending') return []
    Object.assign(request, { status, result, at: db.clock.now() })
    const { process: sender, messageId } = request
    return request.waiters.flatMap(([target, op]) => {
      if (!hears(db, namespace, target)) return []
      db.deliver(namespace, {
        ...{ id: `${messageId}.result`, target, kind: 'reply', op, sender, n: 0, args: result, replyTo: null },
        ...{ cause: null, root: null, chain: [], traceparent: null, actor: null, deadline: null, timer: null },
      })
      return [target]
    })
  })
}

/** A process that ended for good and a node that is gone take nothing out of their mailboxes any more. */
function hears(db: MemoryDatabase, namespace: string, target: string): boolean {
  if (!target.startsWith('node/')) return db.find(namespace, target)?.ended === false
  return [...db.nodes.values()].some((n) => n.namespace === namespace && target === `node/${n.id}-${n.epoch}`)
}

function writeTimers(db: MemoryDatabase, namespace: string, row: Commit): void {
  if (row.timers === undefined && row.cancelTimers === undefined) return
  const timers = db.timers.get(row.process) ?? new Map()
  const { set, cancel } = netTimers(row)
  for (const { name, arm } of disarms(row)) {
    for (const [ord, { timer }] of db.box(namespace, row.id) ?? []) {
      if (timer?.name === name && timer.arm === arm) db.remove(namespace, row.id, ord)
    }
  }
  for (const { name, arm } of cancel) if (timers.get(name)?.arm === arm) timers.delete(name)
  for (const timer of set) timers.set(timer.name, { ...timer, namespace })
  db.timers.set(row.process, timers)
}

function writeProcesses(db: MemoryDatabase, namespace: string, row: Commit): void {
  for (const child of row.spawns ?? []) {
    if (db.find(namespace, child.id) !== undefined) continue
    // Open from birth: if nobody is told of the child, recovery finds it.
    db.insertProcess({ ...NEW_PROCESS, ...child, namespace, open: true })
  }
  const process = db.processes.get(row.process)
  if (row.patch !== undefined && process !== undefined) Object.assign(process, row.patch)
}

/** What a process row has before anybody claimed it. */
export const NEW_PROCESS = {
  incarnation: 1,
  stateVersion: 0,
  restarts: 0,
  desired: 'running',
  diverged: false,
  trapExit: false,
  gone: false,
  ended: false,
  exit: null,
  wait: null,
  takes: null,
  judged: null,
  owner: null,
  ownerEpoch: null,
  sandbox: null,
  branch: 0,
} as const

function writeRecords(db: MemoryDatabase, namespace: string, row: Commit): void {
  const at = db.clock.now()
  for (const failure of row.failures ?? []) {
    db.failures.set(keyOf(namespace, failure.id), { ...failure, namespace, process: row.id, at })
  }
  for (const letter of row.deadLetters ?? []) {
    db.deadLetters.set(keyOf(namespace, letter.id), { ...letter, namespace, process: row.id, at, redeliveredAt: null })
  }
}
