/** Nodes, their leases, and who should run but does not, on memory: the verdicts of postgres/node.ts and orphans.ts. */
import { PSEUDO_AGENTS, RUNTIME_AGENTS, splitId } from '../../../shared/id.ts'
import { JUDGED_MS, type NodeIdentity, type NodeRow, type NodeStart, WAKE } from '../store.ts'
import { type MemoryDatabase, NO_CLAIM, type StoredNode, type StoredProcess } from './database.ts'

export function registerNode(db: MemoryDatabase, namespace: string, start: NodeStart): NodeIdentity {
  const { leaseMs, ...facts } = start
  const now = db.clock.now()
  const row: StoredNode = {
    ...facts,
    capabilities: { ...start.capabilities },
    id: db.nextNode(),
    epoch: db.nextEpoch(),
    namespace,
    startedAt: now,
    leaseUntil: now + leaseMs,
    stoppedAt: null,
    session: false,
  }
  db.nodes.set(row.id, row)
  return { id: row.id, epoch: row.epoch, name: row.name, namespace }
}

export function renewLease(db: MemoryDatabase, node: NodeIdentity, leaseMs: number): boolean {
  const row = db.nodes.get(node.id)
  if (row === undefined || !db.alive(node)) return false
  row.leaseUntil = db.clock.now() + leaseMs
  return true
}

export function nodes(db: MemoryDatabase, namespace: string): NodeRow[] {
  const owners = new Set([...db.processes.values()].map((process) => (process.ended ? null : process.owner)))
  return [...db.nodes.values()]
    .filter((row) => row.namespace === namespace && (row.stoppedAt === null || owners.has(row.id)))
    .map(({ namespace: _namespace, session: _session, ...row }) => ({ ...row, capabilities: { ...row.capabilities } }))
}

export function buryNode(
  db: MemoryDatabase,
  node: NodeIdentity,
  { victim, proof }: { victim: { id: number; epoch: number }; proof: 'lease' | 'host' | 'session' },
): boolean {
  const row = db.nodes.get(victim.id)
  if (row === undefined || row.epoch !== victim.epoch || row.namespace !== node.namespace || !db.alive(node))
    return false
  if (!isProven(db, row, proof)) return false
  end(db, row)
  return true
}

function isProven(db: MemoryDatabase, row: StoredNode, proof: 'lease' | 'host' | 'session'): boolean {
  switch (proof) {
    case 'host':
      return true
    case 'lease':
      return row.leaseUntil < db.clock.now()
    case 'session':
      return row.session && db.sessions.get(row.id)?.epoch !== row.epoch
  }
}

function end(db: MemoryDatabase, row: StoredNode): void {
  // Answers that it did not live to take.
  for (const ord of [...(db.box(row.namespace, `node/${row.id}-${row.epoch}`)?.keys() ?? [])])
    db.remove(row.namespace, `node/${row.id}-${row.epoch}`, ord)
  row.epoch = db.nextEpoch()
  row.stoppedAt = db.clock.now()
}

export function leave(db: MemoryDatabase, node: NodeIdentity): void {
  const row = db.nodes.get(node.id)
  if (row === undefined || !db.alive(node)) return
  for (const process of db.processes.values()) {
    if (process.owner !== node.id || process.ownerEpoch !== node.epoch) continue
    Object.assign(process, { owner: null, ownerEpoch: null, open: true })
    const head = db.heads.get(process.pid)
    if (head !== undefined) head.claim = NO_CLAIM
  }
  end(db, row)
}

/** W2: parked, and nothing in its mailbox is for the open turn. */
export function isParkedFor(db: MemoryDatabase, { takes, judged, namespace, id }: StoredProcess): boolean {
  if (takes === null) return false
  const recent = db.clock.now() - JUDGED_MS
  return ![...(db.box(namespace, id)?.values() ?? [])].some(
    ({ kind, op, ord, at }) =>
      kind === 'reply' ||
      kind === 'exit' ||
      kind === 'cancel' ||
      op === WAKE ||
      (kind !== 'withdraw' &&
        kind !== 'down' &&
        (takes.includes('*') || takes.includes(op)) &&
        (ord > (judged ?? 0) || at > recent)),
  )
}

export function orphans(db: MemoryDatabase, node: NodeIdentity, limit: number) {
  const me = db.nodes.get(node.id)
  if (me === undefined || !db.alive(node)) return []
  const anyAgent = Object.keys(me.capabilities).length === 0
  const runnable = (agent: string, version: number) =>
    anyAgent || RUNTIME_AGENTS.has(agent) || (me.capabilities[agent] ?? -1) >= version
  const found = new Set<string>()
  for (const process of db.processes.values()) {
    if (process.namespace !== node.namespace || process.ended || db.ownerAlive(process)) continue
    if (!runnable(process.agent, process.stateVersion)) continue
    const wanted =
      process.owner === null ? process.open && process.desired === 'running' : process.desired !== 'stopped'
    if (wanted) found.add(process.id)
  }
  const start = `${node.namespace}\u0000`
  for (const key of db.mailbox.keys()) {
    if (!key.startsWith(start)) continue
    const id = key.slice(start.length)
    const { agent } = splitId(id)
    const process = db.find(node.namespace, id)
    if (PSEUDO_AGENTS.has(agent) || !runnable(agent, process?.stateVersion ?? 0)) continue
    if (process === undefined) found.add(id)
    else if (isParkedFor(db, process)) continue
    else if (!process.ended && process.desired === 'running' && !db.ownerAlive(process)) found.add(id)
  }
  return [...found].slice(0, limit).map((id) => ({ id, ...splitId(id) }))
}
