/**
 * Pools: keyed children of one kind, started on demand (OTP's DynamicSupervisor with keys instead of pids).
 *
 * - S60: at most one member per key; `ensure` is synchronous; members that are being restarted count for `maxChildren`.
 * - S61: members restart one for one; a transient member that ended normally is forgotten.
 * - S62 (P1): an ephemeral member's crash counts for the pool's intensity, exactly as OTP; a durable member's crash
 *   outside a message counts for its key only, and the key ends as halted; a crash inside a message counts for nobody.
 * - S64: what a killed incarnation left behind is over before its key begins anew, and blocks nothing afterwards.
 * - S63: shutdown tells all members at once and shares one timer.
 * - Passive durable members have no process object and are not known here.
 * Members are independent, so starting one does not wait for the pool's loop; restarts and the end of the pool do.
 */
import { type ErrorData, errorData, RuntimeError } from '../../shared/error.ts'
import type { SupervisorDetail } from '../../shared/snapshot.ts'
import { invalid, isShutdown, RESTART_TYPES, type RestartType, SHUTDOWN_MS, type Shutdown } from './child.ts'
import type { Timer } from './clock-port.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, exitText, isNormalish, SHUTDOWN } from './exit.ts'
import type { Kernel } from './kernel.ts'
import { Loop } from './loop.ts'
import { isIgnore } from './outcome.ts'
import {
  type Behaviour,
  type CrashVerdict,
  MAILBOX_LIMIT,
  type Overseer,
  type Process,
  type ProcessSpec,
} from './process.ts'
import { announceRestart, RestartWindow } from './restart.ts'
import { shutdownAll, shutdownChild } from './shutdown.ts'
import {
  assertFlags,
  INTENSITY,
  PERIOD_MS,
  reasonData,
  refuseMessage,
  restarts,
  startFailed,
} from './supervisor-spec.ts'
import { type TreeChange, type TreeChangeKind, type TreeFacts, type TreeHistory, treeChange } from './tree-change.ts'

export type PoolSpec = {
  id: string
  key: string | null
  agent: string
  behaviour: Behaviour
  restart: RestartType
  shutdown: Shutdown
  maxChildren: number
  intensity: number
  periodMs: number
  mailboxLimit: number | null
  hidden: boolean
}

export type PoolInput = Pick<PoolSpec, 'id' | 'agent' | 'behaviour'> & Partial<PoolSpec>

/** Members a detail view lists; a pool may have a million. */
export const MEMBERS_LISTED_MAX = 200

/** Keys with a history; beyond this, histories that have expired are dropped. */
const TROUBLES_MAX = 10_000

/** The history of a key that failed; keys that never did have none. */
type Trouble = {
  window: RestartWindow | null
  attempt: number
  restartedAt: number
  timer: Timer | null
  halted: boolean
}

/** @throws CHILD_SPEC_INVALID */
export function poolProcess(kernel: Kernel, input: PoolInput): ProcessSpec {
  const spec: PoolSpec = {
    key: null,
    restart: 'transient',
    shutdown: SHUTDOWN_MS,
    maxChildren: Number.POSITIVE_INFINITY,
    intensity: INTENSITY,
    periodMs: PERIOD_MS,
    mailboxLimit: null,
    hidden: false,
    ...input,
  }
  assertFlags(spec)
  if (!RESTART_TYPES.includes(spec.restart)) throw invalid('invalid_restart_type', `restart is ${spec.restart}.`)
  if (!isShutdown(spec.shutdown)) throw invalid('invalid_shutdown', `shutdown is ${spec.shutdown}.`)
  if (!(spec.maxChildren >= 0))
    throw invalid('invalid_max_children', `maxChildren is ${spec.maxChildren}; use 0 or more.`)
  const behaviour = new PoolBehaviour(kernel, spec)
  return { id: spec.id, key: spec.key, agent: null, kind: 'supervisor', behaviour, hidden: spec.hidden }
}

/** The pool that runs in a process; null when it is none. */
export function poolOf(process: Process): Pool | null {
  return process.supervisor instanceof Pool ? process.supervisor : null
}

class PoolBehaviour implements Behaviour {
  readonly durable = false
  readonly #kernel: Kernel
  readonly #spec: PoolSpec

  constructor(kernel: Kernel, spec: PoolSpec) {
    this.#kernel = kernel
    this.#spec = spec
  }

