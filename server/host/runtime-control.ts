/**
 * The write side of a runtime: operator verbs over kernel, layer and store. Every verb is audited, refused ones too.
 *
 * - C1: with an incarnation given, a verb is refused when the process was reborn since.
 * - F7: suspend, resume and stop are stored as the desired state and survive every restart.
 */
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound, splitId } from '../../shared/id.ts'
import type { DesiredState } from '../../shared/snapshot.ts'
import { decode, type Value } from '../../shared/value.ts'
import type { Act, ActResult, Control, SandboxAnswer } from '../control.ts'
import { Call } from '../definition/call.ts'
import { bury } from '../journal/dead-letter.ts'
import { recordOf } from '../journal/durable.ts'
import { stored } from '../journal/mend.ts'
import { storable } from '../journal/message.ts'
import type { Envelope, Lineage } from '../kernel/envelope.ts'
import { NO_LINEAGE } from '../kernel/envelope.ts'
import { SHUTDOWN } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import { renew, retire } from '../kernel/renewal.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { ProcessRecord } from '../store/store.ts'
import { Mender } from './mender.ts'
import { inHand } from './open-turn.ts'
import { importFile, readFile } from './process-file.ts'
import { type Fork, SandboxDesk } from './sandbox-desk.ts'
import { refuseService } from './service.ts'
import { StepDoor, type StepOutcome } from './step-door.ts'
import { stoppedError } from './tree.ts'
import { assertIncarnation, VerbTargets } from './verb-target.ts'

/** Ms a stop waits for the turn in hand before it reports; the process goes on ending. */
const STOP_WAIT_MS = 10_000
/** Ms between looks whether the turn in hand has come to a wait. */
const STOP_LOOK_MS = 50
const CALL_TIMEOUT_MS = 5_000

/** Whom a verb was for, as it is afterwards. */
type Acted = { process: { readonly incarnation: number }; outcome: string }

export class RuntimeControl implements Control {
  readonly #core: RuntimeCore
  readonly #steps: StepDoor
  readonly #targets: VerbTargets
  readonly #mender: Mender
  readonly #sandboxes: SandboxDesk

  constructor(core: RuntimeCore) {
    this.#core = core
    this.#steps = new StepDoor(core)
    this.#targets = new VerbTargets(core)
    this.#mender = new Mender(core, this.#targets)
    this.#sandboxes = new SandboxDesk(core, this.#targets, this.#steps)
  }

