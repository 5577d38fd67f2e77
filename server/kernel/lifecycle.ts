/**
 * Birth, turns and death of processes: the state machine of an incarnation.
 *
 * - K1: an incarnation ends exactly once; the first fatal reason is the one everybody sees.
 * - K2: one turn at a time, in order of arrival; what belongs to an earlier epoch is ignored.
 * - K3: death releases names and memberships first, then lets the behaviour store the exit, then tells links and
 *   monitors, then the supervisor. Nobody learns of a death while its name is still taken.
 * - K4: init is acknowledged: messages sent meanwhile wait, and a failed init leaves nothing behind.
 * - K5: `terminate` runs between turns and never after a kill or a crash.
 * Between two awaits everything here is synchronous. User code runs only inside `around`.
 */
import { errorData, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { PLAIN_CRASH, type SpawnSpec } from './behaviour.ts'
import type { Envelope } from './envelope.ts'
import { crash, type ExitReason, exitText, KILLED, NORMAL } from './exit.ts'
import { alreadyStarted, ExitUnwind, type InHand, TimerTicket, unanswered } from './outcome.ts'
import type { KernelPorts } from './port.ts'
import { type CrashVerdict, type InitResult, Process } from './process.ts'
import { Reporter } from './reporter.ts'
import { RunQueue, SLICE_MESSAGES_MAX } from './run-queue.ts'
import { Signals } from './signal.ts'
import { Stats } from './stats.ts'

/** Ids. Whoever acts on a process that ended this many births ago does not hit its heir. */
const ENDED_MAX = 10_000

export class Lifecycle {
  readonly processes = new Map<ProcessId, Process>()
  readonly signals: Signals
  readonly queue: RunQueue
  /** Raised at each birth, death and move in the tree. */
  treeVersion = 0
  /** Messages to processes that were dead. */
  dropped = 0
  /** All of it ends, in order: whom it leaves without an answer hears that (K20). */
  ending = false
  readonly #ports: KernelPorts
  readonly #report: Reporter
  /** Last incarnation of ids that were forgotten, oldest first. */
  readonly #ended = new Map<ProcessId, number>()
  /** Of the slice that runs now: turn events are wanted; turns share the context entered for the slice. */
  #watched = false
  #shared = false
  readonly #runMessages = (process: Process, _none: null): number => this.#run(process)

  constructor(ports: KernelPorts, onReading: (monotonic: number) => void) {
    this.#ports = ports
    this.#report = new Reporter(ports)
    this.queue = new RunQueue(ports.clock, (process) => this.#slice(process), onReading)
    this.signals = new Signals({
      die: (process, reason, viaLink) => this.die(process, reason, viaLink ? 'free' : 'attempt'),
      requestStop: (process, reason) => this.requestStop(process, reason, 0),
      post: (process, envelope) => this.post(process, envelope),
      now: () => ports.clock.now(),
    })
  }

  // Birth

  /** @throws CHILD_ALREADY_STARTED CHILD_START_FAILED (when init is synchronous) */
  spawn(spec: SpawnSpec): Process {
    let process = this.processes.get(spec.id)
    if (process === undefined) {
      process = new Process(spec, spec.parent, new Stats(this.#ports.clock.now()))
      process.incarnation = spec.incarnation ?? (this.#ended.get(spec.id) ?? 0) + 1
      this.processes.set(spec.id, process)
    } else {
      if (!process.gone) throw alreadyStarted(spec)
      process.behaviour = spec.behaviour
      process.parent = spec.parent
      process.incarnation = spec.incarnation ?? process.incarnation + 1
      process.stats.restarts += 1
      process.stats.since = process.stats.startedAt = this.#ports.clock.now()
      process.exit = process.wait = null
      process.gone = false
      if (process.ties !== null) process.ties.retired = false
    }
    process.alive = true
    process.status = 'starting'
    process.trapExit = spec.trapExit ?? false
    this.treeVersion += 1
    if (spec.parent !== null && spec.parent.supervisor === null) adopt(spec.parent, process)
    if (spec.link !== undefined) this.signals.link(process, spec.link)
    if (spec.monitor !== undefined) this.signals.monitor(spec.monitor, process)
    this.#init(process, spec)
    return process
  }

  #init(process: Process, spec: SpawnSpec): void {
    process.busy = true
    let result: InitResult | Promise<InitResult>
    try {
      const { behaviour } = process
      result = behaviour.plainInit === true ? behaviour.init(process) : this.#ports.around(process, null, INIT)
    } catch (error) {
      throw this.#startFailed(process, error)
    }
    if (result instanceof Promise) return this.#initLater(process, result, spec.startTimeoutMs)
    if (result === 'ignore') throw this.#ignored(process)
    this.#up(process)
  }

  #initLater(process: Process, result: Promise<InitResult>, timeoutMs: number | undefined): void {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => {}) // whoever asked through started() hears of it; a start nobody waits for must not crash
    const starting = {
      promise,
      resolve,
      reject,
      timer: null as null | { cancel(): void; keepAlive(on: boolean): void },
    }
    process.tie().starting = starting
    const epoch = process.epoch
    if (timeoutMs !== undefined) {
      starting.timer = this.#ports.clock.after(timeoutMs, () => {
        if (process.epoch !== epoch) return
        this.#failStart(process, new RuntimeError('CALL_TIMEOUT', `Init took longer than ${timeoutMs} ms.`), KILLED)
      })
    }
    result.then(
      (value) => {
        if (process.epoch !== epoch) return
        if (value === 'ignore') return this.#endStart(process, () => this.#ignored(process))
        this.#up(process)
        this.#endStart(process, null)
      },
      (error: unknown) => {
        if (process.epoch === epoch) this.#failStart(process, error, null)
      },
    )
  }

  #failStart(process: Process, error: unknown, reason: ExitReason | null): void {
    this.#endStart(process, () => this.#startFailed(process, error, reason))
  }

  /** The start is taken off before `failure` ends the process: its death would say no more than that it ended. */
  #endStart(process: Process, failure: (() => Error) | null): void {
    const starting = process.ties?.starting ?? null
    if (process.ties !== null) process.ties.starting = null
    starting?.timer?.cancel()
    const error = failure?.()
    if (error === undefined) starting?.resolve()
    else starting?.reject(error)
  }

  #up(process: Process): void {
    process.busy = false
    process.status = 'idle'
    this.#report.started(process)
    if (process.ties?.stop != null && process.ties.stop.behind === 0) this.#stop(process)
    else this.ready(process)
  }

  #startFailed(process: Process, error: unknown, reason: ExitReason | null = null): RuntimeError {
    const why = reason ?? (error instanceof ExitUnwind ? error.reason : crash(errorData(error)))
    if (process.alive) this.die(process, why, 'free')
    return new RuntimeError('CHILD_START_FAILED', `${process.id} did not start: ${exitText(why)}`, {
      cause: error,
      detail: { id: process.id, reason: why },
    })
  }

  #ignored(process: Process): RuntimeError {
    this.die(process, NORMAL, 'free')
    return new RuntimeError('CHILD_START_FAILED', `${process.id} chose not to start.`, { detail: { ignore: true } })
  }

  // Turns

  /** Puts a message into the mailbox of a process, whatever its limit. */
  post(process: Process, envelope: Envelope, front = false): void {
    if (!process.alive && !process.durable) return this.refuse(process, envelope)
    if (front) process.box().unshift(envelope)
    else process.box().push(envelope)
    if (process.busy) process.ties?.arrived?.()
    else if (process.alive) this.ready(process)
  }

  ready(process: Process): void {
    if (process.queued || process.busy || !process.alive) return
    if (process.suspended && process.ties?.stop == null) return
    if (process.mailboxLength > 0 || process.ties?.stop != null) this.queue.push(process)
  }

  #slice(process: Process): number {
    process.supervisor?.pump()
    if (process.busy || !process.alive) return 0
    this.#watched = !process.durable && this.#ports.watching('turn:stop')
    this.#shared = !process.durable && !this.#watched && !this.#ports.tracing()
    // The context of the process is entered once for all its turns; a turn that is traced gets its own (#turn).
    return this.#shared ? this.#ports.around(process, null, this.#runMessages) : this.#run(process)
  }

  #run(process: Process): number {
    let handled = 0
    while (handled < SLICE_MESSAGES_MAX) {
      if (process.ties !== null && this.#stopDue(process)) return handled
      if (process.suspended) return handled
      const envelope = process.mailbox?.shift()
      if (envelope === undefined) return handled
      handled += 1
      if (!this.#turn(process, envelope)) return handled
    }
    this.ready(process)
    return handled
  }

  /** False when the process cannot take another message now. */
  #turn(process: Process, envelope: Envelope): boolean {
    if (envelope.kind === 'timer' && envelope.row instanceof TimerTicket && !envelope.row.take(process)) return true
    const { epoch, behaviour } = process
    process.current = envelope
    process.busy = true
    const watched = this.#watched
    const startedAt = watched ? this.#report.turnStarted(process, envelope) : 0
    try {
      const shared = this.#shared && envelope.lineage.traceparent === null
      const result = shared ? behaviour.turn(process, envelope) : this.#ports.around(process, envelope, TURN)
      if (result instanceof Promise) {
        this.#turnLater(process, epoch, watched, startedAt, result)
        return false
      }
    } catch (error) {
      if (watched) this.#report.turnStopped(process, envelope, startedAt, 'failed')
      if (process.epoch === epoch) this.#turnFailed(process, error)
      return false
    }
    if (watched) this.#report.turnStopped(process, envelope, startedAt, 'done')
    if (process.epoch !== epoch) return false
    process.current = null
    process.busy = false
    process.stats.turns += 1
    return true
  }

  #turnLater(process: Process, epoch: number, watched: boolean, startedAt: number, result: Promise<void>): void {
    const envelope = process.current
    process.status = 'running'
    process.stats.since = this.#ports.clock.now()
    result.then(
      () => {
        if (watched && envelope !== null) this.#report.turnStopped(process, envelope, startedAt, 'done')
        if (process.epoch !== epoch) return
        process.current = null
        process.busy = false
        process.wait = null
        process.status = 'idle'
        process.stats.turns += 1
        process.stats.since = this.#ports.clock.now()
        if (process.ties === null || !this.#stopDue(process)) this.ready(process)
      },
      (error: unknown) => {
        if (watched && envelope !== null) this.#report.turnStopped(process, envelope, startedAt, 'failed')
        if (process.epoch === epoch) this.#turnFailed(process, error)
      },
    )
  }

  #turnFailed(process: Process, error: unknown): void {
    if (error instanceof ExitUnwind) {
      process.busy = false
      process.stats.turns += 1
      process.tie().stop = { reason: error.reason, behind: 0, begun: false }
      this.#stop(process)
      return
    }
    this.crash(process, error)
  }

  /** Ends the incarnation because of an error of its own. */
  crash(process: Process, error: unknown): void {
    if (!process.alive) return
    if (process.ties?.starting != null) return this.#failStart(process, error, null)
    const envelope = process.current
    const verdict = this.#judge(process, error, envelope)
    process.tie().verdict = verdict
    this.die(process, crash(errorData(error)), verdict.redeliver ? 'attempt' : 'leave')
  }

  #judge(process: Process, error: unknown, envelope: Envelope | null): CrashVerdict {
    try {
      return process.behaviour.crashed?.(process, error, envelope) ?? PLAIN_CRASH
    } catch (judging) {
      this.#report.complain(process, 'judging a crash failed', judging)
      return PLAIN_CRASH
    }
  }

  // Stop

  /** Asks for a graceful end at the next boundary between turns, `behind` more messages later. */
  requestStop(process: Process, reason: ExitReason, behind: number): void {
    if (!process.alive) return
    const tie = process.tie()
    if (tie.stop !== null) {
      if (!tie.stop.begun) tie.stop.behind = Math.min(tie.stop.behind, behind)
      return
    }
    tie.stop = { reason, behind, begun: false }
    if (process.busy) return
    if (behind === 0 || process.suspended) this.#stop(process)
    else this.ready(process)
  }

  #stopDue(process: Process): boolean {
    const stop = process.ties?.stop
    if (stop == null) return false
    if (stop.behind > 0 && process.mailboxLength > 0 && !process.suspended) {
      stop.behind -= 1
      return false
    }
    this.#stop(process)
    return true
  }

  #stop(process: Process): void {
    const stop = process.ties?.stop
    if (stop == null || stop.begun || !process.alive) return
    stop.begun = true
    const { reason } = stop
    if (process.behaviour.terminate === undefined) return this.die(process, reason, 'free')
    const epoch = process.epoch
    process.busy = true
    try {
      const result = this.#ports.around(process, null, TERMINATE)
      if (!(result instanceof Promise)) {
        if (process.epoch === epoch) this.die(process, reason, 'free')
        return
      }
      process.status = 'running'
      result.then(
        () => process.epoch === epoch && this.die(process, reason, 'free'),
        (error: unknown) => process.epoch === epoch && this.die(process, crash(errorData(error)), 'free'),
      )
    } catch (error) {
      // An exception in terminate replaces the exit reason.
      if (process.epoch === epoch) this.die(process, crash(errorData(error)), 'free')
    }
  }

  // Death

  /** Ends the incarnation now. What it still runs finds its epoch stale. */
  die(process: Process, reason: ExitReason, inHand: InHand): void {
    if (!process.alive) return
    process.alive = false
    process.busy = false
    process.epoch += 1
    process.exit = reason
    process.lastExit = { reason, at: this.#ports.clock.now() }
    process.ctx = undefined
    const wasStarting = process.status === 'starting'
    process.status = 'exited'
    if (reason.kind === 'crash' || reason.kind === 'killed') process.stats.failures += 1
    this.treeVersion += 1
    this.#release(process)
    this.#settleMessages(process, reason, inHand)
    const stored = this.#store(process, reason)
    // Only now: the record of the end says since when it did or waited for what.
    process.wait = null
    process.stats.since = process.lastExit.at
    if (stored instanceof Promise) stored.then(() => this.#dead(process, reason, wasStarting))
    else this.#dead(process, reason, wasStarting)
  }

  #release(process: Process): void {
    const ties = process.ties
    if (ties === null || ties.holdings === null) return
    const holdings = ties.holdings
    ties.holdings = null
    for (const holding of holdings) holding.release(process)
  }

  #settleMessages(process: Process, reason: ExitReason, inHand: InHand): void {
    const current = process.current
    process.current = null
    if (process.durable) {
      if (current === null || inHand === 'leave') return
      if (inHand === 'attempt') current.attempts += 1
      process.box().unshift(current)
      return
    }
    process.state = undefined
    if (current === null && process.ties === null && process.mailbox === null) return
    const error = unanswered(process, reason, current?.op ?? null, this.ending)
    current?.reply?.reject(error)
    const deferred = process.ties?.deferred
    if (process.ties !== null) process.ties.deferred = null
    if (deferred != null) for (const reply of deferred) reply.reject(error)
    this.abandon(process)
  }

  /** Fails or drops whatever waits in the mailbox of a process that will not take it any more. */
  abandon(process: Process): void {
    if (process.mailbox === null) return
    for (const envelope of process.mailbox.drain()) this.refuse(process, envelope)
    process.mailbox = null
  }

  /** A message for a process that is dead: a call fails, a send is dropped silently and counted. */
  refuse(process: Process, { reply, op }: Envelope): void {
    if (reply !== null) return reply.reject(unanswered(process, process.exit ?? KILLED, op, this.ending))
    process.stats.dropped += 1
    this.dropped += 1
  }

  #store(process: Process, reason: ExitReason): void | Promise<void> {
    if (process.behaviour.exited === undefined) return
    try {
      const stored = process.behaviour.exited(process, reason)
      return stored instanceof Promise
        ? stored.catch((error: unknown) => this.#report.complain(process, 'storing an exit failed', error))
        : stored
    } catch (error) {
      this.#report.complain(process, 'storing an exit failed', error)
    }
  }

  #dead(process: Process, reason: ExitReason, wasStarting: boolean): void {
    process.gone = true
    process.status = 'exited'
    const parent = process.parent
    const overseer = parent?.supervisor ?? null
    const verdict = process.ties?.verdict ?? null
    this.#report.exit(process, reason, !wasStarting && (overseer?.wouldRestart(process, reason) ?? false))
    this.signals.announce(process, reason)
    const children = process.ties?.children ?? null
    const waiters = process.ties?.waiters ?? null
    if (process.ties !== null) {
      process.ties.children = null
      process.ties.waiters = null
      process.ties.verdict = null
      process.ties.stop = null
    }
    if (children !== null) for (const child of children) child.parent = null
    if (process.supervisor !== null) this.#orphan(process, reason)
    if (wasStarting && process.ties?.starting != null) {
      const text = `${process.id} ended while starting.`
      this.#endStart(process, () => new RuntimeError('CHILD_START_FAILED', text))
    }
    if (waiters !== null) for (const waiter of waiters) waiter(reason)
    if (overseer !== null) {
      if (!wasStarting) overseer.childExited(process, reason, verdict)
    } else if (parent !== null) {
      parent.ties?.children?.delete(process)
      this.forget(process)
    } else if (process.supervisor === null) this.forget(process)
  }

  /** A supervisor is linked to its children: those it left behind hear of its end as of a parent's. */
  #orphan(process: Process, reason: ExitReason): void {
    for (const child of [...(process.supervisor?.processes() ?? [])]) {
      if (!child.alive) continue
      if (child.trapExit || child.supervisor !== null) this.requestStop(child, reason, 0)
      else this.die(child, reason, 'free')
    }
  }

  /** Takes a dead process out of the table; its id is unknown from now on. */
  forget(process: Process): void {
    if (!process.gone || this.processes.get(process.id) !== process) return
    this.abandon(process)
    this.processes.delete(process.id)
    this.#remember(process)
    if (process.supervisor !== null) for (const child of process.supervisor.processes()) this.forget(child)
    this.treeVersion += 1
  }

  /** K6: an id that is used again goes on counting. Durable ids are counted in the store, those of tasks are unique. */
  #remember(process: Process): void {
    if (process.durable || process.kind === 'task') return
    this.#ended.delete(process.id)
    this.#ended.set(process.id, process.incarnation)
    if (this.#ended.size <= ENDED_MAX) return
    const [oldest] = this.#ended.keys()
    if (oldest !== undefined) this.#ended.delete(oldest)
  }

  /** Resolves with the reason of the death of this incarnation; at once when it is dead. */
  whenDead(process: Process, fn: (reason: ExitReason) => void): void {
    if (process.gone && process.exit !== null) return fn(process.exit)
    const tie = process.tie()
    tie.waiters ??= []
    tie.waiters.push(fn)
  }
}

// Module-level functions: a turn allocates no closure.
const INIT = (process: Process, _none: null): InitResult | Promise<InitResult> => process.behaviour.init(process)
const TURN = (process: Process, envelope: Envelope): void | Promise<void> => process.behaviour.turn(process, envelope)
const TERMINATE = (process: Process, _none: null): void | Promise<void> =>
  process.behaviour.terminate?.(process, process.ties?.stop?.reason ?? NORMAL)

function adopt(parent: Process, child: Process): void {
  const tie = parent.tie()
  tie.children ??= new Set()
  tie.children.add(child)
}
