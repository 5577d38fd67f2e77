/**
 * What a sandbox copy of a process stores: nothing that is for anybody else (E9).
 *
 * - This is the last gate, behind all verbs: whatever a row of a sandbox carries for others is taken out of it here.
 * - Answers go to callers outside any process, which are operators: nobody else knows its id.
 */
import type { Commit, NewMessage } from '../store/store.ts'

/** Ids of addresses of nodes, where callers outside any process wait. */
const NODES = 'node/'

export function keepInside(commit: Commit): void {
  const { id, messages, requests } = commit
  delete commit.spawns
  delete commit.links
  delete commit.names
  if (messages !== undefined)
    setOrDelete(
      commit,
      'messages',
      messages.filter((message) => staysInside(id, message)),
    )
  if (requests !== undefined)
    setOrDelete(
      commit,
      'requests',
      requests.filter(({ scope }) => scope === id),
    )
}

function staysInside(id: string, { kind, target }: NewMessage): boolean {
  return target === id || (kind === 'reply' && target.startsWith(NODES))
}

function setOrDelete<K extends 'messages' | 'requests'>(commit: Commit, name: K, items: NonNullable<Commit[K]>): void {
  if (items.length === 0) delete commit[name]
  else commit[name] = items
}
