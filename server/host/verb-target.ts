/**
 * The process a verb is for, in memory or not (N8): every process that can be seen can be acted upon, or says why not.
 *
 * - What is only stored is acted upon in the store. When it comes to memory meanwhile, the verb is for the live one.
 * - A process with a parked turn comes back for an operator (W2).
 */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound, splitId } from '../../shared/id.ts'
import type { DesiredState } from '../../shared/snapshot.ts'
import type { Act } from '../control.ts'
import { recordOf } from '../journal/durable.ts'
import { storable } from '../journal/message.ts'
import type { Process } from '../kernel/process.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { ProcessRecord } from '../store/store.ts'
import { stoppedError } from './tree.ts'

export class VerbTargets {
  readonly #core: RuntimeCore

  constructor(core: RuntimeCore) {
    this.#core = core
  }

  /** What is stored of a process that is not in memory; null for one that is.
   *  @throws PROCESS_NOT_FOUND FENCED INCARNATION_GONE */
  async stored(id: ProcessId, act: Act): Promise<ProcessRecord | null> {
    if ((await this.here(id)) !== null) return null
    const { backend, namespace, node } = this.#core
    const record = await backend.handle.archive.process(namespace, id)
    if (record === null) throw processNotFound(id)
    if (record.owner !== null && record.owner !== node.id && (await this.#lives(record))) {
      throw new RuntimeError('FENCED', `${id} runs on node ${record.owner}, not on ${node.name}. Act on it there.`)
    }
    assertIncarnation(record, act)
    if (record.wait === null) return record
    await this.wake(record)
    return null
  }

  /** A stopped process keeps the owner that died with it: nobody recovers it. Where the store cannot be asked, the row
   *  is believed: the verb is refused as retryable, and asked again. */
  #lives({ owner, ownerEpoch }: ProcessRecord): Promise<boolean> {
    const { backend, namespace } = this.#core
    const node = { id: owner ?? 0, epoch: ownerEpoch ?? 0, name: '', namespace }
    return backend.handle.store.epochAlive(node).catch(() => true)
  }

  /** The process of the id, once it is decided whether it is up; null when it is not in memory. */
  async here(id: ProcessId): Promise<Process | null> {
    const { kernel } = this.#core
    const process = kernel.find(id)
    // A start that fails is told to whoever wanted it; here only its outcome counts.
    if (process !== undefined) await kernel.started(process).catch(() => {})
    return kernel.find(id) ?? null
  }

  /** In memory, whatever its state. @throws PROCESS_NOT_FOUND INCARNATION_GONE */
  known(id: ProcessId, act: Act): Process {
    const process = this.#core.kernel.find(id)
    if (process === undefined) throw processNotFound(id)
    assertIncarnation(process, act)
    return process
  }

  /** The live process, or a durable one on its way into its next incarnation; what is only stored is brought to memory.
   *  @throws PROCESS_NOT_FOUND PROCESS_EXITED INCARNATION_GONE FENCED */
  async present(id: ProcessId, act: Act): Promise<Process> {
    const only = await this.stored(id, act)
    if (only?.desired === 'stopped') throw stoppedError(id)
    if (only !== null) await this.wake(only)
    const process = this.known(id, act)
    if (process.elsewhere) throw new RuntimeError('FENCED', `${id} runs on another node. Act on it there.`)
    const record = recordOf(process)
    const comesBack = process.status === 'restarting' && record !== null && !record.fenced
    return comesBack ? process : this.live(id, act)
  }

  /** Whoever has messages of its own in the store, wherever it is.
   *  @throws PROCESS_NOT_FOUND INCARNATION_GONE  @throws REQUEST_INVALID  not durable */
  async owned(id: ProcessId, act: Act): Promise<{ readonly incarnation: number }> {
    const { backend, namespace, kernel } = this.#core
    const live = kernel.find(id)
    if (live !== undefined && (!live.durable || live.kind !== 'agent')) {
      throw new RuntimeError('REQUEST_INVALID', `${id} is no durable agent; only operations of those can be cancelled.`)
    }
    const process = live ?? (await backend.handle.archive.process(namespace, id))
    if (process === null) throw processNotFound(id)
    assertIncarnation({ id, incarnation: process.incarnation }, act)
    return process
  }

  /** The live process; one that is only stored is brought to memory.
   *  @throws PROCESS_NOT_FOUND PROCESS_EXITED INCARNATION_GONE FENCED */
  async live(id: ProcessId, act: Act): Promise<Process> {
    const record = await this.stored(id, act)
    if (record?.desired === 'stopped') throw stoppedError(id)
    if (record !== null) await this.wake(record)
    const process = this.known(id, act)
    if (process.alive) return process
    if (process.ties?.retired === true) throw stoppedError(id)
    throw new RuntimeError('PROCESS_EXITED', `${id} is not alive (${process.status}). Restart it first.`)
  }

  /** @throws PROCESS_EXITED and what a start throws */
  async wake({ id }: Pick<ProcessRecord, 'id'>): Promise<Process> {
    const { kernel, tree } = this.#core
    const stopper = tree.stopper(id)
    if (stopper !== null && stopper !== id) throw stoppedError(id, stopper)
    const { agent, key } = splitId(id)
    const process = tree.ensure(id, agent, key)
    if (process === null) throw new RuntimeError('PROCESS_EXITED', `${id} is not alive, and nothing here runs it.`)
    await kernel.started(process)
    return process
  }

  /** F7. Whatever has a row keeps it. */
  async desire({ id }: { id: ProcessId }, desired: DesiredState): Promise<void> {
    await this.#core.backend.handle.store.setDesired(this.#core.node, id, desired)
  }

  /** Stored messages make somebody look: calls of a stopped process are refused, messages of a resumed one handled. */
  async lookAtMail(id: ProcessId): Promise<void> {
    const { backend, namespace, layer } = this.#core
    const counts = await backend.handle.archive.mailboxCounts(namespace, [id])
    if ((counts.get(id) ?? 0) > 0) layer.poke(id)
  }
}

/** C1. @throws INCARNATION_GONE */
export function assertIncarnation({ id, incarnation }: { id: ProcessId; incarnation: number }, act: Act): void {
  if (act.incarnation === undefined || act.incarnation === incarnation) return
  throw new RuntimeError(
    'INCARNATION_GONE',
    `${id} is incarnation ${incarnation} now; the action was meant for ${act.incarnation}.`,
    { detail: { incarnation } },
  )
}

/** Who acts and why, as entries of the journal tell it. */
export function said({ actor, reason }: Act): { by: string; why: string | null } {
  return { by: storable(actor), why: reason === undefined ? null : storable(reason) }
}
