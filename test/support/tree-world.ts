/** Supervisors as rows, for tests: small trees, and what is stored of them. */

import { agent } from '../../server/definition/agent.ts'
import { RuntimeInspect } from '../../server/host/runtime-inspect.ts'
import { decodeEntries } from '../../server/journal/entry.ts'
import type { TreeNote, TreeState } from '../../server/journal/tree-state.ts'
import type { Supervisor } from '../../server/kernel/supervisor.ts'
import { supervisorOf } from '../../server/kernel/supervisor.ts'
import type { ProcessRecord } from '../../server/store/store.ts'
import type { JournalItem } from '../../shared/snapshot.ts'
import type { TestNode } from './runtime.ts'

/** Fails on request; its state goes with every crash. */
export const brittle = agent('brittle', {
  durability: 'ephemeral',
  state: () => ({ n: 0 }),
  on: {
    add(ctx) {
      ctx.state.n += 1
      return ctx.state.n
    },
    crash() {
      throw new Error('on purpose')
    },
  },
})

export const ledgered = agent('ledgered', {
  state: () => ({ n: 0 }),
  on: {
    add(ctx) {
      ctx.state.n += 1
      return ctx.state.n
    },
  },
})

/** No part of any tree: its pool is made when it is needed. */
export const late = agent('late', { durability: 'ephemeral', state: () => ({}), on: {} })

export function supervisorAt(node: TestNode, name: string): Supervisor {
  const process = node.core.kernel.find(`supervisor/${name}`)
  const supervisor = process === undefined ? null : supervisorOf(process)
  if (supervisor === null) throw new Error(`There is no supervisor ${name} on ${node.name}.`)
  return supervisor
}

/** Crashes the child and waits until its supervisor has dealt with it. */
export async function crash(node: TestNode, key: string): Promise<void> {
  const before = node.core.kernel.find(`brittle/${key}`)?.incarnation ?? 0
  await node.world.refusal(node.ref(brittle, key).crash())
  await node.world.until(() => {
    const process = node.core.kernel.find(`brittle/${key}`)
    return process === undefined || process.incarnation > before || process.parent?.alive !== true
  }, `the restart of brittle/${key}`)
}

/** What is stored of a supervisor or pool; undefined before its first row. */
export async function treeOf(node: TestNode, id: string): Promise<TreeState | undefined> {
  return (await node.stored(id)) as TreeState | undefined // rows of supervisors hold nothing else
}

export async function rowOf(node: TestNode, id: string): Promise<ProcessRecord | null> {
  return node.core.backend.handle.archive.process('default', id)
}

/** Through the read interface, newest first. */
export async function journalOf(node: TestNode, id: string): Promise<JournalItem[]> {
  const inspect = new RuntimeInspect(node.core)
  const { items } = await inspect.journal(id, { limit: 500 })
  inspect.close()
  return items
}

/** Changes told in the journal, oldest first: `started brittle/a`. */
export async function told(node: TestNode, id: string): Promise<string[]> {
  const record = await rowOf(node, id)
  if (record === null) return []
  const rows = await node.core.backend.handle.archive.journal(record.pid, { limit: 500 })
  const notes: TreeNote[] = rows
    .reverse()
    .flatMap((row) => decodeEntries(row.payload))
    .flatMap((entry) => (entry.k === 'tree' ? entry.notes : []))
  return notes.map((note) => ('child' in note && note.child !== null ? `${note.kind} ${note.child}` : note.kind))
}
