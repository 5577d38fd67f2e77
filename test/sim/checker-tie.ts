/**
 * At rest each monitor and link of a life that goes on either still holds, both ends alive, or was heard of once (P4,
 * P5); what was dissolved is not heard of (K39), and no tie has an end that is over. A name has one holder, who knows
 * it (P8). Each order was carried out once, each child reports once (T1).
 */
import type { MemoryDatabase, StoredTie } from '../../server/store/memory/database.ts'
import type { Observed } from './observed.ts'
import type { StoreWatch } from './store-watch.ts'
import { childKey, isTrapping, type TiedState } from './tied.ts'
import type { TiedRequest } from './tied-order.ts'

const NAMESPACE = 'default'

type Evidence = { readonly watch: StoreWatch; readonly observed: Observed }
type Ties = { readonly ties: readonly StoredTie[]; readonly watch: StoreWatch }
type Actor = { readonly id: string; readonly key: string; readonly life: number; readonly state: TiedState }

export function checkTies(requests: readonly TiedRequest[], { watch, observed }: Evidence): string[] {
  const { db } = watch
  const ties = [...db.ties.values()]
  const actors = [...watch.tied()].map(({ id, state }): Actor => {
    const stored = db.find(NAMESPACE, id)
    return { id, key: id.slice(id.indexOf('/') + 1), life: stored?.ended === false ? stored.incarnation : 0, state }
  })
  return [
    ...ties.flatMap((tie) => checkEnds(tie, db)),
    ...actors.flatMap((actor) => [
      ...checkMonitors(actor, { ties, watch }),
      ...checkLinks(actor, { ties, watch }),
      ...checkNames(actor, db),
    ]),
    ...checkOrders(requests, { actors, observed }),
  ]
}

function isOver(db: MemoryDatabase, id: string, life: number | null): boolean {
  const stored = db.find(NAMESPACE, id)
  return stored === undefined || stored.ended || stored.incarnation !== life
}

function checkEnds({ process, peer, kind, incarnation, peerIncarnation }: StoredTie, db: MemoryDatabase): string[] {
  const over = [
    ...(isOver(db, process, incarnation) ? [`${process} in life ${incarnation}`] : []),
    ...(isOver(db, peer, peerIncarnation) ? [`${peer} in life ${peerIncarnation}`] : []),
  ]
  return over.map((end) => `tie: the ${kind} of ${process} to ${peer} is there, and ${end} is over`)
}

function checkMonitors({ id, life, state }: Actor, { ties, watch }: Ties): string[] {
  const found: string[] = []
  for (const [ref, monitor] of Object.entries(state.monitors)) {
    const heard = state.downs[ref] ?? 0
    const held = ties.filter((tie) => tie.kind === 'monitor' && tie.ref === ref).length
    const what = `tie: the monitor ${ref} of ${id} on ${monitor.of}`
    if (heard > 1) found.push(`${what} was heard of ${heard} times`)
    // A signal that was queued before is taken out by the activation that knows of it.
    if (monitor.cut && heard > 0 && watch.hadOneOwner(id)) found.push(`${what} was given up, and heard of`)
    const holds = !monitor.cut && monitor.life === life
    if (holds && heard + held !== 1) found.push(`${what} was heard of ${heard} times, and is there ${held} times`)
    if (!holds && held > 0) found.push(`${what} is there, and should not be`)
  }
  return found
}

function checkLinks({ id, key, life, state }: Actor, of: Ties): string[] {
  const found: string[] = []
  for (const [end, times] of Object.entries(state.exits)) {
    if (times > 1) found.push(`tie: ${id} heard of ${end} ${times} times`)
    if (!isTrapping(key)) found.push(`tie: ${id}, which traps no exits, heard of ${end}`)
  }
  for (const [peer, since] of Object.entries(state.links)) {
    const isHeld = of.ties.some((tie) => tie.kind === 'link' && isPair(tie, id, peer))
    if (since !== life || isHeld) continue
    // Whoever traps hears of any end; others live on after an ordinary one only. The peer may dissolve it, too.
    const isExcused = of.watch.hasUnlinked(peer, id) || (!isTrapping(key) && of.watch.endedNormally(peer))
    if (!isExcused) found.push(`tie: the link of ${id} to ${peer} is gone, and ${id} lives on and heard nothing`)
  }
  return found
}

function isPair({ process, peer }: StoredTie, a: string, b: string): boolean {
  return (process === a && peer === b) || (process === b && peer === a)
}

function checkNames({ id, life, state }: Actor, db: MemoryDatabase): string[] {
  const found: string[] = []
  for (const [name, since] of Object.entries(state.names)) {
    const holder = db.names.get(`${NAMESPACE}\u0000${name}`) ?? 'nobody'
    if (since === life && holder !== id) found.push(`name: ${id} took ${name}, and ${holder} has it`)
  }
  for (const [key, holder] of db.names) {
    const name = key.slice(NAMESPACE.length + 1)
    if (holder === id && state.names[name] !== life) found.push(`name: ${id} has ${name}, and did not take it`)
  }
  return found
}

function checkOrders(
  requests: readonly TiedRequest[],
  { actors, observed }: { actors: readonly Actor[]; observed: Observed },
): string[] {
  const found: string[] = []
  for (const { to, order } of requests) {
    const { state } = actors.find(({ key }) => key === to) ?? {}
    const times = state?.done[order.id] ?? 0
    const least = observed.accepted.has(order.id) ? 1 : 0
    if (times > 1 || times < least) found.push(`tied: ${order.kind} ${order.id} of ${to} happened ${times} times`)
    if (order.kind !== 'spawn') continue
    const reports = state?.children[childKey(to, order.id)] ?? 0
    if (reports !== times) found.push(`spawn: the child ${childKey(to, order.id)} reported ${reports} times`)
  }
  return found
}
