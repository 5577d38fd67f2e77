/**
 * Supervisors: processes that start, watch, restart and stop other processes, with OTP's exact rules.
 * - S2: children start strictly left to right, each after the start of the one before was acknowledged; when one
 *   fails, those already started are stopped in reverse and the supervisor does not start.
 * - S3: everything a supervisor does happens in its own loop, one thing at a time: exits of children, retries, API
 *   calls. While it waits (a child's start or shutdown) the rest queues; while a back-off runs it does not wait.
 * - S4-S6: permanent, transient, temporary; S10-S12 accounting (restart.ts); S20-S24 strategies (strategy.ts).
 * - S13: a supervisor that gives up stops its children in reverse, exits with `shutdown` and stays visible.
 * - S14: a crash charged to its message applies the strategy but never the limit (PROTOCOL P1); `fenced` is no end.
 * - S65: what an operator stopped is no failure of anybody, and stays down.
 * The children of the specification come back when the supervisor is restarted; children added at run time do not.
 */
import { type ErrorData, errorData, RuntimeError } from '../../shared/error.ts'
import type { SupervisorDetail } from '../../shared/snapshot.ts'
import { type Child, type ChildInput, type ChildSpec, childSpec, newChild } from './child.ts'
import { type ExitReason, exitText, isNormalish, SHUTDOWN } from './exit.ts'
import type { Kernel } from './kernel.ts'
import { Loop } from './loop.ts'
import { isIgnore } from './outcome.ts'
import type { CrashVerdict, Overseer, Process } from './process.ts'
import { announceRestart, fateOf, RestartWindow } from './restart.ts'
import { placeDown, shutdownChild } from './shutdown.ts'
import { groupOf } from './strategy.ts'
import {
  assertDown,
  type ChildCount,
  childFact,
  childRow,
  countOf,
  isRetired,
  reasonData,
  refusal,
  restarts,
  type SupervisorInit,
  type SupervisorSpec,
  startFailed,
  type WhichChild,
  which,
} from './supervisor-spec.ts'
import { type TreeChange, type TreeChangeKind, type TreeFacts, type TreeHistory, treeChange } from './tree-change.ts'

/** The supervisor that runs in a process; null when it is none. */
export function supervisorOf(process: Process): Supervisor | null {
  return process.supervisor instanceof Supervisor ? process.supervisor : null
}

export class Supervisor implements Overseer {
  readonly process: Process
  readonly spec: SupervisorSpec
  gaveUp = false
  readonly #kernel: Kernel
  readonly #window: RestartWindow
  readonly #loop: Loop
  #children: Child[]
  /** Children that an earlier life left down, with their incarnations. */
  readonly #down: ReadonlyMap<string, number>
  readonly #byProcess = new Map<string, Child>()

