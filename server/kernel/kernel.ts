/**
 * The kernel of one thread: everything that can be done to and between processes, in memory.
 *
 * - Routing (K12): a message goes to the id. A live process gets it; a dead ephemeral one fails calls and swallows
 *   sends; an id not in memory is the runtime's business (`ports.missing`).
 * - K13: the limit of a mailbox is kept here, at the sender's verb; exits, downs, timers and replies are exempt.
 * - K14: what is sent never aliases the sender's objects: `call`, `send`, `after` and `publish` copy; `deliver` and
 *   `post` take envelopes whose `args` were copied already.
 * - State machine of a process: lifecycle.ts. Exit signals, links, monitors: signal.ts. Supervisors are built on this
 *   file, not known to it.
 *
 * Where the contract was open: `stop` lets an ephemeral process handle what was queued before it, as OTP's system
 * message does, while a durable one stops after the turn in hand, since its mailbox survives.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import { clone, copy, type Value } from '../../shared/value.ts'
import type { SpawnSpec } from './behaviour.ts'
import { assertTimeout, CALL_TIMEOUT_MS, Patience, PendingCall } from './call.ts'
import { type Envelope, type Lineage, NO_LINEAGE, type ReplyTo } from './envelope.ts'
import { type ExitReason, exitText, killed, NORMAL } from './exit.ts'
import { type GroupChange, type GroupMonitor, Groups } from './group.ts'
import { Lifecycle } from './lifecycle.ts'
import { ExitUnwind, exited } from './outcome.ts'
import type { KernelPorts } from './port.ts'
import type { Process } from './process.ts'
import { ProcessTimer, timerEnvelope } from './process-timer.ts'
import { Registry } from './registry.ts'
import type { Sender } from './signal.ts'
import { SortableIds } from './sortable-id.ts'
import { type Subscription, Topics } from './topic.ts'

export type CallOptions = { timeoutMs?: number; lineage?: Lineage }

export type SendOptions = { from?: Process | null; lineage?: Lineage; messageId?: string | null }

export class Kernel {
  readonly ports: KernelPorts
  /** Unique names. */
  readonly names = new Registry('unique')
  /** Duplicate keys. */
  readonly keys = new Registry('duplicate')
  readonly topics = new Topics()
  readonly groups: Groups
  readonly lifecycle: Lifecycle
  readonly #ids: SortableIds
  readonly #patience: Patience

  constructor(ports: KernelPorts) {
    this.ports = ports
    this.#patience = new Patience(ports.clock, (call) => this.#withdraws(call))
    this.lifecycle = new Lifecycle(ports, (monotonic) => this.#patience.date(monotonic))
    this.groups = new Groups((monitor, change) => this.#tellGroup(monitor, change))
    this.#ids = new SortableIds(ports.clock, ports.random)
  }

  // Birth

  /** Registers the id and runs init. @throws CHILD_ALREADY_STARTED CHILD_START_FAILED */
  spawn(spec: SpawnSpec): Process {
    return this.lifecycle.spawn(spec)
  }

  /** Resolves when an asynchronous init has finished; at once when there is none. */
  started(process: Process): Promise<void> {
    return process.ties?.starting?.promise ?? Promise.resolve()
  }

  /** The process of an id, alive or kept by its supervisor after death. */
  find(id: ProcessId): Process | undefined {
    return this.lifecycle.processes.get(id)
  }

  all(): IterableIterator<Process> {
    return this.lifecycle.processes.values()
  }

  get size(): number {
    return this.lifecycle.processes.size
  }

  get treeVersion(): number {
    return this.lifecycle.treeVersion
  }

  /** A key that sorts by time of creation. */
  newKey(): string {
    return this.#ids.next()
  }

  // Messages

  /** Routes an envelope whose `args` are a copy already. @throws MAILBOX_FULL */
  deliver(id: ProcessId, envelope: Envelope): void {
    this.#route(this.lifecycle.processes.get(id), id, envelope)
  }

  #route(process: Process | undefined, id: ProcessId, envelope: Envelope): void {
    if (process === undefined || (process.elsewhere && !process.alive)) return this.ports.missing(id, envelope)
    if (!process.alive && !comesBack(process)) return this.lifecycle.refuse(process, envelope)
    if (process.mailbox !== null && process.mailbox.length >= process.mailboxLimit && isLimited(envelope)) {
      throw full(process)
    }
    this.lifecycle.post(process, envelope)
  }

  /** Puts an envelope into a given process without a limit check. */
  post(process: Process, envelope: Envelope, options?: { front?: boolean }): void {
    this.lifecycle.post(process, envelope, options?.front ?? false)
  }

  /** Sends without waiting. @throws MAILBOX_FULL VALUE_UNSUPPORTED */
  send(id: ProcessId, op: string, args: unknown, options: SendOptions = {}): void {
    const from = options.from ?? null
    const target = this.lifecycle.processes.get(id)
    this.#route(target, id, {
      kind: 'send',
      op,
      args: argsFor(target, args),
      from: from?.id ?? null,
      reply: null,
      lineage: options.lineage ?? NO_LINEAGE,
      at: this.ports.clock.now(),
      deadline: null,
      attempts: 0,
      messageId: options.messageId ?? null,
      row: null,
    })
  }

  /** Sends and waits for the answer; exactly one outcome (K20).
   *  @throws MAILBOX_FULL VALUE_UNSUPPORTED CALL_CYCLE REQUEST_INVALID, as a rejection: CALL_TIMEOUT,
   *  PROCESS_NOT_FOUND, PROCESS_EXITED and whatever the target refuses with */
  call(from: Process | null, id: ProcessId, op: string, args: unknown, options?: CallOptions): Promise<Value> {
    const timeoutMs = options?.timeoutMs ?? CALL_TIMEOUT_MS
    if (timeoutMs !== CALL_TIMEOUT_MS) assertTimeout(timeoutMs)
    const lineage = from === null ? (options?.lineage ?? NO_LINEAGE) : lineageOf(from, id, options?.lineage)
    const { queue } = this.lifecycle
    const at = queue.now()
    const call = new PendingCall(from, id, op)
    if (from !== null) {
      call.wait = { kind: 'call', target: `${id} ${op}`, since: at, deadline: at + timeoutMs, attempt: 1 }
    }
    const target = this.lifecycle.processes.get(id)
    this.#route(target, id, {
      kind: 'call',
      op,
      args: argsFor(target, args),
      from: from === null ? null : from.id,
      reply: call,
      lineage,
      at,
      deadline: at + timeoutMs,
      attempts: 0,
      messageId: null,
      row: null,
    })
    if (!call.settled) {
      if (from !== null) from.wait = call.wait
      this.#patience.add(call, timeoutMs)
      if (!queue.inPeriod) this.#patience.date(this.ports.clock.monotonic())
    }
    return call.promise
  }

  /** M3: what a durable target that runs here did not begin is taken out of its mailbox; wherever else the call is by
   *  now, the target asks before it begins. */
  #withdraws(call: PendingCall): boolean {
    const process = this.lifecycle.processes.get(call.target)
    if (process?.durable !== true || process.elsewhere) return false
    process.mailbox?.take((envelope) => envelope.reply === call && envelope.row === null)
    return true
  }

  /** Puts off the answer of the message in hand: fails by itself when the process dies first. */
  defer(process: Process): ReplyTo | null {
    const reply = process.current?.reply ?? null
    if (reply === null) return null
    const tie = process.tie()
    tie.deferred ??= new Set()
    const deferred = tie.deferred
    deferred.add(reply)
    return {
      get settled() {
        return reply.settled
      },
      resolve: (value) => {
        deferred.delete(reply)
        reply.resolve(copy(value))
      },
      reject: (error) => {
        deferred.delete(reply)
        reply.reject(error)
      },
    }
  }

  // Ends

  /** An exit signal; receipt rules in signal.ts. A dead receiver is none of the sender's business. */
  exitSignal(signal: { from: Process | Sender; to: Process; reason: ExitReason; viaLink: boolean }): void {
    this.lifecycle.signals.exit(signal.from, signal.to, signal.reason, signal.viaLink)
  }

  /** Untrappable. With `redeliver` the durable message in hand goes back to the front with one attempt more. `detail`
   *  says why, for those who hear of the end. */
  kill(process: Process, options: { redeliver: boolean; detail?: string | undefined }): void {
    if (!process.alive) return
    // P1: the message in hand pays for the kill, so its process does not.
    if (process.durable && process.current !== null) {
      process.tie().verdict = { charge: 'message', delayMs: 0, redeliver: options.redeliver }
    }
    this.lifecycle.die(process, killed(options.detail), options.redeliver ? 'attempt' : 'leave')
  }

  /** Graceful end, as OTP's gen:stop: resolves when the process died with that reason.
   *  @throws PROCESS_NOT_FOUND (not alive), REQUEST_INVALID (timeout; the process is left alone), as a rejection:
   *  AWAIT_TIMEOUT (it may still be ending), PROCESS_EXITED (another reason) */
  stop(process: Process, reason: ExitReason = NORMAL, timeoutMs: number | null = null): Promise<void> {
    if (timeoutMs !== null) assertTimeout(timeoutMs)
    if (!process.alive) throw new RuntimeError('PROCESS_NOT_FOUND', `${process.id} is not alive.`)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer =
      timeoutMs === null
        ? null
        : this.ports.clock.after(timeoutMs, () => {
            const message = `${process.id} did not stop in ${timeoutMs} ms. It may still be ending.`
            reject(new RuntimeError('AWAIT_TIMEOUT', message))
          })
    this.lifecycle.whenDead(process, (actual) => {
      timer?.cancel()
      if (sameReason(actual, reason)) resolve()
      else reject(exited(process, actual))
    })
    this.lifecycle.requestStop(process, reason, process.durable ? 0 : process.mailboxLength)
    return promise
  }

  /** `ctx.exit`: unwinds user code; the turn ends, `terminate` runs, the process dies with the reason. */
  exitSelf(process: Process, reason: ExitReason): never {
    const unwind = new ExitUnwind(reason)
    // User code may catch the unwinding; the process ends after the turn all the same.
    if (process.alive) this.lifecycle.requestStop(process, reason, 0)
    throw unwind
  }

  /** Ends the incarnation now with a reason of the caller's choice; `terminate` does not run. */
  end(process: Process, reason: ExitReason): void {
    this.lifecycle.die(process, reason, 'leave')
  }

  /** An error that belongs to the process but to none of its turns. Nothing happens when that incarnation is gone. */
  crashProcess(process: Process, error: unknown, incarnation = process.incarnation): void {
    if (process.incarnation === incarnation) this.lifecycle.crash(process, error)
  }

  /** Takes an idle process out of memory without an end: it goes on elsewhere or later. False when it is not idle. */
  passivate(process: Process): boolean {
    if (!process.alive || process.busy || process.mailboxLength > 0 || isTied(process)) return false
    this.#leave(process)
    return true
  }

  /** Takes a process with an open turn out of memory without an end; whoever asks knows that the turn can go on without
   *  it. What waits in its mailbox is handed out. Null when it is tied to others or has no turn. */
  park(process: Process): Envelope[] | null {
    if (!process.alive || process.current === null || isTied(process)) return null
    const waiting = process.mailbox?.drain() ?? []
    this.#leave(process)
    return waiting
  }

  #leave(process: Process): void {
    process.alive = false
    process.gone = true
    process.epoch += 1
    process.status = 'passive'
    process.stats.since = this.ports.clock.now()
    this.lifecycle.processes.delete(process.id)
    this.lifecycle.treeVersion += 1
    process.parent?.supervisor?.passivated(process)
  }

  /** Resolves with the reason of the death of the present incarnation. */
  dead(process: Process): Promise<ExitReason> {
    return new Promise((resolve) => this.lifecycle.whenDead(process, resolve))
  }

  // Links, monitors, flags

  /** @throws LINK_NO_PROCESS */
  link(process: Process, other: Process | ProcessId): void {
    const target = typeof other === 'string' ? this.find(other) : other
    if (target !== undefined) this.lifecycle.signals.link(process, target)
    else this.lifecycle.signals.linkDead(process, { id: other as ProcessId, incarnation: 0 }) // undefined: was an id
  }

  unlink(process: Process, other: Process | ProcessId): void {
    const target = typeof other === 'string' ? this.find(other) : other
    if (target !== undefined) this.lifecycle.signals.unlink(process, target)
  }

  /** A new monitor each time; the reference comes back in its one down message. */
  monitor(watcher: Process, target: Process | ProcessId, ref?: string): string {
    const process = typeof target === 'string' ? this.find(target) : target
    if (process !== undefined) return this.lifecycle.signals.monitor(watcher, process, ref)
    return this.lifecycle.signals.monitorMissing(watcher, target as ProcessId, ref) // undefined: was an id
  }

  demonitor(watcher: Process, ref: string, options?: { flush?: boolean }): boolean {
    return this.lifecycle.signals.demonitor(watcher, ref, options?.flush ?? false)
  }

  setTrapExit(process: Process, on: boolean): boolean {
    const before = process.trapExit
    process.trapExit = on
    return before
  }

  /** No new turn begins until `resume`; messages queue, stop and exit signals work. Idempotent. */
  suspend(process: Process, actor = 'runtime'): void {
    if (process.suspended) return
    process.suspended = true
    this.#emitSuspend('process:suspend', process, actor)
  }

  resume(process: Process, actor = 'runtime'): void {
    if (!process.suspended) return
    process.suspended = false
    this.#emitSuspend('process:resume', process, actor)
    this.lifecycle.ready(process)
  }

  // Names

  /** @throws NAME_TAKEN PROCESS_NOT_FOUND */
  register(process: Process, name: string): void {
    this.names.register(process, name)
  }

  unregister(process: Process, name: string): boolean {
    return this.names.unregister(process, name)
  }

  whereis(name: string): Process | null {
    return this.names.whereis(name)
  }

  // Topics

  subscribe(process: Process, pattern: string, op: string): Subscription {
    return this.topics.subscribe(process, pattern, op)
  }

  unsubscribe(process: Process, pattern: string): number {
    return this.topics.unsubscribe(process, pattern)
  }

  /** Best effort: a subscriber whose mailbox is full misses it and counts it. How many got it.
   *  @throws VALUE_UNSUPPORTED REQUEST_INVALID */
  publish(topic: string, value: unknown, options?: { from?: Process; exclude?: Process; lineage?: Lineage }): number {
    const subscriptions = this.topics.match(topic)
    const args = copy(value ?? null)
    let delivered = 0
    for (const { process, op } of subscriptions) {
      if (process === options?.exclude) continue
      if (process.mailboxLength >= process.mailboxLimit) {
        process.stats.dropped += 1
        continue
      }
      // Frozen values are shared by all; bytes cannot be frozen, so whoever changes them must not change another's.
      const own = delivered === 0 || !hasBytes(args) ? args : copy(args)
      this.lifecycle.post(process, this.#info('topic', op, own, options?.from ?? null, options?.lineage))
      delivered += 1
    }
    return delivered
  }

  // Timers

  /** A message to the process itself after `ms`. Dies with the process. */
  after(process: Process, ms: number, op: string, args: unknown = null): ProcessTimer {
    if (!Number.isFinite(ms) || ms < 0) {
      throw new RuntimeError('REQUEST_INVALID', `A timer of ${ms} ms is not possible. Use 0 or more.`)
    }
    const envelope = this.#info('timer', op, copy(args), process, undefined)
    const timer: ProcessTimer = new ProcessTimer(this.ports.clock, process, ms, () => {
      this.lifecycle.post(process, { ...timerEnvelope(envelope, timer), at: this.ports.clock.now() })
    })
    return timer
  }

  /** Remaining ms, or null when the message was handled or cancelled before. */
  cancel(timer: ProcessTimer): number | null {
    return timer.cancel()
  }

  /** Ends all waiting of the kernel itself; processes are ended by their supervisors. */
  close(): void {
    this.#patience.close()
  }

  #info(kind: 'topic' | 'timer', op: string, args: Value, from: Process | null, lineage?: Lineage): Envelope {
    return {
      kind,
      op,
      args,
      from: from?.id ?? null,
      reply: null,
      lineage: lineage ?? NO_LINEAGE,
      at: this.ports.clock.now(),
      deadline: null,
      attempts: 0,
      messageId: null,
      row: null,
    }
  }

  #tellGroup(monitor: GroupMonitor, change: GroupChange): void {
    if (monitor.watcher.alive) this.lifecycle.post(monitor.watcher, this.#info('topic', monitor.op, change, null))
  }

  #emitSuspend(kind: 'process:suspend' | 'process:resume', process: Process, actor: string): void {
    const { id, incarnation } = process
    if (this.ports.watching(kind)) this.ports.emit({ kind, at: this.ports.clock.now(), id, incarnation, actor })
  }
}

