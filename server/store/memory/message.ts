/** Messages, requests and timers on memory: the verdicts of postgres/enqueue.ts, request.ts and fire-timers.ts. */
import { RuntimeError } from '../../../shared/error.ts'
import type { MessageRow, NewMessage, NewRequest, NodeIdentity, RequestRow, ResultWait, WaitEdge } from '../store.ts'
import { keyOf, type MemoryDatabase, type StoredRequest } from './database.ts'
import { assertMessage } from './text.ts'

/** @throws FENCED */
export function assertAlive(db: MemoryDatabase, node: NodeIdentity): void {
  if (db.alive(node)) return
  throw new RuntimeError(
    'FENCED',
    `Epoch ${node.epoch} of node ${node.name} (${node.id}) is over: it left or was declared dead. Nothing was written.`,
    { detail: { node: node.id, epoch: node.epoch } },
  )
}

export function enqueue(db: MemoryDatabase, node: NodeIdentity, messages: readonly NewMessage[]): number[] {
  if (messages.length === 0) return []
  for (const message of messages) assertMessage(message)
  assertAlive(db, node)
  return messages.map((message) => db.deliver(node.namespace, message).ord)
}

export function messages(
  db: MemoryDatabase,
  at: { namespace: string; target: string; afterOrd: number; limit: number },
): MessageRow[] {
  const rows = [...(db.box(at.namespace, at.target)?.values() ?? [])]
  return rows
    .filter((row) => row.ord > at.afterOrd)
    .slice(0, at.limit)
    .map((row) => ({ ...row }))
}

export function waitEdges(
  db: MemoryDatabase,
  at: { namespace: string; targets: readonly string[]; limit: number },
): WaitEdge[] {
  const rows = [...new Set(at.targets)].flatMap((target) => [...(db.box(at.namespace, target)?.values() ?? [])])
  const edges = rows.flatMap(({ kind, sender, replyTo, target, op, ord }) => {
    if (kind !== 'call' || sender === null || replyTo === null) return []
    const pid = db.find(at.namespace, sender)?.pid
    return pid === undefined ? [] : [{ replyTo, edge: { caller: sender, pid, target, op, ord } }]
  })
  return edges
    .sort((a, b) => a.edge.ord - b.edge.ord)
    .slice(0, at.limit)
    .flatMap(({ replyTo, edge }) => (replyTo.kind === 'process' ? [{ ...edge, call: replyTo.call }] : []))
}

export function take(db: MemoryDatabase, node: NodeIdentity, from: { target: string; limit: number }): MessageRow[] {
  if (!db.alive(node)) return []
  const rows = messages(db, { namespace: node.namespace, target: from.target, afterOrd: 0, limit: from.limit })
  for (const row of rows) db.remove(node.namespace, from.target, row.ord)
  return rows
}

export function request(
  db: MemoryDatabase,
  node: NodeIdentity,
  wanted: NewRequest,
): { row: RequestRow; created: boolean; ord: number; signalOrd: number } {
  assertMessage(wanted.message)
  if (wanted.signal !== undefined) assertMessage(wanted.signal)
  assertAlive(db, node)
  const key = keyOf(node.namespace, wanted.scope, wanted.key)
  const found = db.requests.get(key)
  const over = found?.status !== 'pending' && (found?.expiresAt ?? Number.POSITIVE_INFINITY) <= db.clock.now()
  const signal = () => (wanted.signal === undefined ? 0 : db.deliver(node.namespace, wanted.signal).ord)
  if (found !== undefined && !over) {
    const signalOrd = found.argsHash === wanted.argsHash ? signal() : 0
    return { row: requestShape(found), created: false, ord: 0, signalOrd }
  }
  const row = {
    scope: wanted.scope,
    key: wanted.key,
    argsHash: wanted.argsHash,
    process: wanted.message.target,
    messageId: wanted.message.id,
    status: 'pending' as const,
    result: null,
    expiresAt: wanted.expiresAt,
    at: db.clock.now(),
    waiters: [],
  }
  db.requests.set(key, row)
  const { ord } = db.deliver(node.namespace, wanted.message)
  return { row: requestShape(row), created: true, ord, signalOrd: signal() }
}

export function requestRow(db: MemoryDatabase, namespace: string, scope: string, key: string): RequestRow | null {
  const row = db.requests.get(keyOf(namespace, scope, key))
  return row === undefined ? null : requestShape(row)
}

/** D45. */
export function awaitResult(
  db: MemoryDatabase,
  node: NodeIdentity,
  { scope, key, target, call }: ResultWait,
): { row: RequestRow | null; kept: boolean } {
  const found = db.requests.get(keyOf(node.namespace, scope, key))
  if (found === undefined) return { row: null, kept: false }
  const kept = found.status === 'pending' && db.alive(node)
  const known = found.waiters.some(([id, op]) => id === target && op === call)
  if (kept && !known) found.waiters.push([target, call])
  return { row: requestShape(found), kept }
}

function requestShape({ expiresAt: _expiresAt, at: _at, waiters: _waiters, ...row }: StoredRequest): RequestRow {
  return row
}

export function fireTimers(db: MemoryDatabase, node: NodeIdentity, limit: number): MessageRow[] {
  if (!db.alive(node)) return []
  const now = db.clock.now()
  const due = [...armed(db, node.namespace)].filter((timer) => timer.due <= now)
  due.sort((a, b) => a.due - b.due || a.process - b.process || a.arm - b.arm)
  return due.slice(0, limit).map((timer) => {
    db.timers.get(timer.process)?.delete(timer.name)
    const { process, arm, name, target, op, args, root, traceparent } = timer
    const row = db.deliver(node.namespace, {
      ...{ id: `timer/${process}/${arm}/${name}`, target, kind: 'timer', op, sender: null, n: 0, args, replyTo: null },
      ...{ cause: null, root, chain: [], traceparent, actor: null, deadline: null, timer: { name, arm } },
    })
    return { ...row }
  })
}

export function nextTimer(db: MemoryDatabase, namespace: string): number | null {
  let next: number | null = null
  for (const timer of armed(db, namespace)) if (next === null || timer.due < next) next = timer.due
  return next
}

function* armed(db: MemoryDatabase, namespace: string) {
  for (const timers of db.timers.values()) {
    for (const timer of timers.values()) if (timer.namespace === namespace) yield timer
  }
}
