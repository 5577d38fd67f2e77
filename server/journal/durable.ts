/**
 * The behaviour of durable agents: what the kernel calls to give birth to one, run a message, judge a crash, end it.
 *
 * - A process owns a record from its claim to its release; the record outlives incarnations (T9), not ownership.
 * - P1: a crash inside a message is charged to the message; at `maxAttempts` it becomes a dead letter. A crash outside
 *   a message is charged to the supervisor, as in OTP.
 * - T8: `upgrade` and `activated` run before other messages and never between a crash and the replay of an open turn;
 *   the base of an open turn is upgraded in memory (V2).
 * - Kill, crash and exit are stored before links, monitors and supervisors hear of them.
 */
import { errorData, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { copy } from '../../shared/value.ts'
import type { Behaviour, CrashVerdict, InitResult } from '../kernel/behaviour.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { type ExitReason, exitText } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import { type MessageRow, WAKE } from '../store/store.ts'
import type { Activated, Activator } from './activation.ts'
import { arm, disarm } from './arm.ts'
import { closeTurn } from './closed-turn.ts'
import { DurableContext } from './context.ts'
import { isControl, takeControl } from './control-row.ts'
import { bury } from './dead-letter.ts'
import type { Entry } from './entry.ts'
import { backoffMs, killFailure, newFailure } from './failure.ts'
import { finishTurn } from './finish.ts'
import { fold } from './fold.ts'
import { type Handler, handlerOf } from './handler.ts'
import { forgetBegun, rejectUnknown } from './held-row.ts'
import { keepPart, storePart } from './kept-part.ts'
import { consume, isAwaited, woken } from './late-reply.ts'
import { loadFailed } from './load-failure.ts'
import { answerHere, envelopeOf, rowOf } from './message.ts'
import { applyPatches, replaceAll } from './patch.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import { refuseStopped } from './receiver-stop.ts'
import { AHEAD_MAX, DurableRecord, type Settled } from './record.ts'
import { noteFailed } from './retried-turn.ts'
import { isBackingOut, owesRollback } from './rollback.ts'
import { SandboxTurn } from './sandbox-turn.ts'
import { storeExit } from './store-exit.ts'
import { isPoison, SUSPECTED_POISON, weighRecovery } from './suspicion.ts'
import { endBySignal, heardOf, judge, restoreTies, takeEnding } from './tie-signal.ts'
import { ACTIVATED_OP, Turn } from './turn.ts'
import { reportTurn } from './turn-report.ts'
import { NEVER, runHandler } from './turn-run.ts'
import { upgradeState } from './upgrade.ts'
import { mayBegin } from './withdrawal.ts'

export class DurableBehaviour implements Behaviour {
  readonly durable = true
  readonly agent: AgentEntry
  readonly #ports: DurablePorts
  readonly #activator: Activator

  constructor(ports: DurablePorts, agent: AgentEntry, activator: Activator) {
    this.#ports = ports
    this.agent = agent
    this.#activator = activator
  }

  init(process: Process): InitResult | Promise<InitResult> {
    const record = recordOf(process)
    process.elsewhere = false
    if (record !== null && !record.fenced) {
      this.#prepare(process, record)
      return
    }
    return this.#activate(process)
  }

  async #activate(process: Process): Promise<InitResult> {
    const startedAt = this.#ports.clock.monotonic()
    this.#ports.copies.delete(process)
    await this.#ports.released(process.id)
    let activated = await this.#claim(process, this.#ports.isHinted(process) ? 'mail' : true)
    // Something came here while it was looked for: a message of somebody's, or word of another row.
    while (activated.kind === 'absent' && process.mailboxLength > 0) {
      activated = await this.#claim(process, isAsked(process) ? true : 'mail')
    }
    if (activated.kind !== 'loaded') return this.#elsewhere(process, activated)
    const { record: row } = activated.outcome
    if (row.desired === 'stopped') return refuseStopped(this.#ports, process, activated)
    process.incarnation = Math.max(process.incarnation, row.incarnation)
    process.stats.restarts = Math.max(process.stats.restarts, row.restarts)
    process.trapExit = row.trapExit
    let record: DurableRecord
    try {
      record = this.#build(process, activated)
    } catch (error) {
      return loadFailed(this.#ports, process, activated, error)
    }
    record.trapExit = row.trapExit
    record.sandbox = row.sandbox
    if (row.sandbox !== null) this.#ports.copies.set(process, row.sandbox)
    record.branch = row.branch
    process.slot = record
    this.#fillMailbox(process, record, activated)
    restoreTies(this.#ports.kernel, record)
    // Whoever made the ties, or the owner that ended, may have died before it looked.
    if (record.ties !== null || activated.outcome.recovered) this.#ports.sweep(process.id)
    this.#ports.revived(record)
    this.#prepare(process, record)
    record.diverged = row.diverged
    const weighed = weighRecovery(this.#ports, record, activated.outcome.recovered)
    if (weighed !== undefined) await weighed
    if (row.desired === 'suspended') this.#ports.kernel.suspend(process, 'stored')
    this.#emitActivated(process, record, startedAt)
  }

  /** @param create  `mail` for one that is started for rows that wait: they may be gone by now, and it with them */
  #claim(process: Process, create: true | 'mail'): Promise<Activated> {
    const { code } = this.agent
    return this.#activator.activate({
      id: process.id,
      agent: code.name,
      key: process.key ?? '',
      kind: 'agent',
      parent: process.parent?.id ?? null,
      stateVersion: code.version,
      create,
      recreate: true,
      // The kernel's process is the single flight: what this node holds and does not run, it holds by a lost answer.
      mine: true,
    })
  }

  /** Another node owns it, or this code cannot run it. Messages that wait are handed on or refused. */
  #elsewhere(process: Process, activated: Exclude<Activated, { kind: 'loaded' }>): InitResult {
    if (activated.kind === 'owned') {
      process.elsewhere = true
      const waiting = process.mailbox?.drain() ?? []
      for (const envelope of waiting) {
        // What is stored already must not be stored twice: its owner was told to look, and has hooks of its own.
        if (rowOf(envelope) === null && envelope.op !== ACTIVATED_OP) this.#ports.forward(activated.record, envelope)
      }
      // Rows that are stored already: their owner must look.
      this.#ports.hintOwner(activated.record)
      return 'ignore'
    }
    // Nobody waits for it and nobody knows it: it was discarded while it was on its way here.
    if (activated.kind === 'absent') {
      process.elsewhere = true
      return 'ignore'
    }
    if (activated.kind === 'unsupported') {
      throw unsupported(process.id, activated.record.stateVersion, this.agent.code.version)
    }
    throw new RuntimeError('PROCESS_EXITED', `${process.id} was stopped by an operator. Restart it to use it again.`)
  }

  #build(process: Process, { outcome, loaded }: Extract<Activated, { kind: 'loaded' }>): DurableRecord {
    const folded = fold(loaded, loaded.mailbox)
    const fresh = folded.state === undefined ? copy(this.agent.code.init()) : undefined
    const state = folded.state ?? fresh ?? null
    const record = new DurableRecord({
      id: process.id,
      pid: outcome.record.pid,
      claim: outcome.claim,
      process,
      seq: outcome.seq,
      state,
      stateVersion: folded.state === undefined ? this.agent.code.version : folded.stateVersion,
      at: folded.at,
    })
    record.fresh = fresh
    record.open = folded.open
    record.patchBytes = folded.patchBytes
    record.snapshotBytes = folded.snapshotBytes
    record.loaded = new Set(loaded.mailbox.map((row) => row.ord))
    record.loads = this.#activator.count
    if (outcome.seq > 0) record.caughtUp = new Set()
    if (loaded.links.length > 0 || loaded.names.length > 0) record.tie().load(loaded)
    for (const timer of loaded.timers) arm(record, timer.name, timer.arm)
    for (const { id, timer } of loaded.mailbox) {
      if (timer !== null && id !== record.open?.turn) arm(record, timer.name, timer.arm)
    }
    this.#upgrade(record, outcome.record.stateVersion)
    return record
  }

  /** Brings the stored state to this code's version; the result is stored as an entry of its own, and with it the
   *  version in the row of the process (`known`), by which older code is refused (V1). */
  #upgrade(record: DurableRecord, known: number): void {
    const { code, definition } = this.agent
    if (record.stateVersion > code.version) throw unsupported(record.id, record.stateVersion, code.version)
    const patch = { stateVersion: code.version }
    if (record.stateVersion === code.version) {
      if (known > 0 && known < code.version) keepPart(this.#ports, record, { patch })
      return
    }
    const from = record.stateVersion
    const patches = replaceAll(upgradeState(definition, record.acked, from))
    const { open } = record
    const base = open === null ? null : copy(upgradeState(definition, open.base, from))
    const entry = { k: 'upgrade' as const, from, to: code.version, patches }
    record.stateVersion = code.version
    if (open === null) return this.#appendHook(record, entry)
    record.open = { ...open, base }
    this.#appendHook(record, open.base === record.acked ? entry : { ...entry, base })
  }

  #appendHook(record: DurableRecord, entry: Extract<Entry, { k: 'upgrade' }>): void {
    const state = applyPatches(record.live, entry.patches)
    const { crash } = this.#ports
    crash.hit('upgrade:made')
    const settle = ({ kind }: Settled): void => {
      if (kind === 'stored') crash.hit('upgrade:stored')
    }
    keepPart(this.#ports, record, { entries: [entry], state, patch: { stateVersion: entry.to }, settle })
  }

  /** Stored messages come before those that arrived while the process was starting. */
  #fillMailbox(process: Process, record: DurableRecord, { loaded }: Extract<Activated, { kind: 'loaded' }>): void {
    const early = process.mailbox?.drain() ?? []
    const box = process.box()
    const control: MessageRow[] = []
    for (const row of loaded.mailbox) {
      if (row.kind === 'reply') this.#keepReply(record, row)
      else if (isControl(row)) control.push(row)
      else if (row.op === WAKE) woken(this.#ports, record, row)
      else if (record.open?.taken?.has(row.id) === true) disarm(record, row)
      else if (row.id !== record.open?.turn) box.push(envelopeOf(row))
    }
    let unsure = false
    for (const envelope of early) {
      const row = rowOf(envelope)
      const known = row !== null && record.loaded?.delete(row.ord) === true
      if (known || (envelope.messageId !== null && envelope.messageId === record.open?.turn)) {
        if (envelope.reply !== null) answerHere(record.open, box, envelope)
        continue
      }
      if (row === null) box.push(envelope)
      else unsure = true
    }
    if (record.open !== null) box.unshift(record.open.envelope)
    for (const row of control) takeControl(this.#ports, record, row)
    // Younger than the load, or handled by an owner before it: the store knows.
    if (unsure) this.#ports.reread(process.id)
  }

  /** For the open turn when it asks again; an answer that came too late is only consumed. */
  #keepReply(record: DurableRecord, row: MessageRow): void {
    if (isAwaited(record, row)) record.replies.set(row.op, row)
    else consume(this.#ports, record, row)
  }

  /** Order of what runs first: the open turn, then the hook, then messages. */
  #prepare(process: Process, record: DurableRecord): void {
    record.process = process
    record.turn = null
    const { code } = this.agent
    record.hooked = code.activated === null
    if (code.activated === null) return
    const box = process.box()
    const first = record.open === null ? undefined : box.shift()
    box.take((envelope) => envelope.op === ACTIVATED_OP) // of an incarnation that did not come to it
    box.unshift(hookEnvelope(this.#ports))
    if (first !== undefined) box.unshift(first)
  }

  #emitActivated(process: Process, record: DurableRecord, startedAt: number): void {
    const { emit, clock } = this.#ports
    const { id, incarnation } = process
    const durationMs = clock.monotonic() - startedAt
    emit({ kind: 'process:activate', at: clock.now(), id, incarnation, durationMs, seq: record.seq })
  }

  turn(process: Process, envelope: Envelope): void | Promise<void> {
    const record = recordOf(process)
    if (record === null) throw new RuntimeError('INTERNAL', `${process.id} runs without its record.`)
    if (record.ahead >= AHEAD_MAX) {
      const { epoch } = process
      return new Promise<void>((resolve) => {
        record.roomFor = resolve
      }).then(() => (process.epoch === epoch ? this.#run(process, record, envelope) : NEVER))
    }
    return this.#run(process, record, envelope)
  }

  #run(process: Process, record: DurableRecord, envelope: Envelope): void | Promise<void> {
    const row = rowOf(envelope)
    if (row?.timer != null && record.open?.turn !== row.id && !disarm(record, row)) {
      return dropFired(this.#ports, record, row.timer)
    }
    if (envelope.kind === 'call' && !mayBegin(this.#ports, record, envelope)) return
    const { maxAttempts } = this.agent.definition
    const usedUp = envelope.op !== ACTIVATED_OP && envelope.attempts >= maxAttempts
    if (usedUp && !isBackingOut(record.open, envelope, maxAttempts)) {
      return bury(this.#ports, record, envelope, `failed ${envelope.attempts} attempts`)
    }
    if (isPoison(record, envelope)) return bury(this.#ports, record, envelope, SUSPECTED_POISON)
    const ending = record.open === null ? null : takeEnding(record)
    if (ending !== null) return endBySignal(this.#ports.kernel, record, ending)
    if (envelope.kind === 'exit' || envelope.kind === 'down') {
      const verdict = judge(record, envelope)
      if (verdict === 'drop') return this.#drop(record, envelope)
      if (verdict === 'end') return endBySignal(this.#ports.kernel, record, envelope)
    }
    const handler = handlerOf(this.agent, envelope)
    if (handler === null) return this.#unknown(process, record, envelope)
    return this.#handle(process, record, envelope, handler)
  }

  #handle(process: Process, record: DurableRecord, envelope: Envelope, handler: Handler): void | Promise<void> {
    const Kind = record.sandbox === null ? Turn : SandboxTurn
    const turn = new Kind(this.#ports, this.agent, process, record, envelope)
    record.turn = turn
    return reportTurn(turn, () => this.#ports.suspects.run(turn, () => runHandler(turn, handler)))
  }

  /** Stored before the code lost the operation, or a signal nobody handles. */
  #unknown(process: Process, record: DurableRecord, envelope: Envelope): void {
    process.stats.dropped += 1
    if (envelope.kind === 'exit' || envelope.kind === 'down') return this.#drop(record, envelope)
    bury(this.#ports, record, envelope, `agent ${this.agent.code.name} has no operation "${envelope.op}"`)
  }

  /** Consumes a message without a turn. */
  #drop(record: DurableRecord, envelope: Envelope): void {
    const row = rowOf(envelope)
    if (row !== null) return consume(this.#ports, record, row)
    const heard = heardOf(record, envelope)
    if (heard === null) return
    record.tie().stored([heard], envelope.at)
    keepPart(this.#ports, record, { links: [heard] })
  }

  terminate(process: Process, reason: ExitReason): void | Promise<void> {
    const { terminate } = this.agent.code
    const record = recordOf(process)
    // A sandbox would stop in it, and nobody waits for what ends.
    if (terminate === null || record === null || record.sandbox !== null) return
    const turn = new Turn(this.#ports, this.agent, process, record, hookEnvelope(this.#ports))
    return Promise.resolve(terminate(new DurableContext(turn), reason)).then(() => {
      finishTurn(turn, 'done', { ok: null }, turn.takePatches())
    })
  }

  crashed(process: Process, error: unknown, envelope: Envelope | null): CrashVerdict {
    const record = recordOf(process)
    if (record === null) return { charge: 'intensity', delayMs: 0, redeliver: false }
    closeTurn(record, error)
    const id = this.#ports.newId()
    if (envelope === null || envelope.op === ACTIVATED_OP) {
      record.failure = newFailure({ id, process, error, envelope, attempt: 1, decision: 'restart' })
      return { charge: 'intensity', delayMs: 0, redeliver: false }
    }
    const attempt = envelope.attempts + 1
    const { maxAttempts } = this.agent.definition
    const dead = attempt >= maxAttempts && !owesRollback(record.open, envelope, maxAttempts)
    record.failure = newFailure({ id, process, error, envelope, attempt, decision: dead ? 'dead-letter' : 'retry' })
    if (dead) {
      envelope.attempts = attempt
      bury(this.#ports, record, envelope, exitText({ kind: 'crash', error: errorData(error) }), id)
    } else this.#attempted(record, envelope, attempt, id)
    return { charge: 'message', delayMs: backoffMs(attempt), redeliver: !dead }
  }

  #attempted(record: DurableRecord, envelope: Envelope, attempt: number, failure: string): void {
    const row = rowOf(envelope)
    const turn = record.open?.turn ?? null
    const entry = { k: 'failed' as const, turn, attempt, failure, decision: 'retry' as const }
    const { open } = record
    if (open !== null) noteFailed(open, entry)
    keepPart(this.#ports, record, {
      entries: [entry],
      turn: envelope.messageId,
      lineage: envelope.lineage,
      ...(row === null ? {} : { attempted: [{ ref: { target: row.target, ord: row.ord }, attempts: attempt }] }),
      settle: (outcome) => {
        if (outcome.kind === 'stored' && open !== null) open.stored += 1
      },
    })
  }

  exited(process: Process, reason: ExitReason): void | Promise<void> {
    const record = recordOf(process)
    if (record === null) return
    const envelope = record.turn?.envelope ?? null
    const failure = record.failure ?? killFailure({ id: this.#ports.newId(), process, reason, envelope })
    record.failure = null
    closeTurn(record, new RuntimeError('PROCESS_EXITED', `${process.id} ended: ${exitText(reason)}`))
    if (reason.kind === 'fenced') {
      // The message in hand is in no mailbox any more.
      if (envelope !== null) rejectUnknown(envelope, record)
      forgetBegun(process, record, envelope)
      process.slot = null
      return
    }
    const restarts = !record.stopped && (process.parent?.supervisor?.wouldRestart(process, reason) ?? false)
    if (this.#ports.draining()) {
      // It goes on elsewhere: what began here is not for the next incarnation, should one still begin here.
      forgetBegun(process, record, envelope)
      return this.#settled(record).then(() => this.#release(process, record))
    }
    if (restarts) process.status = 'restarting' // the store may take a while; those who look on are told what comes
    const last = record.stopped || (process.parent?.supervisor?.endsForGood(process, reason) ?? false)
    const stored = storeExit(this.#ports, record, { reason, restarts, last, failure })
    return restarts ? stored : stored.then(() => this.#release(process, record))
  }

  /** Resolves when everything the record holds is stored. */
  #settled(record: DurableRecord): Promise<void> {
    return record.pending ? storePart(this.#ports, record, {}) : Promise.resolve()
  }

  async #release(process: Process, record: DurableRecord): Promise<void> {
    if (process.slot === record) process.slot = null
    if (record.fenced) return
    record.fenced = true // nothing of it may be written after the claim is given back
    await this.#ports.release(record)
  }
}

export function recordOf(process: Process): DurableRecord | null {
  return process.slot instanceof DurableRecord ? process.slot : null
}

/** Whether a message came here by itself. Rows are forgotten: where they still are, the next load finds them. */
function isAsked({ mailbox }: Process): boolean {
  const own = mailbox?.drain().filter((envelope) => rowOf(envelope) === null) ?? []
  for (const envelope of own) mailbox?.push(envelope)
  return own.length > 0
}

function unsupported(id: ProcessId, stateVersion: number, known: number): RuntimeError {
  const text = `${id} is stored with state version ${stateVersion}; this code knows up to ${known}.`
  return new RuntimeError('VERSION_UNSUPPORTED', text)
}

/** It was disarmed: its row is gone already, unless the commit that disarmed it was refused. */
function dropFired(ports: DurablePorts, record: DurableRecord, timer: { name: string; arm: number }): void {
  keepPart(ports, record, { cancelTimers: [timer] })
}

function hookEnvelope(ports: DurablePorts): Envelope {
  return {
    kind: 'timer',
    op: ACTIVATED_OP,
    args: null,
    from: null,
    reply: null,
    lineage: { cause: null, root: null, traceparent: null, actor: null, chain: [] },
    at: ports.clock.now(),
    deadline: null,
    attempts: 0,
    messageId: null,
    row: null,
  }
}