/** K73: whether a dead process is on its way into its next incarnation, so that its mailbox goes on. While its exit is
 *  stored nobody knows yet: messages wait. */
function comesBack(process: Process): boolean {
  if (!process.durable) return false
  if (!process.gone || process.status === 'restarting') return true
  // A supervisor that is being restarted brings its children back.
  let above = process.parent
  while (above !== null && above.supervisor !== null) {
    if (above.status === 'restarting' || above.status === 'starting') return true
    if (above.alive) return false
    above = above.parent
  }
  return false
}

/** K14: an ephemeral agent owns its copy and may build it into its plain state; all others get a locked one. */
function argsFor(target: Process | undefined, args: unknown): Value {
  if (args === undefined) return null
  return target === undefined || target.behaviour.durable ? copy(args) : clone(args)
}

function isLimited(envelope: Envelope): boolean {
  return envelope.kind === 'call' || envelope.kind === 'send'
}

function full(process: Process): RuntimeError {
  const { id, mailboxLimit } = process
  return new RuntimeError(
    'MAILBOX_FULL',
    `Mailbox of ${id} is full (${process.mailboxLength} of ${mailboxLimit}). Send slower or raise mailbox.limit.`,
    { detail: { id, limit: mailboxLimit } },
  )
}

/** K21: the chain of callers that wait, the caller last. @throws CALL_CYCLE */
function lineageOf(from: Process, target: ProcessId, given: Lineage | undefined): Lineage {
  const lineage = given ?? from.current?.lineage ?? NO_LINEAGE
  if (target === from.id || lineage.chain.includes(target)) {
    const path = [...lineage.chain, from.id, target].join(' -> ')
    throw new RuntimeError('CALL_CYCLE', `The call can never be answered: ${path}. Send instead.`, { detail: { path } })
  }
  return { ...lineage, chain: [...lineage.chain, from.id] }
}

function sameReason(actual: ExitReason, wanted: ExitReason): boolean {
  return actual.kind === wanted.kind && exitText(actual) === exitText(wanted)
}

/** Ties in memory that would be lost with the process object. */
function isTied(process: Process): boolean {
  const ties = process.ties
  if (ties === null) return false
  const sizes = [ties.links, ties.monitors, ties.monitoredBy, ties.holdings, ties.children, ties.deferred]
  return sizes.some((set) => set !== null && set.size > 0) || ties.stop !== null
}

function hasBytes(value: Value): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (value instanceof Uint8Array) return true
  if (Array.isArray(value)) return value.some(hasBytes)
  if (value instanceof Map) return [...value.values()].some(hasBytes)
  if (value instanceof Set || value instanceof Date) return false
  return Object.values(value).some(hasBytes)
}
