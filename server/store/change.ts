/**
 * What the lists of one commit come to. A row that covers several turns may arm, cancel and arm again: both stores
 * write only the net effect, because one statement can change each stored row once.
 */
import { type Commit, type LinkChange, type NameChange, type NewTimer, StoreFailure } from './store.ts'

/** Reason of the signal that a child gets whose parent ended (P9), as the text of an ExitReason. */
export const CLOSED = '{"kind":"shutdown","detail":null}'

/** C1: one row per process. A second one could be written without its head.
 *  @param rows  sorted by process
 *  @throws StoreFailure `broken` */
export function assertOneEach(rows: readonly Commit[]): void {
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i]
    if (row === undefined || row.process !== rows[i - 1]?.process) continue
    throw new StoreFailure(
      'broken',
      `A batch holds two rows of process ${row.id}. Merge them or send one after the other.`,
    )
  }
}

export type NetTimers = { readonly set: readonly NewTimer[]; readonly cancel: readonly { name: string; arm: number }[] }

/** Arms rise per process (V5): the highest stands, unless the same commit cancels exactly that one. */
export function netTimers(commit: Commit): NetTimers {
  const set = new Map<string, NewTimer>()
  for (const timer of commit.timers ?? []) {
    const earlier = set.get(timer.name)
    if (earlier === undefined || earlier.arm <= timer.arm) set.set(timer.name, timer)
  }
  const cancel = new Map<string, { name: string; arm: number }>()
  for (const item of commit.cancelTimers ?? []) {
    const armed = set.get(item.name)
    if (armed !== undefined && armed.arm > item.arm) continue // replaced by the newer arm anyway
    if (armed !== undefined) set.delete(item.name)
    const earlier = cancel.get(item.name)
    if (earlier === undefined || earlier.arm < item.arm) cancel.set(item.name, item)
  }
  return { set: [...set.values()], cancel: [...cancel.values()] }
}

export type Disarm = { readonly name: string; readonly arm: number; readonly kept: readonly number[] }

/** V5: what the commit disarms is dropped from the mailbox too, where it fired before. `kept` are rows that the commit
 *  consumes anyway. */
export function disarms(commit: Commit): Disarm[] {
  if (commit.cancelTimers === undefined) return []
  const kept = (commit.consumed ?? []).flatMap(({ target, ord }) => (target === commit.id ? [ord] : []))
  const each = new Map(commit.cancelTimers.map(({ name, arm }) => [`${arm} ${name}`, { name, arm, kept }]))
  return [...each.values()]
}

/** The last change of each tie. */
export function netLinks(changes: readonly LinkChange[]): LinkChange[] {
  const last = new Map<string, LinkChange>()
  for (const change of changes) {
    last.set(tieKey(change), change)
  }
  return [...last.values()]
}

function tieKey(change: LinkChange): string {
  switch (change.kind) {
    case 'link':
    case 'unlink':
      return `l ${change.peer}`
    case 'child':
      return `c ${change.peer}`
    default:
      return `m ${change.ref}`
  }
}

/** The last change of each name. */
export function netNames(changes: readonly NameChange[]): NameChange[] {
  return [...new Map(changes.map((change) => [change.name, change])).values()]
}

/** A link has no direction: it is stored once, smaller id first. */
export function linkEnds(a: string, b: string): [string, string] {
  return a < b ? [a, b] : [b, a]
}
