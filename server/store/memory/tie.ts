/** Ties and names on memory: the verdicts of postgres/commit-tie.ts and sweep-ties.ts. */
import { CLOSED, linkEnds, netLinks, netNames } from '../change.ts'
import { ANY_LIFE, type Commit, type LinkChange, type NodeIdentity } from '../store.ts'
import { keyOf, type MemoryDatabase, type StoredTie } from './database.ts'

type Lives = Pick<StoredTie, 'incarnation' | 'peerIncarnation'>

const NOPROC = '{"kind":"noproc"}'

export function writeTies(db: MemoryDatabase, namespace: string, row: Commit): void {
  for (const change of netLinks(row.links ?? [])) {
    switch (change.kind) {
      case 'demonitor':
        db.ties.delete(keyOf(namespace, row.id, 'monitor', change.ref))
        break
      case 'unlink':
        db.ties.delete(linkKey(namespace, row.id, change.peer))
        break
      case 'child': {
        const tie = { namespace, process: change.peer, peer: row.id, kind: 'child', ref: '' } as const
        db.ties.set(keyOf(namespace, row.id, 'child', change.peer), {
          ...tie,
          incarnation: null,
          peerIncarnation: null,
        })
        break
      }
      default:
        insert(db, namespace, row, change)
    }
  }
  for (const change of netNames(row.names ?? [])) {
    const key = keyOf(namespace, change.name)
    if (change.kind === 'register') db.names.set(key, row.id)
    else if (db.names.get(key) === row.id) db.names.delete(key)
  }
}

function insert(
  db: MemoryDatabase,
  namespace: string,
  row: Commit,
  change: Extract<LinkChange, { kind: 'link' | 'monitor' }>,
): void {
  const isLink = change.kind === 'link'
  const key = isLink ? linkKey(namespace, row.id, change.peer) : keyOf(namespace, row.id, 'monitor', change.ref)
  const known = db.ties.get(key)
  if (known !== undefined && !isLink) return
  // A peer that does not exist has life 0, one that this commit spawns has life 1 and is not there yet.
  const born = row.spawns?.some((child) => child.id === change.peer) === true ? 1 : 0
  const life = change.ephemeral === true ? null : (db.find(namespace, change.peer)?.incarnation ?? born)
  const own = db.processes.get(row.process)?.incarnation ?? 0
  const [process, peer] = isLink ? linkEnds(row.id, change.peer) : [row.id, change.peer]
  const lives = process === row.id ? [own, life] : [life, own]
  const [incarnation = null, peerIncarnation = null] = lives
  if (known !== undefined && !isLater(known, { incarnation, peerIncarnation })) return
  const ref = isLink ? '' : change.ref
  db.ties.set(key, { namespace, process, peer, kind: change.kind, ref, incarnation, peerIncarnation })
}

/** The link that is there is of lives that are over, and nobody found out yet: it is of these two now. */
function isLater(known: Lives, { incarnation, peerIncarnation }: Lives): boolean {
  const later = (a: number | null, b: number | null): boolean => a !== null && b !== null && a > b
  return later(incarnation, known.incarnation) || later(peerIncarnation, known.peerIncarnation)
}

function linkKey(namespace: string, a: string, b: string): string {
  const [process, peer] = linkEnds(a, b)
  return keyOf(namespace, process, 'link', peer)
}

/** Cuts what an ended incarnation was tied to, tells the other ends and frees its names. Null without an end.
 *  @param ending  processes that end in this batch: nobody is left there to be told */
export function tellEnd(
  db: MemoryDatabase,
  namespace: string,
  row: Commit,
  ending: ReadonlySet<string>,
): string[] | null {
  const end = row.ends?.at(-1)
  if (end === undefined) return null
  for (const [key, holder] of db.names)
    if (holder === row.id && key.startsWith(keyOf(namespace, ''))) db.names.delete(key)
  const told = new Set<string>()
  for (const [key, tie] of tiesOf(db, namespace, row.id)) {
    if (tie.kind === 'child' && end.last !== true) continue
    db.ties.delete(key)
    const from = { id: row.id, incarnation: end.incarnation, reason: end.reason }
    if (ending.has(tie.process) && ending.has(tie.peer)) continue
    const target = tell(db, tie, from)
    if (target !== null) told.add(target)
  }
  return [...told]
}

export function sweepTies(db: MemoryDatabase, node: NodeIdentity, ids: readonly string[]): string[] {
  if (!db.alive(node)) return []
  const told = new Set<string>()
  for (const id of ids) {
    for (const [key, tie] of tiesOf(db, node.namespace, id)) {
      const ownOver = isOver(db, tie.namespace, tie.process, tie.incarnation)
      const peerOver = isOver(db, tie.namespace, tie.peer, tie.peerIncarnation)
      if (!ownOver && !peerOver) continue
      db.ties.delete(key)
      if (ownOver && peerOver) continue
      const [dead, incarnation] = ownOver ? [tie.process, tie.incarnation] : [tie.peer, tie.peerIncarnation]
      const target = tell(db, tie, { id: dead, incarnation: incarnation ?? 0, reason: NOPROC })
      if (target !== null) told.add(target)
    }
  }
  return [...told]
}

function tiesOf(db: MemoryDatabase, namespace: string, id: string): [string, StoredTie][] {
  const found = [...db.ties].filter(([, t]) => t.namespace === namespace && (t.process === id || t.peer === id))
  return found.sort(([a], [b]) => (a < b ? -1 : 1))
}

function isOver(db: MemoryDatabase, namespace: string, id: string, life: number | null): boolean {
  if (life === null) return false
  const process = db.find(namespace, id)
  return process === undefined || process.ended || process.gone || process.incarnation > life
}

/** Puts the row into the mailbox of the other end; null where there is none, or nobody to tell. */
function tell(
  db: MemoryDatabase,
  tie: StoredTie,
  from: { id: string; incarnation: number; reason: string },
): string | null {
  const isPeer = tie.peer === from.id
  if (tie.kind !== 'link' && !isPeer) return null
  const target = isPeer ? tie.process : tie.peer
  const isChild = tie.kind === 'child'
  const life = isChild ? ANY_LIFE : isPeer ? tie.incarnation : tie.peerIncarnation
  if (life === null) return null
  const kind = tie.kind === 'monitor' ? 'down' : 'exit'
  const id = JSON.stringify(from.id)
  const who = kind === 'down' ? `{"ref":${JSON.stringify(tie.ref)},"process":${id}` : `{"from":${id}`
  const args = `${who},"incarnation":${from.incarnation},"reason":${isChild ? CLOSED : from.reason},"to":${life}}`
  db.deliver(tie.namespace, {
    ...{
      id: `${kind}/${from.id}/${from.incarnation}/${db.lastOrd + 1}`,
      target,
      kind,
      op: kind,
      sender: from.id,
      n: 0,
    },
    ...{ args, replyTo: null, cause: null, root: null, chain: [], traceparent: null, actor: null },
    ...{ deadline: null, timer: null },
  })
  return target
}
