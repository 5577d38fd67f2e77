/**
 * Restart and stop by an operator: of any process, wherever it stands in the tree (S51, S65).
 *
 * - It costs no intensity. A supervisor's child is renewed by its supervisor, in order with everything else it does.
 * - A root has nobody above it: it is ended in order and born again here, also after it gave up.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Kernel } from './kernel.ts'
import { poolOf } from './pool.ts'
import type { Process } from './process.ts'
import { shutdownChild } from './shutdown.ts'
import { supervisorOf } from './supervisor.ts'

/** The new incarnation; null when it chose not to start. @throws CHILD_NOT_FOUND CHILD_START_FAILED REQUEST_INVALID */
export async function renew(kernel: Kernel, process: Process): Promise<Process | null> {
  const { parent } = process
  if (parent === null) return renewRoot(kernel, process)
  const supervisor = supervisorOf(parent)
  const id = supervisor?.childIdOf(process) ?? null
  if (supervisor !== null && id !== null) return supervisor.renewChild(id)
  const pool = poolOf(parent)
  if (pool !== null && process.key !== null) return pool.renewChild(process.key)
  throw new RuntimeError('REQUEST_INVALID', `${process.id} has no supervisor that could start it again.`)
}

/** Down until a verb starts it. `end` ends a live one; one that is being restarted stays down. */
export async function retire(process: Process, end: () => Promise<void>): Promise<void> {
  const { parent, key } = process
  process.tie().retired = true
  const supervisor = parent === null ? null : supervisorOf(parent)
  const id = supervisor?.childIdOf(process) ?? null
  if (supervisor !== null && id !== null) supervisor.retire(id)
  if (process.alive) return end()
  if (parent?.alive !== true) return
  if (supervisor !== null && id !== null) await supervisor.terminateChild(id)
  else if (key !== null && poolOf(parent)?.get(key) === process) await poolOf(parent)?.terminateChild(key)
  process.tie().retired = true
}

async function renewRoot(kernel: Kernel, process: Process): Promise<Process> {
  if (process.kind !== 'supervisor') {
    throw new RuntimeError('REQUEST_INVALID', `${process.id} has no supervisor that could start it again.`)
  }
  if (process.alive) await shutdownChild(kernel, process, 'infinity')
  const { id, key, agent, kind, behaviour, hidden, mailboxLimit } = process
  const again = kernel.spawn({ id, key, agent, kind, behaviour, hidden, mailboxLimit, parent: null })
  await kernel.started(again)
  return again
}