  constructor(kernel: Kernel, process: Process, init: SupervisorInit) {
    const { spec, history, retired } = init
    this.process = process
    this.spec = spec
    this.#kernel = kernel
    this.#window = new RestartWindow(spec.intensity, spec.periodMs)
    this.#loop = new Loop(kernel, process)
    this.#down = history?.terminated ?? retired
    this.#children = init.children.map((child) => newChild(child, false, this.#down.has(child.id)))
    for (const child of this.#children) this.#byProcess.set(child.spec.process.id, child)
    if (history === null) return
    process.incarnation = Math.max(process.incarnation, history.incarnation)
    this.#window.restore(history.restarts)
    for (const input of history.added) this.#readd(input, history.terminated.has(input.id))
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
        if (child.terminated) {
          const spec = { ...child.spec.process, parent: this.process }
          child.process = placeDown(this.#kernel, spec, this.#down.get(child.spec.id))
          continue // S54, S65: it was taken down in an earlier life of the node, or of this supervisor
        }
        const error = await this.#start(child)
        if (error === null) continue
        this.#report(child, errorData(error))
        // It started when it was added; now it is one that cannot be restarted (S24).
        if (child.added) {
          this.#retry(child)
          continue
        }
        await this.#stopAll(this.#children)
        throw new RuntimeError('CHILD_START_FAILED', `Child ${child.spec.id} of ${this.process.id} did not start.`, {
          cause: error,
          detail: { child: child.spec.id },
        })
      }
      this.changed('up', null)
    })
  }

  /** A child of an earlier life; null when the definition has taken its place, or the code knows it no more. */
  #readd(input: ChildInput, terminated: boolean): Child | null {
    const significant = input.significant === true && this.spec.autoShutdown !== 'never'
    const spec = childSpec({ ...input, significant }, this.spec.autoShutdown)
    if (this.#children.some((child) => child.spec.id === spec.id) || this.#byProcess.has(spec.process.id)) return null
    const child = newChild(spec, true, terminated)
    this.#children.push(child)
    this.#byProcess.set(spec.process.id, child)
    return child
  }

  inherit(history: TreeHistory): void {
    this.#window.restore(history.restarts)
    this.#loop.add(async () => {
      for (const child of this.#children) {
        if (child.state === 'stopped' && history.terminated.has(child.spec.id)) child.terminated = true
      }
      for (const input of history.added) {
        const child = this.#readd(input, history.terminated.has(input.id))
        if (child === null || child.terminated) continue
        const error = await this.#start(child)
        if (error === null) continue
        this.#report(child, errorData(error))
        this.#retry(child)
      }
    })
  }

  giveUp(child: string): void {
    this.#loop.add(() => this.#quit(true, child))
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
    const { strategy, intensity, periodMs } = this.spec
    const state = { recentRestarts: this.#window.recent(now), gaveUp: this.gaveUp }
    return { strategy, intensity, periodMs, ...state, children: this.#children.map(childRow) }
  }

  facts(): TreeFacts {
    return { periodMs: this.spec.periodMs, children: this.#children.map(childFact) }
  }

  // Exits

  wouldRestart(process: Process, reason: ExitReason): boolean {
    return this.process.alive && fateOf(this.#byProcess.get(process.id), reason) === 'restart'
  }

  endsForGood(process: Process, reason: ExitReason): boolean {
    return this.process.alive && fateOf(this.#byProcess.get(process.id), reason) === 'end'
  }

  childExited(process: Process, reason: ExitReason, verdict: CrashVerdict | null): void {
    const child = this.#byProcess.get(process.id)
    if (child === undefined || child.process !== process || child.state !== 'running' || !this.#loop.live) return
    const { incarnation } = process
    if (restarts(child.spec, reason) && !child.terminated) process.status = 'restarting'
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
    this.changed(reason.kind === 'fenced' ? 'moved' : 'exited', child, { reason })
    if (reason.kind === 'fenced') return // S14: it lives elsewhere
    const { terminated } = child // S65: an operator's stop is no failure, and no end that others must follow
    if (!isNormalish(reason) || (child.spec.restart === 'permanent' && !terminated)) {
      this.#report(child, reasonData(reason))
    }
    if (restarts(child.spec, reason) && !terminated) return this.#restart(child, verdict)
    this.#ended(child)
    if (child.spec.restart === 'temporary') this.#remove(child)
    if (child.spec.significant && !terminated && this.#mustShutdown()) return this.#quit(false, child.spec.id)
  }

  /** S40: any significant child, or the last of them. A child that is being restarted still counts as there. */
  #mustShutdown(): boolean {
    if (this.spec.autoShutdown === 'any_significant') return true
    return !this.#children.some((child) => child.spec.significant && child.state !== 'stopped')
  }

  #restart(child: Child, verdict: CrashVerdict | null): void | Promise<void> {
    const now = this.#kernel.ports.clock.monotonic()
    const free = verdict?.charge === 'message'
    if (!free && !this.#window.add(now)) return this.#quit(true, child.spec.id)
    if (now - child.restartedAt > this.spec.periodMs) child.attempt = 0
    const delayMs = free ? verdict.delayMs : this.#window.delayMs(child.attempt)
    child.attempt += 1
    child.restartedAt = now
    this.changed('restarting', child, { counted: !free })
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
    else if (child.process !== null && !isRetired(child)) child.process.status = 'restarting'
  }

  #markRestarting(child: Child, delayMs: number): void {
    child.state = 'restarting'
    const { process, attempt } = child
    if (process !== null) announceRestart(this.#kernel.ports, process, { delayMs, attempt })
  }

  /** Starts what is down in the group of `child`; a failed start counts as a restart of the one that failed (S24). */
  async #startGroup(child: Child): Promise<void> {
    const group = groupOf(this.spec.strategy, this.#children, child)
    for (const item of group) {
      if (item.state === 'running' || isRetired(item)) continue
      const error = await this.#start(item, 'restarted')
      if (error === null) continue
      if (!this.#loop.live) return
      this.#report(item, errorData(error))
      if (this.spec.strategy === 'one_for_all') await this.#stopAll(group)
      return this.#retry(item)
    }
  }

  /** A start that failed is tried again, and counts. */
  #retry(child: Child): void {
    this.#markRestarting(child, 0)
    this.#loop.add(() => (child.state === 'restarting' ? this.#restart(child, null) : undefined))
  }

  /** S13, S40: the end of the supervisor by its own decision. */
  async #quit(gaveUp: boolean, child: string): Promise<void> {
    this.gaveUp = gaveUp
    const { intensity, periodMs } = this.spec
    if (gaveUp) {
      const { id, incarnation } = this.process
      const at = this.#kernel.ports.clock.now()
      this.#kernel.ports.emit({ kind: 'supervisor:give-up', at, id, incarnation, intensity, periodMs, child })
      this.#tell('gave-up', { child })
    }
    await this.#stopAll(this.#children)
    if (this.#loop.live) this.#kernel.end(this.process, SHUTDOWN)
  }

  // One child

  /** Null when it is up (or chose not to start); otherwise why not. */
  async #start(child: Child, kind: TreeChangeKind = 'started'): Promise<unknown> {
    const { spec } = child
    child.terminated = false
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
      this.changed(kind, child)
      return null
    } catch (error) {
      child.process = this.#kernel.find(spec.process.id) ?? null
      child.state = 'stopped'
      if (child.process?.elsewhere === true) this.changed('moved', child)
      if (isRetired(child)) this.retire(spec.id)
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
    this.changed('exited', child, { reason })
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

  changed(kind: TreeChangeKind, child: Child | null, more: { reason?: ExitReason; counted?: boolean } = {}): void {
    const process = child === null ? this.process : child.process
    const reason = more.reason === undefined ? null : exitText(more.reason)
    this.#tell(kind, {
      child: child?.spec.id ?? null,
      process: process?.id ?? child?.spec.process.id ?? null,
      incarnation: process?.incarnation ?? null,
      reason,
      counted: more.counted ?? false,
    })
  }

  #tell(kind: TreeChangeKind, more: Partial<TreeChange>): void {
    this.#kernel.ports.treeChanged(this.process, treeChange(kind, more))
  }

  #report(child: Child, error: ErrorData): void {
    const { id, incarnation } = this.process
    const at = this.#kernel.ports.clock.now()
    const of = { id, incarnation, child: child.spec.id, attempt: child.attempt + 1 }
    this.#kernel.ports.emit({ kind: 'supervisor:child-failed', at, ...of, error })
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
      const child = newChild(spec, true)
      this.#children.push(child)
      this.#byProcess.set(spec.process.id, child)
      const error = await this.#start(child)
      if (error !== null) {
        this.#remove(child)
        throw startFailed(error, spec.id)
      }
      if (child.state === 'stopped' && spec.restart === 'temporary') this.#remove(child)
      return child.state === 'running' ? child.process : null
    })
  }

  /** Also fine when it does not run; ends a restart loop. A temporary child is forgotten. @throws CHILD_NOT_FOUND */
  terminateChild(id: string): Promise<void> {
    return this.#loop.ask(async () => {
      const child = this.#get(id)
      await this.#stop(child)
      this.#ended(child)
      child.terminated = true
      if (child.spec.restart === 'temporary') this.#remove(child)
      this.changed('terminated', child)
    })
  }

  /** By an operator: from now on the end of the child is its last, and takes nobody along, till a verb starts it. */
  retire(id: string): void {
    const child = this.#get(id)
    child.terminated = true
    if (child.process !== null) child.process.tie().retired = true
    this.changed('terminated', child)
  }

  /** Children that an operator stopped, with their incarnations. */
  retired(): Map<string, number> {
    return new Map(this.#children.filter(isRetired).map(({ spec, process }) => [spec.id, process?.incarnation ?? 1]))
  }

  /** Starts a child that is down. @throws CHILD_NOT_FOUND CHILD_RUNNING CHILD_RESTARTING CHILD_START_FAILED */
  restartChild(id: string): Promise<Process | null> {
    return this.#loop.ask(async () => {
      const child = this.#get(id)
      assertDown(child)
      const error = await this.#start(child)
      if (error !== null) throw startFailed(error, id)
      return child.state === 'running' ? child.process : null
    })
  }

  /** @throws CHILD_NOT_FOUND CHILD_RUNNING CHILD_RESTARTING */
  deleteChild(id: string): Promise<void> {
    return this.#loop.ask(() => {
      const child = this.#get(id)
      assertDown(child)
      this.#remove(child)
      this.changed('deleted', child)
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
      const error = await this.#start(child, 'restarted')
      if (error !== null) {
        this.#retry(child)
        throw startFailed(error, id)
      }
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
    return this.#loop.ask(() => countOf(this.#children))
  }

  /** @throws CHILD_NOT_FOUND */
  specOf(id: string): ChildSpec {
    return this.#get(id).spec
  }

  /** S54: no message and no recovery brings it back. */
  isTerminated(id: string): boolean {
    return this.#children.some((child) => child.spec.id === id && child.terminated)
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