  kill(id: ProcessId, act: Act & { message?: 'redeliver' | 'drop' }): Promise<ActResult> {
    return this.#audited('kill', id, act, async () => {
      const process = await this.#targets.live(id, act)
      this.#core.layer.book.act(id, 'kill', act)
      const { current } = process
      const record = recordOf(process)
      const drop = act.message === 'drop' && current !== null && record !== null
      this.#core.kernel.kill(process, { redeliver: !drop, detail: act.reason })
      if (drop) bury(this.#core.layer.ports, record, current, `dropped by ${act.actor} with a kill`)
      return { process, outcome: 'killed' }
    })
  }

  /** S65, F7: down until an operator starts it again; its supervisor neither counts it nor restarts anybody. */
  stop(id: ProcessId, act: Act): Promise<ActResult> {
    return this.#audited('stop', id, act, async () => {
      const record = await this.#targets.stored(id, act)
      if (record !== null) {
        await this.#targets.desire(record, 'stopped')
        if ((await this.#targets.here(id)) === null) {
          await this.#targets.lookAtMail(id)
          return { process: record, outcome: 'stopped' }
        }
      }
      const process = this.#targets.known(id, act)
      this.#core.layer.book.act(id, 'stop', act)
      await this.#desire(process, 'stopped')
      const left = recordOf(process)
      if (left !== null && process.alive) left.stopped = true
      await retire(process, () => this.#stopProcess(process))
      await this.#letGo(process)
      return { process, outcome: 'stopped' }
    })
  }

  /** What ended before, and would have been restarted, still has its claim: whoever starts it next reads it anew. */
  async #letGo(process: Process): Promise<void> {
    const record = recordOf(process)
    if (process.alive || record === null || record.fenced || record.pending) return
    process.slot = null
    record.fenced = true
    await this.#core.layer.ports.release(record)
  }

  /** W2: a turn that only waits is not waited for; it goes on at the restart, as after a crash. */
  async #stopProcess(process: Process): Promise<void> {
    const { kernel, clock, layer } = this.#core
    const { epoch } = process
    const stopped = kernel.stop(process, SHUTDOWN, STOP_WAIT_MS)
    const look = (): void => {
      if (!process.alive || process.epoch !== epoch) return
      if (layer.parking.outlasts(process, STOP_WAIT_MS)) kernel.end(process, SHUTDOWN)
      else clock.after(STOP_LOOK_MS, look).keepAlive(false)
    }
    look()
    await stopped
  }

  restart(id: ProcessId, act: Act): Promise<ActResult> {
    return this.#audited('restart', id, act, () => this.#restart(id, act))
  }

  async #restart(id: ProcessId, act: Act): Promise<Acted> {
    const stopper = this.#core.tree.stopper(id)
    if (stopper !== null && stopper !== id) throw stoppedError(id, stopper)
    const record = await this.#targets.stored(id, act)
    if (record !== null) return this.#revive(record)
    const process = this.#targets.known(id, act)
    this.#core.layer.book.act(id, 'restart', act)
    await this.#desire(process, 'running')
    const again = await renew(this.#core.kernel, process)
    return { process: again ?? process, outcome: 'restarted' }
  }

  /** A durable process that is stopped, passive or halted: it is started again. */
  async #revive(record: ProcessRecord): Promise<Acted> {
    await this.#targets.desire(record, 'running')
    return { process: await this.#targets.wake(record), outcome: 'started' }
  }

  suspend(id: ProcessId, act: Act): Promise<ActResult> {
    return this.#audited('suspend', id, act, async () => {
      const record = await this.#targets.stored(id, act)
      if (record?.desired === 'stopped') throw stoppedError(id)
      if (record !== null) {
        await this.#targets.desire(record, 'suspended')
        if ((await this.#targets.here(id)) === null) return { process: record, outcome: 'suspended' }
      }
      const process = await this.#targets.live(id, act)
      await this.#desire(process, 'suspended')
      this.#core.kernel.suspend(process, act.actor)
      return { process, outcome: process.busy ? 'suspended after the turn in hand' : 'suspended' }
    })
  }

  /** A stopped process is started again, as by a restart. */
  resume(id: ProcessId, act: Act): Promise<ActResult> {
    return this.#audited('resume', id, act, async () => {
      const record = await this.#targets.stored(id, act)
      if (record?.desired === 'stopped') return this.#revive(record)
      if (record !== null) {
        await this.#targets.desire(record, 'running')
        if ((await this.#targets.here(id)) === null) {
          await this.#targets.lookAtMail(id)
          return { process: record, outcome: 'resumed' }
        }
      }
      if (this.#targets.known(id, act).ties?.retired === true) return this.#restart(id, act)
      const process = await this.#targets.live(id, act)
      await this.#desire(process, 'running')
      this.#core.kernel.resume(process, act.actor)
      if (process.status === 'diverged') {
        // The turn replays again: the code may be right by now.
        this.#core.kernel.lifecycle.die(process, SHUTDOWN, 'free')
        const again = await renew(this.#core.kernel, process)
        return { process: again ?? process, outcome: 'replaying' }
      }
      return { process, outcome: 'resumed' }
    })
  }

  async send(id: ProcessId, op: string, args: unknown, act: Act): Promise<{ messageId: string }> {
    const sent = await this.#auditedRaw('send', id, act, async () => {
      this.#addressable(id, act)
      return this.#core.messenger.send(this.#callOf(id, op, args), { lineage: lineageOf(act) })
    })
    return { messageId: sent }
  }

  async call(id: ProcessId, op: string, args: unknown, act: Act & { timeoutMs?: number }): Promise<{ reply: Value }> {
    const reply = await this.#auditedRaw('call', id, act, async () => {
      this.#addressable(id, act)
      const call = this.#callOf(id, op, args)
      const timeoutMs = act.timeoutMs ?? CALL_TIMEOUT_MS
      if (act.idempotencyKey === undefined) {
        call.used = true
        return this.#core.messenger.route(null, call, { timeoutMs, lineage: lineageOf(act) })
      }
      const handle = await this.#core.messenger.begin(call, { idempotencyKey: act.idempotencyKey }, lineageOf(act))
      return this.#within(timeoutMs, id, op, (signal) => handle.result({ signal }))
    })
    return { reply }
  }

  async #within(ms: number, id: ProcessId, op: string, work: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    const abort = new AbortController()
    const late = Promise.withResolvers<never>()
    const timer = this.#core.clock.after(ms, () => {
      const error = new RuntimeError(
        'CALL_TIMEOUT',
        `Call ${op} of ${id} was not answered in ${ms} ms. It goes on; ask again with the same key.`,
      )
      abort.abort(error)
      late.reject(error)
    })
    try {
      return await Promise.race([work(abort.signal), late.promise])
    } finally {
      timer.cancel()
    }
  }

  editState(id: ProcessId, value: unknown, act: Act & { expectedVersion: number }): Promise<ActResult> {
    const { expectedVersion } = act
    return this.#audited('edit-state', id, act, () => this.#mender.edit(id, { value, expectedVersion }, act))
  }

  rewind(id: ProcessId, version: number, act: Act & { expectedVersion?: number }): Promise<ActResult> {
    return this.#audited('rewind', id, act, () => this.#mender.rewind(id, { ...act, version }, act))
  }

  skipMessage(id: ProcessId, act: Act & { message?: string }): Promise<ActResult> {
    return this.#audited('skip-message', id, act, () => this.#mender.skip(id, act.message, act))
  }

  retryTurn(id: ProcessId, act: Act & { step?: number; turn?: string }): Promise<ActResult> {
    return this.#audited('retry-turn', id, act, () => this.#mender.retry(id, act, act))
  }

  fork(id: ProcessId, act: Act & Fork): Promise<ActResult> {
    return this.#auditedRaw('fork', id, act, () => this.#sandboxes.fork(id, act, act))
  }

  answer(id: ProcessId, outcome: SandboxAnswer, act: Act & { step?: string }): Promise<ActResult> {
    return this.#audited('answer', id, act, () => this.#sandboxes.answer(id, outcome, act))
  }

  discard(id: ProcessId, act: Act): Promise<ActResult> {
    return this.#audited('discard', id, act, () => this.#sandboxes.discard(id, act))
  }

  dropMessage(id: ProcessId, messageId: string, act: Act): Promise<ActResult> {
    return this.#audited('drop-message', id, act, async () => {
      const process = await this.#targets.present(id, act)
      const record = recordOf(process)
      const envelope = process.mailbox?.take((item) => item.messageId === messageId)
      if (envelope === undefined) throw noMessage(id, messageId)
      if (record === null) envelope.reply?.reject(new RuntimeError('DEAD_LETTERED', `Dropped by ${act.actor}.`))
      else {
        const { ports } = this.#core.layer
        bury(ports, record, envelope, `dropped by ${act.actor}${act.reason === undefined ? '' : `: ${act.reason}`}`)
        await stored(ports, record, {}) // E1: in the same row, behind it
      }
      return { process, outcome: 'dropped' }
    })
  }

  redeliverMessage(id: ProcessId, messageId: string, act: Act): Promise<ActResult> {
    return this.#audited('redeliver-message', id, act, async () => {
      const process = await this.#targets.live(id, act)
      const envelope: Envelope | undefined = process.mailbox?.take((item) => item.messageId === messageId)
      if (envelope === undefined) throw noMessage(id, messageId)
      envelope.attempts = 0
      this.#core.kernel.post(process, envelope, { front: true })
      return { process, outcome: 'moved to the front' }
    })
  }

  /** Y1: what is elsewhere or in no memory is reached through the store. */
  cancel(id: ProcessId, messageId: string | null, act: Act): Promise<ActResult> {
    return this.#audited('cancel', id, act, async () => {
      const process = await this.#targets.owned(id, act)
      const { reason } = act
      const message = messageId ?? (await inHand(this.#core, id))
      await this.#core.messenger.cancel(id, message, {
        actor: act.actor,
        ...(reason === undefined ? {} : { reason }),
      })
      return { process, outcome: 'cancellation requested' }
    })
  }

  async redeliverDeadLetter(deadLetterId: string, act: Act): Promise<ActResult> {
    const { archive } = this.#core.backend.handle
    const letter = await archive.deadLetter(this.#core.namespace, deadLetterId)
    if (letter === null) throw new RuntimeError('NOT_FOUND', `There is no dead letter ${deadLetterId}.`)
    const id = letter.process
    await this.#auditedRaw('redeliver-dead-letter', id, act, async () => {
      if (!(await archive.markRedelivered(this.#core.namespace, deadLetterId))) {
        throw new RuntimeError('REQUEST_INVALID', `Dead letter ${deadLetterId} was redelivered before.`)
      }
      await this.#core.messenger.send(this.#callOf(id, letter.op, argsOf(letter.args)), { lineage: lineageOf(act) })
      return null
    })
    return { id, incarnation: this.#core.kernel.find(id)?.incarnation ?? 0, outcome: 'redelivered' }
  }

  completeStep(token: string, value: unknown, act: Act): Promise<ActResult> {
    return this.#settleStep('complete-step', token, { value }, act)
  }

  failStep(token: string, error: unknown, act: Act): Promise<ActResult> {
    return this.#settleStep('fail-step', token, { error }, act)
  }

  #settleStep(verb: string, token: string, outcome: StepOutcome, act: Act): Promise<ActResult> {
    const id = this.#steps.processOf(token)
    return this.#auditedRaw(verb, id, act, async () => {
      await this.#steps.settle(token, outcome, lineageOf(act))
      const done = 'value' in outcome ? 'completed' : 'failed'
      return { id, incarnation: this.#core.kernel.find(id)?.incarnation ?? 0, outcome: done }
    })
  }

  async importProcess(file: unknown, act: Act & { as?: ProcessId; replace?: boolean }): Promise<ActResult> {
    const read = readFile(file, act.as)
    const { id, body } = read
    return this.#auditedRaw('import', id, act, async () => {
      const outcome = await importFile(this.#core, read, act.replace === true)
      return { id, incarnation: body.process.incarnation, outcome }
    })
  }

  // Shared parts

  #callOf(id: ProcessId, op: string, args: unknown): Call<unknown> {
    const { agent, key } = splitId(id)
    return new Call<unknown>(this.#core.messenger, { id, agent, key }, op, args)
  }

  /** A live process, a static child, or an unseen key of a pool that this node knows.
   *  @throws PROCESS_NOT_FOUND INCARNATION_GONE */
  #addressable(id: ProcessId, act: Act): void {
    const process = this.#core.kernel.find(id)
    if (process !== undefined) {
      assertIncarnation(process, act)
      if (process.kind !== 'agent')
        throw new RuntimeError('OPERATION_UNKNOWN', `${id} is a ${process.kind}; it takes no messages.`)
      return
    }
    const { tree } = this.#core
    if (!tree.isStatic(id) && tree.poolOf(splitId(id).agent) === null) throw processNotFound(id)
  }

  async #desire(process: Process, desired: DesiredState): Promise<void> {
    if (process.durable || process.kind === 'supervisor') await this.#targets.desire(process, desired)
  }

  #audited(verb: string, id: ProcessId, act: Act, run: () => Promise<Acted>): Promise<ActResult> {
    return this.#auditedRaw(verb, id, act, async () => {
      const { process, outcome } = await run()
      return { id, incarnation: process.incarnation, outcome }
    })
  }

  async #auditedRaw<T>(verb: string, target: ProcessId, act: Act, run: () => Promise<T>): Promise<T> {
    try {
      refuseService(verb, target)
      const result = await run()
      await this.#write(verb, target, act, outcomeOf(result))
      this.#core.layer.ports.crash.hit('act:audited')
      return result
    } catch (error) {
      await this.#write(
        verb,
        target,
        act,
        isRuntimeError(error) ? `refused: ${error.code}` : `failed: ${String(error)}`,
      )
      throw error
    }
  }

  async #write(verb: string, target: ProcessId, act: Act, outcome: string): Promise<void> {
    const { actor } = act
    const reason = act.reason === undefined ? null : storable(act.reason)
    const { bus, clock, namespace, backend } = this.#core
    bus.emit({ kind: 'audit', at: clock.now(), actor, verb, target, reason, outcome })
    try {
      await backend.handle.archive.writeAudit(namespace, {
        actor,
        verb,
        target,
        reason,
        outcome: storable(outcome),
        detail: null,
      })
    } catch (error) {
      // The verb was carried out; an audit that could not be stored must be seen, not undo it.
      this.#core.complain(`storing the audit of ${verb} ${target}`, error)
    }
  }
}

function outcomeOf(result: unknown): string {
  if (typeof result === 'object' && result !== null && 'outcome' in result) return String(result.outcome)
  return 'done'
}

function lineageOf(act: Act): Lineage {
  return { ...NO_LINEAGE, actor: act.actor }
}

function argsOf(stored: unknown): unknown {
  return typeof stored === 'string' ? decode(stored) : stored
}

function noMessage(id: ProcessId, messageId: string): RuntimeError {
  return new RuntimeError(
    'NOT_FOUND',
    `No pending message ${messageId} in the mailbox of ${id}; it may be in hand or done.`,
  )
}
