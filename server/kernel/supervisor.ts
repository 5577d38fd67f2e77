/**
 * Supervisors: processes that start, watch, restart and stop other processes, with OTP's exact rules.
 *
 * - S2: children start strictly left to right, each after the start of the one before was acknowledged; when one
 *   fails, those already started are stopped in reverse and the supervisor does not start.
 * - S3: everything a supervisor does happens in its own loop, one thing at a time: exits of children, retries, API
 *   calls. While it waits (a child's start or shutdown) the rest queues; while a back-off runs it does not wait.
 * - S4-S6: permanent, transient, temporary; S10-S12 accounting (restart.ts); S20-S24 strategies (strategy.ts).
 * - S13: a supervisor that gives up stops its children in reverse, exits with `shutdown` and stays visible.
 * - S14: a crash charged to its message applies the strategy but never the limit (PROTOCOL P1); `fenced` is no end.
 * The children of the specification come back when the supervisor is restarted; children added at run time do not.
 */
import { type ErrorData, errorData, RuntimeError } from '../../shared/error.ts'
import type { SupervisorDetail } from '../../shared/snapshot.ts'
import { type Child, type ChildInput, type ChildSpec, childSpec, childSpecs, newChild } from './child.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, isNormalish, SHUTDOWN } from './exit.ts'
import type { Kernel } from './kernel.ts'
import { Loop } from './loop.ts'
import { isIgnore } from './outcome.ts'
import type { Behaviour, CrashVerdict, Overseer, Process, ProcessSpec } from './process.ts'
import { RestartWindow } from './restart.ts'
import { shutdownChild } from './shutdown.ts'
import { groupOf } from './strategy.ts'
import {
  assertFlags,
  type ChildCount,
  INTENSITY,
  PERIOD_MS,
  reasonData,
  refusal,
  refuseMessage,
  restarts,
  type SupervisorSpec,
  startFailed,
  type WhichChild,
} from './supervisor-spec.ts'

/** Checks flags and children before anything starts. @throws CHILD_SPEC_INVALID */
export function supervisorProcess(
  kernel: Kernel,
  input: Pick<SupervisorSpec, 'id' | 'strategy' | 'children'> & Partial<SupervisorSpec>,
): ProcessSpec {
  const spec: SupervisorSpec = {
    intensity: INTENSITY,
    periodMs: PERIOD_MS,
    autoShutdown: 'never',
    key: null,
    ...input,
  }
  assertFlags(spec)
  const children = childSpecs(spec.children, spec.autoShutdown)
  const behaviour = new SupervisorBehaviour(kernel, spec, children)
  return { id: spec.id, key: spec.key, agent: null, kind: 'supervisor', behaviour, hidden: spec.hidden ?? false }
}

/** The supervisor that runs in a process; null when it is none. */
export function supervisorOf(process: Process): Supervisor | null {
  return process.supervisor instanceof Supervisor ? process.supervisor : null
}

class SupervisorBehaviour implements Behaviour {
  readonly durable = false
  readonly #kernel: Kernel
  readonly #spec: SupervisorSpec
  readonly #children: readonly ChildSpec[]

  constructor(kernel: Kernel, spec: SupervisorSpec, children: readonly ChildSpec[]) {
    this.#kernel = kernel
    this.#spec = spec
    this.#children = children
  }

  init(process: Process): Promise<void> {
    process.trapExit = true
    const before = process.supervisor
    const supervisor = new Supervisor(this.#kernel, process, this.#spec, this.#children)
    process.supervisor = supervisor
    before?.pump() // what still waited in the loop of the earlier incarnation is cancelled
    // Children that were added at run time to an earlier incarnation do not come back; their rows must not stay.
    for (const child of before?.processes() ?? []) if (!supervisor.knows(child)) this.#kernel.lifecycle.forget(child)
    return supervisor.start()
  }

  turn(_process: Process, envelope: Envelope): void {
    refuseMessage(envelope)
  }

  terminate(process: Process): Promise<void> | void {
    return supervisorOf(process)?.terminate()
  }
}

export class Supervisor implements Overseer {
  readonly process: Process
  readonly spec: SupervisorSpec
  gaveUp = false
  readonly #kernel: Kernel
  readonly #window: RestartWindow
  readonly #loop: Loop
  #children: Child[]
  readonly #byProcess = new Map<string, Child>()