  init(process: Process): void {
    process.trapExit = true
    const before = process.supervisor
    const pool = new Pool(this.#kernel, process, this.#spec)
    process.supervisor = pool
    before?.pump() // what still waited in the loop of the earlier incarnation is cancelled
    pool.begin(this.#kernel.ports.treeHistory(process))
    for (const child of before?.processes() ?? []) pool.inheritMember(child)
  }

  exited(process: Process, reason: ExitReason): void {
    poolOf(process)?.tell('down', { reason: exitText(reason) })
  }

  turn(_process: Process, envelope: Envelope): void {
    refuseMessage(envelope)
  }

  terminate(process: Process): Promise<void> | void {
    return poolOf(process)?.terminate()
  }
}

export class Pool implements Overseer {
  readonly process: Process
  readonly spec: PoolSpec
  readonly strategy = 'pool'
  gaveUp = false
  readonly #kernel: Kernel
  readonly #window: RestartWindow
  readonly #loop: Loop
  readonly #members = new Map<string, Process>()
  readonly #troubles = new Map<string, Trouble>()
  #closing = false

  constructor(kernel: Kernel, process: Process, spec: PoolSpec) {
    this.process = process
    this.spec = spec
    this.#kernel = kernel
    this.#window = new RestartWindow(spec.intensity, spec.periodMs)
    this.#loop = new Loop(kernel, process)
  }

  get childCount(): number {
    return this.#members.size
  }

  begin(history: TreeHistory | null): void {
    if (history !== null) {
      this.process.incarnation = Math.max(this.process.incarnation, history.incarnation)
      this.inherit(history)
    }
    this.tell('up')
  }

  /** Members are not in it: durable ones have rows of their own, a million of them perhaps. */
  facts(): TreeFacts {
    return { periodMs: this.spec.periodMs, children: [] }
  }

  inherit(history: TreeHistory): void {
    this.#window.restore(history.restarts)
  }

  tell(kind: TreeChangeKind, more: Partial<TreeChange> = {}): void {
    const { id: process, incarnation } = this.process
    const change = treeChange(kind, { process, incarnation, ...more })
    this.#kernel.ports.treeChanged(this.process, change)
  }

  pump(): void {
    this.#loop.pump()
  }

  processes(): Iterable<Process> {
    return this.#members.values()
  }

  /** The member of a key, whatever its state. */
  get(key: string): Process | null {
    return this.#members.get(key) ?? null
  }

  isHalted(key: string): boolean {
    return this.#troubles.get(key)?.halted ?? false
  }

  detail(now: number): SupervisorDetail {
    const children: SupervisorDetail['children'] = []
    for (const [key, { id, status }] of this.#members) {
      if (children.length === MEMBERS_LISTED_MAX) break
      children.push({ id: key, process: id, restart: this.spec.restart, status })
    }
    const { strategy, gaveUp } = this
    const { intensity, periodMs } = this.spec
    return { strategy, intensity, periodMs, recentRestarts: this.#window.recent(now), gaveUp, children }
  }

  // Starting

  /** The live member of the key, started when there is none.
   *  @throws CHILDREN_MAX RESTART_LIMIT CHILD_START_FAILED PROCESS_NOT_FOUND (the pool is down) */
  ensure(key: string): Process {
    const member = this.#members.get(key)
    if (member !== undefined && !this.isHalted(key)) return member
    return this.#begin(key)
  }

  /** A new member; with a generated key unless one is given. Null when it chose not to start.
   *  @throws as ensure, and CHILD_ALREADY_STARTED */
  start(key: string = this.#kernel.newKey()): Process | null {
    if (this.#members.has(key) && !this.isHalted(key)) {
      const id = this.#idOf(key)
      throw new RuntimeError('CHILD_ALREADY_STARTED', `${id} is a member already.`, { detail: { id } })
    }
    try {
      return this.#begin(key)
    } catch (error) {
      if (isIgnore(error)) return null
      throw error
    }
  }

  #begin(key: string): Process {
    if (this.#closing || !this.#loop.live) {
      const code = this.gaveUp ? 'SUPERVISOR_GAVE_UP' : 'PROCESS_NOT_FOUND'
      throw new RuntimeError(code, `The pool ${this.process.id} is not up; ${this.#idOf(key)} cannot start.`)
    }
    if (this.isHalted(key)) {
      const message = `${this.#idOf(key)} failed too often outside a message and is halted. Mend it, then restart it.`
      throw new RuntimeError('RESTART_LIMIT', message, { detail: { id: this.#idOf(key) } })
    }
    if (this.#members.size >= this.spec.maxChildren) {
      throw new RuntimeError('CHILDREN_MAX', `The pool ${this.process.id} is full (${this.spec.maxChildren} members).`)
    }
    try {
      return this.#spawn(key)
    } catch (error) {
      const left = this.#kernel.find(this.#idOf(key))
      if (left !== undefined && left.parent === this.process && left.gone) this.#forget(key, left)
      throw error
    }
  }

  #spawn(key: string): Process {
    const process = this.#kernel.spawn(this.#specOf(key))
    this.#members.set(key, process)
    if (process.ties?.starting != null) {
      this.#kernel.started(process).catch((error: unknown) => this.#startFailed(key, process, error))
    }
    return process
  }

  #specOf(key: string): ProcessSpec & { parent: Process } {
    const { agent, behaviour, hidden } = this.spec
    const mailboxLimit = this.spec.mailboxLimit ?? MAILBOX_LIMIT
    return { id: this.#idOf(key), key, agent, kind: 'agent', behaviour, hidden, mailboxLimit, parent: this.process }
  }

  #idOf(key: string): string {
    return `${this.spec.agent}/${key}`
  }

  /** An asynchronous first start or restart failed. */
  #startFailed(key: string, process: Process, error: unknown): void {
    if (this.#members.get(key) !== process || process.alive) return
    if (isIgnore(error) || this.#closing) return this.#forget(key, process)
    this.#report(key, errorData(error))
    const trouble = this.#troubles.get(key)
    if (trouble === undefined || trouble.attempt === 0) {
      // A first start is refused to whoever wanted it, as in OTP; a durable key remembers that it failed (P1).
      if (process.durable && !this.#countKey(key)) return this.#halt(key, process)
      return this.#forget(key, process)
    }
    this.#restart(key, process, null)
  }

  // Exits

  wouldRestart(process: Process, reason: ExitReason): boolean {
    return !this.#closing && this.#loop.live && this.#goesOn(process, reason)
  }

  endsForGood(process: Process, reason: ExitReason): boolean {
    return !this.#closing && this.#loop.live && !this.#goesOn(process, reason)
  }

  /** S65: what an operator stopped is not restarted. */
  #goesOn({ ties }: Process, reason: ExitReason): boolean {
    return ties?.retired !== true && restarts(this.spec, reason)
  }

  childExited(process: Process, reason: ExitReason, verdict: CrashVerdict | null): void {
    const { key } = process
    if (key === null) return
    if (this.#members.get(key) !== process) return this.inheritMember(process)
    if (this.#closing || !this.#loop.live) return this.#left(key, process)
    if (!isNormalish(reason) && reason.kind !== 'fenced') this.#report(key, reasonData(reason))
    if (this.#goesOn(process, reason)) this.#restart(key, process, verdict)
    else this.#forget(key, process)
  }

  /** S64: the pool was killed and comes back; the next incarnation decides about what waits in the mailbox. */
  #left(key: string, process: Process): void {
    const waits = process.durable && process.mailboxLength > 0 && this.process.status === 'restarting'
    if (!waits) this.#forget(key, process)
  }

  /** S64: what a killed incarnation left behind is gone for good, unless a durable one has work to do. It may still
   *  be ending: then it comes here again when it is over. */
  inheritMember(process: Process): void {
    const { key } = process
    if (key === null || !process.gone || this.#members.has(key) || this.#kernel.find(process.id) !== process) return
    if (process.durable && process.mailboxLength > 0 && !this.#closing && this.#loop.live) {
      try {
        return void this.#spawn(key)
      } catch (error) {
        this.#report(key, errorData(error))
      }
    }
    this.#forget(key, process)
  }

  passivated(process: Process): void {
    if (process.key === null || this.#members.get(process.key) !== process) return
    this.#members.delete(process.key)
    this.#troubles.delete(process.key)
  }

  #restart(key: string, process: Process, verdict: CrashVerdict | null): void {
    const now = this.#kernel.ports.clock.monotonic()
    const free = verdict?.charge === 'message'
    if (!free) {
      if (process.durable) {
        if (!this.#countKey(key)) return this.#halt(key, process)
      } else if (!this.#window.add(now)) return this.giveUp(key)
    }
    const trouble = this.#trouble(key)
    if (now - trouble.restartedAt > this.spec.periodMs) trouble.attempt = 0
    const delayMs = free ? verdict.delayMs : this.#window.delayMs(trouble.attempt)
    trouble.attempt += 1
    trouble.restartedAt = now
    announceRestart(this.#kernel.ports, process, { delayMs, attempt: trouble.attempt })
    if (!free && !process.durable) this.tell('restarting', { child: key, counted: true })
    const again = (): void => {
      trouble.timer = null
      this.#loop.add(() => this.#renew(key, process))
    }
    if (delayMs === 0) again()
    else trouble.timer = this.#kernel.ports.clock.after(delayMs, again)
  }

  #renew(key: string, process: Process): void {
    if (this.#members.get(key) !== process || !process.gone || this.#closing || this.isHalted(key)) return
    try {
      this.#spawn(key)
    } catch (error) {
      if (isIgnore(error)) return this.#forget(key, process)
      this.#report(key, errorData(error))
      this.#restart(key, process, null)
    }
  }

  #trouble(key: string): Trouble {
    let trouble = this.#troubles.get(key)
    if (trouble === undefined) {
      if (this.#troubles.size >= TROUBLES_MAX) this.#forgiveOld()
      trouble = { window: null, attempt: 0, restartedAt: 0, timer: null, halted: false }
      this.#troubles.set(key, trouble)
    }
    return trouble
  }

  #forgiveOld(): void {
    const now = this.#kernel.ports.clock.monotonic()
    for (const [key, { timer, halted, window }] of this.#troubles) {
      if (timer === null && !halted && (window === null || window.recent(now) === 0)) this.#troubles.delete(key)
    }
  }

  #countKey(key: string): boolean {
    const trouble = this.#trouble(key)
    trouble.window ??= new RestartWindow(this.spec.intensity, this.spec.periodMs)
    return trouble.window.add(this.#kernel.ports.clock.monotonic())
  }

  #halt(key: string, process: Process): void {
    this.#trouble(key).halted = true
    this.#members.set(key, process)
    process.status = 'exited'
    process.wait = null
    process.tie().refusal = 'RESTART_LIMIT'
    this.#kernel.lifecycle.abandon(process)
    this.tell('halted', { child: key, process: process.id, incarnation: process.incarnation })
  }

  #forget(key: string, process: Process): void {
    this.#members.delete(key)
    const trouble = this.#troubles.get(key)
    trouble?.timer?.cancel()
    // A durable key that failed to start keeps its count; everything else starts afresh.
    if (trouble !== undefined) {
      trouble.attempt = 0
      if (trouble.window === null || !process.durable) this.#troubles.delete(key)
    }
    process.status = 'exited'
    process.wait = null
    this.#kernel.lifecycle.forget(process)
  }

  giveUp(key: string): void {
    if (this.#closing) return
    this.gaveUp = true
    this.#closing = true
    const { id, incarnation } = this.process
    const { intensity, periodMs } = this.spec
    const at = this.#kernel.ports.clock.now()
    this.#kernel.ports.emit({ kind: 'supervisor:give-up', at, id, incarnation, intensity, periodMs, child: key })
    this.tell('gave-up', { child: key })
    this.#loop.add(async () => {
      await this.#shutdown()
      if (this.#loop.live) this.#kernel.end(this.process, SHUTDOWN)
    })
  }

  // Ending

  terminate(): Promise<void> {
    this.#closing = true
    return this.#loop.urgent(() => this.#shutdown())
  }

  async #shutdown(): Promise<void> {
    for (const trouble of this.#troubles.values()) trouble.timer?.cancel()
    const members = [...this.#members]
    await shutdownAll(
      this.#kernel,
      members.map(([, process]) => process),
      this.spec.shutdown,
    )
    for (const [key, process] of members) this.#forget(key, process)
  }

  /** Ends a member for good, also one that is being restarted. @throws CHILD_NOT_FOUND */
  async terminateChild(key: string): Promise<void> {
    const process = this.#member(key)
    this.#members.delete(key) // from here on its exit is nobody's business
    await shutdownChild(this.#kernel, process, this.spec.shutdown)
    if (!this.#members.has(key)) this.#forget(key, process)
  }

  /** By an operator: kills the member if it lives and starts it anew, at once, without a count; ends a halt. */
  async renewChild(key: string): Promise<Process> {
    const process = this.#member(key)
    this.#members.delete(key)
    this.#troubles.get(key)?.timer?.cancel()
    this.#troubles.delete(key)
    if (process.ties !== null) process.ties.refusal = null
    this.#kernel.kill(process, { redeliver: true })
    if (!process.gone) await this.#kernel.dead(process)
    try {
      const again = this.#members.get(key) ?? this.#begin(key)
      await this.#kernel.started(again)
      return again
    } catch (error) {
      if (!this.#members.has(key)) this.#kernel.lifecycle.forget(process)
      throw startFailed(error, key)
    }
  }

  count(): { specs: number; active: number; supervisors: number; workers: number } {
    let active = 0
    for (const process of this.#members.values()) if (process.alive) active += 1
    return { specs: 1, active, supervisors: 0, workers: this.#members.size }
  }

  #member(key: string): Process {
    // Or one of a killed incarnation of the pool, that is not over yet.
    const process = this.#members.get(key) ?? this.#kernel.find(this.#idOf(key))
    if (process?.parent === this.process) return process
    throw new RuntimeError('CHILD_NOT_FOUND', `The pool ${this.process.id} has no member ${JSON.stringify(key)}.`)
  }

  #report(key: string, error: ErrorData): void {
    const { id, incarnation } = this.process
    const at = this.#kernel.ports.clock.now()
    const attempt = (this.#troubles.get(key)?.attempt ?? 0) + 1
    this.#kernel.ports.emit({ kind: 'supervisor:child-failed', at, id, incarnation, child: key, error, attempt })
  }
}
