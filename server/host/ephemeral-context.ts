/**
 * `ctx` of an ephemeral agent: one object per incarnation, every verb takes effect at once.
 *
 * The same verbs as in durable agents, so that an agent can change its durability without a rewrite; what needs a
 * journal (recorded steps, checkpoints) runs without one and says so in its docstring.
 */

import { RuntimeError } from '../../shared/error.ts'
import { assertKey, assertLabel, type ProcessId, processId } from '../../shared/id.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { copy } from '../../shared/value.ts'
import type { AnyAgent } from '../definition/agent.ts'
import { Call, type Caller, type CallOptions } from '../definition/call.ts'
import type { ComputeAsked, ComputeName, ComputeResult } from '../definition/compute.ts'
import type { Context, Log, MessageInfo, SpawnOptions, StartedOperation, TaskHandle } from '../definition/context.ts'
import type { InferOptions, ModelDefinition, ModelInput, ModelOutput } from '../definition/model.ts'
import { makeRef, type Ref } from '../definition/ref.ts'
import type { ExternalStepOptions, StepInfo, StepOptions } from '../definition/step.ts'
import type { StreamOut } from '../definition/stream.ts'
import { reasonOf } from '../journal/context.ts'
import { inferAsked, inferRun, inferStep } from '../journal/infer-step.ts'
import { makeLog } from '../journal/log.ts'
import type { DurablePorts } from '../journal/port.ts'
import { shownProgress } from '../journal/progress.ts'
import { assertDuration } from '../journal/sleep.ts'
import { idempotencyKey, StepRun } from '../journal/step.ts'
import { planOf } from '../journal/step-option.ts'
import { stepOptions, taskAsked, taskRun } from '../journal/task-step.ts'
import type { StepFn } from '../journal/turn-step.ts'
import { nameTaken } from '../journal/turn-tie.ts'
import type { Lineage } from '../kernel/envelope.ts'
import { NO_LINEAGE } from '../kernel/envelope.ts'
import { type ExitReason, exitText } from '../kernel/exit.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { type ProcessTimer, TIMER_MS_MAX } from '../kernel/process-timer.ts'

export type EphemeralPorts = Pick<
  DurablePorts,
  | 'kernel'
  | 'clock'
  | 'compute'
  | 'random'
  | 'emit'
  | 'watching'
  | 'tracing'
  | 'start'
  | 'whereis'
  | 'begin'
  | 'started'
  | 'endStarted'
> & {
  /** Checks and routes a call of a process or of the outside world. */
  call(from: Process, call: Call<unknown>, options: { timeoutMs?: number; lineage: Lineage }): Promise<unknown>
  send(from: Process, call: Call<unknown>, lineage: Lineage): void
}

export class EphemeralContext implements Context<unknown>, Caller {
  readonly #ports: EphemeralPorts
  readonly #process: Process
  readonly incarnation: number
  #timers: Map<string, ProcessTimer> | null = null
  #count = 0
  #abort: AbortController | null = null

  constructor(ports: EphemeralPorts, process: Process) {
    this.#ports = ports
    this.#process = process
    this.incarnation = process.incarnation
  }

  get id(): ProcessId {
    return this.#process.id
  }

  get key(): string {
    return this.#process.key ?? ''
  }

  get state(): unknown {
    return this.#process.state
  }

  set state(value: unknown) {
    this.#assertAlive()
    this.#process.state = value
  }