  constructor(kernel: Kernel, process: Process, spec: SupervisorSpec, children: readonly ChildSpec[]) {
    this.process = process
    this.spec = spec
    this.#kernel = kernel
    this.#window = new RestartWindow(spec.intensity, spec.periodMs)
    this.#loop = new Loop(kernel, process)
    this.#children = children.map(newChild)
    for (const child of this.#children) this.#byProcess.set(child.spec.process.id, child)
  }

  get strategy(): string {
    return this.spec.strategy
  }

  get childCount(): number {
    return this.#children.length
  }

  // Life of the supervisor itself

  start(): Promise<void> {
    return this.#loop.hold(async () => {
      for (const child of this.#children.slice()) {
        const error = await this.#start(child)
        if (error === null) continue
        this.#report(child, errorData(error))
        await this.#stopAll(this.#children)
        throw new RuntimeError('CHILD_START_FAILED', `Child ${child.spec.id} of ${this.process.id} did not start.`, {
          cause: error,
          detail: { child: child.spec.id },
        })
      }
    })
  }

  terminate(): Promise<void> {
    return this.#loop.urgent(() => this.#stopAll(this.#children))
  }

  pump(): void {
    this.#loop.pump()
  }

  *processes(): Iterable<Process> {
    for (const child of this.#children) if (child.process !== null) yield child.process
  }

  detail(now: number): SupervisorDetail {
    return {
      strategy: this.spec.strategy,
      intensity: this.spec.intensity,
      periodMs: this.spec.periodMs,
      recentRestarts: this.#window.recent(now),
      gaveUp: this.gaveUp,
      children: this.#children.map((child) => ({
        id: child.spec.id,
        process: child.process?.id ?? null,
        restart: child.spec.restart,
        status: child.state === 'restarting' ? 'restarting' : (child.process?.status ?? 'undefined'),
      })),
    }
  }

  // Exits

  wouldRestart(process: Process, reason: ExitReason): boolean {
    const child = this.#byProcess.get(process.id)
    return child !== undefined && child.state === 'running' && this.process.alive && restarts(child.spec, reason)
  }

  childExited(process: Process, reason: ExitReason, verdict: CrashVerdict | null): void {
    const child = this.#byProcess.get(process.id)
    if (child === undefined || child.process !== process || child.state !== 'running' || !this.#loop.live) return
    const { incarnation } = process
    if (restarts(child.spec, reason)) process.status = 'restarting'
    this.#loop.add(() => {
      const stale = child.process !== process || process.incarnation !== incarnation || process.alive
      if (stale || child.state !== 'running') return
      return this.#exited(child, reason, verdict)
    })
  }

  passivated(process: Process): void {
    const child = this.#byProcess.get(process.id)
    if (child?.process !== process) return
    child.process = null
    child.state = 'stopped'
  }

  #exited(child: Child, reason: ExitReason, verdict: CrashVerdict | null): void | Promise<void> {
    child.state = 'stopped'
    if (reason.kind === 'fenced') return // S14: it lives elsewhere
    if (!isNormalish(reason) || child.spec.restart === 'permanent') this.#report(child, reasonData(reason))
    if (restarts(child.spec, reason)) return this.#restart(child, verdict)
    this.#ended(child)
    if (child.spec.restart === 'temporary') this.#remove(child)
    if (child.spec.significant && this.#mustShutdown()) return this.#quit(false, child)
    this.#kernel.ports.treeChanged(this.process)
  }

  /** S40: any significant child, or the last of them. A child that is being restarted still counts as there. */
  #mustShutdown(): boolean {
    if (this.spec.autoShutdown === 'any_significant') return true
    return !this.#children.some((child) => child.spec.significant && child.state !== 'stopped')
  }

  #restart(child: Child, verdict: CrashVerdict | null): void | Promise<void> {
    const now = this.#kernel.ports.clock.monotonic()
    const free = verdict?.charge === 'message'
    if (!free && !this.#window.add(now)) return this.#quit(true, child)
    if (now - child.restartedAt > this.spec.periodMs) child.attempt = 0
    const delayMs = free ? verdict.delayMs : this.#window.delayMs(child.attempt)
    child.attempt += 1
    child.restartedAt = now
    this.#kernel.ports.treeChanged(this.process)
    return this.#restartGroup(child, delayMs)
  }

  async #restartGroup(child: Child, delayMs: number): Promise<void> {
    const group = groupOf(this.spec.strategy, this.#children, child)
    this.#markRestarting(child, delayMs)
    for (const item of group.toReversed()) if (item !== child) await this.#stopForRestart(item)
    if (!this.#loop.live) return
    if (delayMs === 0) return this.#startGroup(child)
    child.timer = this.#kernel.ports.clock.after(delayMs, () => {
      child.timer = null
      this.#loop.add(() => (child.state === 'restarting' ? this.#startGroup(child) : undefined))
    })
  }

  /** Down with its group, to come up with it: a durable one keeps taking messages meanwhile (K73). */
  async #stopForRestart(child: Child): Promise<void> {
    await this.#stop(child)
    if (child.spec.restart === 'temporary') this.#remove(child)
    else if (child.process !== null) child.process.status = 'restarting'
  }

  #markRestarting(child: Child, delayMs: number): void {
    child.state = 'restarting'
    const process = child.process
    if (process === null) return
    const at = this.#kernel.ports.clock.now()
    process.status = 'restarting'
    process.wait = { kind: 'restart', target: null, since: at, deadline: at + delayMs, attempt: child.attempt }
    const { id, incarnation } = process
    if (!this.#kernel.ports.watching('process:restart')) return
    this.#kernel.ports.emit({ kind: 'process:restart', at, id, incarnation, delayMs })
  }

  /** Starts what is down in the group of `child`; a failed start counts as a restart of the one that failed (S24). */
  async #startGroup(child: Child): Promise<void> {
    const group = groupOf(this.spec.strategy, this.#children, child)
    for (const item of group) {
      if (item.state === 'running') continue
      const error = await this.#start(item)
      if (error === null) continue
      if (!this.#loop.live) return
      this.#report(item, errorData(error))
      if (this.spec.strategy === 'one_for_all') await this.#stopAll(group)
      this.#markRestarting(item, 0)
      this.#loop.add(() => (item.state === 'restarting' ? this.#restart(item, null) : undefined))
      return
    }
    this.#kernel.ports.treeChanged(this.process)
  }

  /** S13, S40: the end of the supervisor by its own decision. */
  async #quit(gaveUp: boolean, child: Child): Promise<void> {
    this.gaveUp = gaveUp
    const { intensity, periodMs } = this.spec
    if (gaveUp) {
      const { id, incarnation } = this.process
      const at = this.#kernel.ports.clock.now()
      this.#kernel.ports.emit({
        kind: 'supervisor:give-up',
        at,
        id,
        incarnation,
        intensity,
        periodMs,
        child: child.spec.id,
      })
    }
    await this.#stopAll(this.#children)
    this.#kernel.ports.treeChanged(this.process)
    if (this.#loop.live) this.#kernel.end(this.process, SHUTDOWN)
  }

  // One child

  /** Null when it is up (or chose not to start); otherwise why not. */
  async #start(child: Child): Promise<unknown> {
    const { spec } = child
    const left = this.#kernel.find(spec.process.id)
    // What a killed incarnation of this supervisor left behind may still be ending.
    if (left !== undefined && !left.gone && left.parent === this.process) await this.#kernel.dead(left)
    if (!this.#loop.live) return new RuntimeError('PROCESS_NOT_FOUND', `${this.process.id} ended meanwhile.`)
    try {
      const limit = spec.startTimeoutMs === null ? {} : { startTimeoutMs: spec.startTimeoutMs }
      const process = this.#kernel.spawn({ ...spec.process, parent: this.process, ...limit })
      child.process = process
      // Running from here on: a death between the acknowledgement and this loop's next step must be seen.
      child.state = 'running'
      if (process.ties?.starting != null) await this.#kernel.started(process)
      return null
    } catch (error) {
      child.process = this.#kernel.find(spec.process.id) ?? null
      child.state = 'stopped'
      return isIgnore(error) ? null : error
    }
  }

  async #stop(child: Child): Promise<void> {
    child.timer?.cancel()
    child.timer = null
    const { process } = child
    child.state = 'stopped'
    if (process === null) return
    if (process.gone) {
      process.status = 'exited'
      process.wait = null
      return
    }
    const reason = await shutdownChild(this.#kernel, process, child.spec.shutdown)
    const expected = child.spec.shutdown === 'kill' ? reason.kind === 'killed' : isNormalish(reason)
    if (!expected) this.#report(child, reasonData(reason))
  }

  async #stopAll(children: readonly Child[]): Promise<void> {
    for (const child of children.toReversed()) await this.#stop(child)
  }

  /** The child is down for good: whatever waits for it is told. */
  #ended(child: Child): void {
    child.attempt = 0
    if (child.process === null) return
    child.process.status = 'exited'
    child.process.wait = null
    this.#kernel.lifecycle.abandon(child.process)
  }

  #remove(child: Child): void {
    this.#children = this.#children.filter((item) => item !== child)
    this.#byProcess.delete(child.spec.process.id)
    if (child.process !== null) this.#kernel.lifecycle.forget(child.process)
  }

  #report(child: Child, error: ErrorData): void {
    const { id, incarnation } = this.process
    const at = this.#kernel.ports.clock.now()
    const { attempt, spec } = child
    this.#kernel.ports.emit({ kind: 'supervisor:child-failed', at, id, incarnation, child: spec.id, error, attempt })
  }

  // Verbs (S50): all in the loop, in order with exits

  /** The started process; null when it chose not to start.
   *  @throws CHILD_SPEC_INVALID CHILD_ALREADY_STARTED CHILD_ALREADY_PRESENT CHILD_START_FAILED */
  startChild(input: ChildInput): Promise<Process | null> {
    const spec = childSpec(input, this.spec.autoShutdown)
    return this.#loop.ask(async () => {
      const known = this.#children.find((child) => child.spec.id === spec.id)
      if (known?.state === 'running') throw refusal('CHILD_ALREADY_STARTED', spec.id, 'runs already')
      if (known !== undefined) throw refusal('CHILD_ALREADY_PRESENT', spec.id, 'is known but not running')
      const child = newChild(spec)
      this.#children.push(child)
      this.#byProcess.set(spec.process.id, child)
      const error = await this.#start(child)
      if (error !== null) {
        this.#remove(child)
        throw startFailed(error, spec.id)
      }
      if (child.state === 'stopped' && spec.restart === 'temporary') this.#remove(child)
      this.#kernel.ports.treeChanged(this.process)
      return child.state === 'running' ? child.process : null
    })
  }

  /** Also fine when it does not run; ends a restart loop. A temporary child is forgotten. @throws CHILD_NOT_FOUND */
  terminateChild(id: string): Promise<void> {
    return this.#loop.ask(async () => {
      const child = this.#get(id)
      await this.#stop(child)
      this.#ended(child)
      if (child.spec.restart === 'temporary') this.#remove(child)
      this.#kernel.ports.treeChanged(this.process)
    })
  }

  /** Starts a child that is down. @throws CHILD_NOT_FOUND CHILD_RUNNING CHILD_RESTARTING CHILD_START_FAILED */
  restartChild(id: string): Promise<Process | null> {
    return this.#loop.ask(async () => {
      const child = this.#get(id)
      assertDown(child)
      const error = await this.#start(child)
      if (error !== null) throw startFailed(error, id)
      this.#kernel.ports.treeChanged(this.process)
      return child.state === 'running' ? child.process : null
    })
  }

  /** @throws CHILD_NOT_FOUND CHILD_RUNNING CHILD_RESTARTING */
  deleteChild(id: string): Promise<void> {
    return this.#loop.ask(() => {
      const child = this.#get(id)
      assertDown(child)
      this.#remove(child)
      this.#kernel.ports.treeChanged(this.process)
    })
  }

  /** By an operator: ends the child if it lives and starts it anew, at once, without a count (S51).
   *  A worker is killed and its durable message in hand redelivered; a supervisor ends its children in order first. */
  renewChild(id: string): Promise<Process | null> {
    return this.#loop.ask(async () => {
      const child = this.#get(id)
      if (child.spec.type === 'worker' && child.process?.alive === true) {
        child.state = 'stopped'
        this.#kernel.kill(child.process, { redeliver: true })
      }
      await this.#stop(child)
      child.attempt = 0
      const error = await this.#start(child)
      if (error !== null) {
        this.#markRestarting(child, 0)
        this.#loop.add(() => (child.state === 'restarting' ? this.#restart(child, null) : undefined))
        throw startFailed(error, id)
      }
      this.#kernel.ports.treeChanged(this.process)
      return child.state === 'running' ? child.process : null
    })
  }

  /** Newest first, as OTP lists them. */
  which(): Promise<WhichChild[]> {
    return this.#loop.ask(() => this.#children.map(which).reverse())
  }

  /** @throws CHILD_NOT_FOUND */
  whichChild(id: string): Promise<WhichChild> {
    return this.#loop.ask(() => which(this.#get(id)))
  }

  /** `supervisors` and `workers` count specifications, running or not. */
  count(): Promise<ChildCount> {
    return this.#loop.ask(() => {
      const specs = this.#children.length
      const active = this.#children.filter((child) => child.state === 'running').length
      const supervisors = this.#children.filter((child) => child.spec.type === 'supervisor').length
      return { specs, active, supervisors, workers: specs - supervisors }
    })
  }

  /** @throws CHILD_NOT_FOUND */
  specOf(id: string): ChildSpec {
    return this.#get(id).spec
  }

  knows(process: Process): boolean {
    return this.#byProcess.has(process.id)
  }

  /** Child id under which a process runs here; null when it is none of ours. */
  childIdOf(process: Process): string | null {
    return this.#byProcess.get(process.id)?.spec.id ?? null
  }

  #get(id: string): Child {
    const child = this.#children.find((item) => item.spec.id === id)
    if (child !== undefined) return child
    throw new RuntimeError('CHILD_NOT_FOUND', `${this.process.id} has no child ${JSON.stringify(id)}.`)
  }
}

function which({ spec, process, state }: Child): WhichChild {
  return { id: spec.id, process: state === 'running' ? process : null, state, type: spec.type }
}

function assertDown(child: Child): void {
  if (child.state === 'running') throw refusal('CHILD_RUNNING', child.spec.id, 'is running')
  if (child.state === 'restarting') throw refusal('CHILD_RESTARTING', child.spec.id, 'is being restarted')
}