  get message(): MessageInfo {
    const { current } = this.#process
    if (current === null) return { id: null, op: '', from: null, at: this.now(), attempt: 1, kind: 'send' }
    const { messageId, op, from, at, attempts, kind } = current
    return { id: messageId, op, from, at, attempt: attempts + 1, kind }
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      const abort = new AbortController()
      this.#abort = abort
      void this.#ports.kernel.dead(this.#process).then((reason) => abort.abort(reason))
    }
    return this.#abort.signal
  }

  get log(): Log {
    return makeLog(this.#ports, this.#process, () => false)
  }

  ref<D extends AnyAgent>(definition: D, key: string): Ref<D> {
    return makeRef(definition, key, this)
  }

  call<T>(call: Call<T>, options: CallOptions = {}): Promise<T> {
    if (call.caller !== this || !call.used) return call.run(options)
    this.#assertAlive()
    const lineage = this.#lineage()
    const { key: _key, ...rest } = options
    return this.#ports.call(this.#process, call, { ...rest, lineage }) as Promise<T> // the op's declared result
  }

  async start(
    definition: AnyAgent,
    key: string,
    op: string,
    message: unknown = null,
    options: { idempotencyKey?: string } = {},
  ): Promise<StartedOperation> {
    this.#assertAlive()
    const { begin, started, endStarted, random } = this.#ports
    const target = processId(definition.name, key)
    const label = options.idempotencyKey ?? random.id()
    const call = new Call<unknown>(this, { id: target, agent: definition.name, key }, op, message)
    const created = await begin(call, { idempotencyKey: label }, { ...this.#lineage(), chain: [] })
    return {
      ...{ process: target, key: label, created },
      result: () => started(target, label, this.signal),
      cancel: (reason) => endStarted(target, label, { reason, from: this.id }),
    }
  }

  send(call: Call<unknown>): void {
    this.#assertAlive()
    call.used = true
    this.#ports.send(this.#process, call, this.#lineage())
  }

  reply(value: unknown): void {
    this.#assertAlive()
    this.#process.current?.reply?.resolve(value === undefined ? null : copy(value))
  }

  async step<T>(name: string, fn: StepFn, options?: StepOptions | ExternalStepOptions): Promise<T> {
    this.#assertAlive()
    const plan = planOf(name, options)
    if (plan.external) throw needsJournal(name, this.#process.id)
    const { clock, random, tracing } = this.#ports
    const process = this.#process
    const id = `${process.id}/${this.incarnation}/${++this.#count}`
    const { signal } = this
    const wait = (kind: 'step' | 'retry', deadline: number | null, attempt: number): void => {
      process.wait = { kind, target: name, since: clock.now(), deadline, attempt }
    }
    const run = new StepRun({
      name,
      plan,
      fn: fn as (info: StepInfo) => unknown, // not external: checked above
      past: null,
      clock,
      random,
      now: () => clock.now(),
      idempotencyKey: () => idempotencyKey(id, 0, options?.key ?? name),
      attemptKey: (attempt) => idempotencyKey(id, 0, `${options?.key ?? name}\n${attempt}`),
      onAttempt: (attempt, deadline) => wait('step', deadline, attempt),
      onWait: (attempt, due) => wait('retry', due, attempt),
      onRetry: () => {},
      held: () => null,
      onProgress: (value) => {
        if (process.wait !== null) process.wait = { ...process.wait, progress: shownProgress(value) }
      },
      ready: () => {},
      stream: (stream) => this.stream(stream),
    })
    const end = (): void => {
      const text = `${process.id} ended: ${exitText(signal.reason as ExitReason)}` // of the signal above
      run.end(new RuntimeError('PROCESS_EXITED', text))
    }
    signal.addEventListener('abort', end, { once: true })
    try {
      const result = await tracing.step(process, name, () => run.run())
      process.wait = null
      if (result.kind === 'ended') throw result.reason
      if ('ok' in result.out) return result.out.ok as T // what fn returned, copied
      throw new RuntimeError('STEP_FAILED', result.out.err.message, { cause: result.error })
    } finally {
      signal.removeEventListener('abort', end)
    }
  }

  task<T>(name: string, fn: (info: StepInfo) => T | Promise<T>): TaskHandle<T>
  task<M, K extends ComputeName<M>>(...asked: ComputeAsked<M, K>): TaskHandle<ComputeResult<M, K>>
  task(...asked: Parameters<typeof taskAsked>): TaskHandle<never> {
    const task = taskAsked(...asked)
    // A task gives back what its function gave, copied: the overloads say what that is.
    const run = taskRun(this.#ports, this.#process, task)
    const result = this.step<never>(`task:${task.name}`, run, stepOptions(task))
    result.catch(() => {}) // heard through result(); an unheard task must not look like a floating rejection
    return { result: () => result }
  }

  infer<M>(model: ModelDefinition<M>, input: ModelInput<M>, options?: InferOptions): Promise<ModelOutput<M>> {
    const asked = inferAsked(model, input, options)
    const run = inferRun(this.#ports.compute, model, asked.input)
    return this.step<ModelOutput<M>>(inferStep(model), run, asked.options)
  }

  stream(name: string): StreamOut {
    throw noStream(this.id, name)
  }

  now(): number {
    return this.#ports.clock.now()
  }

  random(): number {
    return this.#ports.random.next()
  }

  /** Nothing is replayed here: the code that runs is the code that began. */
  patched(id: string): boolean {
    assertLabel('Patch id', id)
    return true
  }

  async sleep(ms: number): Promise<void> {
    assertDuration('A sleep', ms)
    const { clock } = this.#ports
    const process = this.#process
    const since = clock.now()
    const wait: Wait = { kind: 'sleep', target: null, since, deadline: since + ms, attempt: 1 }
    const end = clock.monotonic() + ms
    for (let left = ms; left > 0; left = end - clock.monotonic()) {
      this.#assertAlive()
      process.wait = wait
      await new Promise<void>((resolve) => void clock.after(Math.min(left, TIMER_MS_MAX), resolve))
    }
    if (process.wait === wait) process.wait = null
    this.#assertAlive()
  }

  /** Its mailbox is not stored: what a handler took and lost could not be put back. */
  receive(): Promise<never> {
    const text = `${this.#process.id} is ephemeral; receive needs a durable agent. Handle the message in its own turn.`
    return Promise.reject(new RuntimeError('REQUEST_INVALID', text))
  }

  sleepUntil(at: number | Date): Promise<void> {
    const due = typeof at === 'number' ? at : at.getTime()
    return this.sleep(Math.max(0, due - this.now()))
  }

  uuid(): string {
    return this.#ports.random.id()
  }

  after(ms: number, op: string, message: unknown = null, options: { name?: string } = {}): string {
    this.#assertAlive()
    const name = options.name ?? `t${++this.#count}`
    this.#timers ??= new Map()
    this.#timers.get(name)?.cancel()
    this.#timers.set(name, this.#ports.kernel.after(this.#process, ms, op, message))
    return name
  }

  cancel(name: string): boolean {
    this.#assertAlive()
    const timer = this.#timers?.get(name)
    this.#timers?.delete(name)
    return timer !== undefined && this.#ports.kernel.cancel(timer) !== null
  }

  spawn<D extends AnyAgent>(definition: D, key?: string, options: SpawnOptions = {}): Ref<D> {
    this.#assertAlive()
    const { kernel } = this.#ports
    if (options.parentClose !== undefined && options.parentClose !== 'detach') {
      const text = `${this.id} is ephemeral: no row could say that a child closes with it. Link to the child.`
      throw new RuntimeError('REQUEST_INVALID', text)
    }
    const childKey = key ?? kernel.newKey()
    assertKey(childKey)
    const child = this.#ports.start(processId(definition.name, childKey), definition.name, childKey)
    if (child !== null && options.link === true) kernel.link(this.#process, child)
    if (child !== null && options.monitor === true) kernel.monitor(this.#process, child)
    return makeRef(definition, childKey, this)
  }

  link(id: ProcessId): void {
    this.#live().link(this.#process, id)
  }

  unlink(id: ProcessId): void {
    this.#live().unlink(this.#process, id)
  }

  monitor(id: ProcessId): string {
    return this.#live().monitor(this.#process, id)
  }

  demonitor(ref: string): void {
    this.#live().demonitor(this.#process, ref, { flush: true })
  }

  async register(name: string): Promise<void> {
    this.#assertAlive()
    assertLabel('Name', name)
    const holder = await this.#ports.whereis(name)
    if (holder !== null && holder !== this.id) throw nameTaken(name, holder)
    const kernel = this.#live()
    if (kernel.whereis(name) !== this.#process) kernel.register(this.#process, name)
  }

  unregister(name: string): void {
    this.#live().unregister(this.#process, name)
  }

  whereis(name: string): Promise<ProcessId | null> {
    this.#assertAlive()
    return this.#ports.whereis(name)
  }

  exit(reason: 'normal' | 'shutdown' | { error: unknown } = 'normal'): void {
    this.#live().lifecycle.requestStop(this.#process, reasonOf(reason), 0)
  }

  trapExit(on: boolean): void {
    this.#live().setTrapExit(this.#process, on)
  }

  publish(topic: string, message: unknown): void {
    this.#live().publish(topic, message ?? null, { from: this.#process, lineage: this.#lineage() })
  }

  subscribe(pattern: string, op: string): void {
    this.#live().subscribe(this.#process, pattern, op)
  }

  unsubscribe(pattern: string): void {
    this.#live().unsubscribe(this.#process, pattern)
  }

  onRollback(name: string): void {
    this.#assertAlive()
    const text = `${this.#process.id} is not durable: nothing would run the compensation "${name}" after a crash.`
    throw new RuntimeError('REQUEST_INVALID', text)
  }

  async shield<T>(fn: () => T | Promise<T>): Promise<T> {
    this.#assertAlive()
    return fn()
  }

  /** What is open here ends by itself only: no journal says in which order a limit and its results were heard. */
  async scope(): Promise<never> {
    this.#assertAlive()
    const text = `${this.#process.id} is ephemeral; a scope needs a durable agent. Give each verb a time of its own.`
    throw new RuntimeError('REQUEST_INVALID', text)
  }

  checkpoint(): Promise<void> {
    this.#assertAlive()
    return Promise.resolve()
  }

  async transaction(): Promise<never> {
    this.#assertAlive()
    const text = `${this.#process.id} is not durable: it has no commit that could carry rows. Make the agent durable.`
    throw new RuntimeError('TRANSACTION_UNSUPPORTED', text)
  }

  #lineage(): Lineage {
    const current = this.#process.current
    const traceparent = this.#ports.tracing.traceparent()
    if (current === null) return traceparent === null ? NO_LINEAGE : { ...NO_LINEAGE, traceparent }
    const { lineage } = current
    return traceparent === null ? lineage : { ...lineage, traceparent }
  }

  #live(): Kernel {
    this.#assertAlive()
    return this.#ports.kernel
  }

  #assertAlive(): void {
    if (this.#process.alive && this.#process.incarnation === this.incarnation) return
    throw new RuntimeError(
      'CONTEXT_CLOSED',
      `Incarnation ${this.incarnation} of ${this.#process.id} is over; its ctx cannot be used any more.`,
    )
  }
}

function needsJournal(name: string, id: ProcessId): RuntimeError {
  return new RuntimeError(
    'REQUEST_INVALID',
    `Step ${name} of ${id} cannot be completed from outside: the agent is not durable, no journal keeps its token.`,
  )
}

function noStream(id: ProcessId, name: string): RuntimeError {
  const text = `${id} is ephemeral and has no journal that the stream ${JSON.stringify(name)} could belong to`
  return new RuntimeError('REQUEST_INVALID', `${text}. Make the agent durable, or publish to a topic.`)
}
