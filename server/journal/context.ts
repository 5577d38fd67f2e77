/**
 * `ctx` of a durable agent's handler: the verbs of one turn. Each checks that the turn is still open, so whatever a
 * killed or finished turn left running finds every verb closed (PROTOCOL T9).
 */
import { errorData, RuntimeError } from '../../shared/error.ts'
import { assertKey, assertLabel, type ProcessId, processId } from '../../shared/id.ts'
import { copy, encodeCopied } from '../../shared/value.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { Call, Caller, CallOptions } from '../definition/call.ts'
import type { ComputeAsked, ComputeName, ComputeResult } from '../definition/compute.ts'
import type {
  Context,
  Log,
  MessageInfo,
  MessagePattern,
  ParentClose,
  Received,
  ReceiveOptions,
  Scope,
  ScopeOptions,
  SpawnOptions,
  StartedOperation,
  TaskHandle,
} from '../definition/context.ts'
import type { InferOptions, ModelDefinition, ModelInput, ModelOutput } from '../definition/model.ts'
import { makeRef, type Ref } from '../definition/ref.ts'
import type { ExternalStepOptions, StepInfo, StepOptions } from '../definition/step.ts'
import type { StreamOut } from '../definition/stream.ts'
import type { Transaction, TransactionOptions } from '../definition/transaction.ts'
import { crash, type ExitReason, NORMAL, SHUTDOWN } from '../kernel/exit.ts'
import { WAKE } from '../store/store.ts'
import { checkMessage } from './border.ts'
import { nameHere } from './branch.ts'
import { checkpointInTurn } from './checkpoint.ts'
import { inferAsked, inferInTurn } from './infer-step.ts'
import { makeLog } from './log.ts'
import { patchedInTurn } from './patch-mark.ts'
import { receiveInTurn } from './receive.ts'
import { onRollbackInTurn } from './rollback.ts'
import { scopeInTurn } from './scope.ts'
import { shieldInTurn } from './shield.ts'
import { assertDuration, sleepInTurn, sleepUntilInTurn } from './sleep.ts'
import { type TaskAsked, taskAsked, taskInTurn } from './task-step.ts'
import { assertNoTransaction, isInTransaction, transactInTurn } from './transaction.ts'
import type { Turn } from './turn.ts'
import { assertRoom, callFromTurn, unknownAgent } from './turn-call.ts'
import { startInTurn } from './turn-start.ts'
import { isInStep, type StepFn, stepInTurn } from './turn-step.ts'
import { streamInTurn, streamOfStep } from './turn-stream.ts'
import {
  assertCloses,
  demonitorInTurn,
  linkInTurn,
  monitorInTurn,
  registerInTurn,
  tieChild,
  trapExitInTurn,
  unlinkInTurn,
  unregisterInTurn,
  whereisInTurn,
} from './turn-tie.ts'

export class DurableContext implements Context<unknown>, Caller {
  readonly #turn: Turn

  constructor(turn: Turn) {
    this.#turn = turn
  }

  get id(): ProcessId {
    return this.#turn.process.id
  }

  get key(): string {
    return this.#turn.process.key ?? ''
  }

  get incarnation(): number {
    return this.#turn.incarnation
  }

  get signal(): AbortSignal {
    return this.#turn.abort.signal
  }

  get log(): Log {
    const { ports, process } = this.#turn
    return makeLog(ports, process, () => this.#turn.replaying)
  }

  get message(): MessageInfo {
    const { envelope, id } = this.#turn
    const { op, from, at, attempts, kind } = envelope
    // The turn's id is the message's id (T4), also before a call has a row: a replay must see the same.
    return { id, op, from, at, attempt: attempts + 1, kind }
  }

  get state(): unknown {
    if (this.#turn.guard !== null && isInTransaction(this.#turn)) return this.#turn.view
    this.#turn.assertOpen()
    return isInStep(this.#turn) ? this.#turn.view : this.#turn.state
  }

  set state(value: unknown) {
    this.#turn.assertOpen()
    if (isInStep(this.#turn)) throw readOnly(this.#turn)
    this.#turn.state = value
  }

  // Caller: references made by this context

  made(call: Call<unknown>): void {
    this.#turn.calls.push(call)
  }

  call<T>(call: Call<T>, options?: CallOptions): Promise<T> {
    if (call.caller !== this || !call.used) return call.run(options)
    return callFromTurn(this.#turn, call, options) as Promise<T> // the op's declared result type
  }

  ref<D extends AnyAgent>(definition: D, key: string): Ref<D> {
    return makeRef(definition, key, this)
  }

  send(call: Call<unknown>): void {
    const turn = this.#turn
    turn.assertOpen()
    call.used = true
    const target = turn.ports.agent(call.agent)
    if (target === null) throw unknownAgent(call)
    const { args } = checkMessage(target, call.op, call.message)
    turn.checkSend(() => assertRoom(turn, call))
    if (target.definition.durable) {
      turn.outbox.messages.push(turn.post({ target: call.target, kind: 'send', op: call.op, args }))
      return
    }
    const lineage = turn.lineage
    turn.outbox.after.push(() => turn.ports.kernel.send(call.target, call.op, args, { from: turn.process, lineage }))
  }

  start(
    definition: AnyAgent,
    key: string,
    op: string,
    message: unknown = null,
    options: { idempotencyKey?: string; parentClose?: ParentClose } = {},
  ): Promise<StartedOperation> {
    assertKey(key)
    const target = processId(definition.name, key)
    return startInTurn(this.#turn, { target, op, message, ...options })
  }

  reply(value: unknown): void {
    this.#turn.assertOpen()
    this.#turn.answer = { ok: value === undefined ? null : copy(value) }
  }

  step<T>(name: string, fn: StepFn, options?: StepOptions | ExternalStepOptions): Promise<T> {
    return stepInTurn(this.#turn, name, fn, options) as Promise<T> // recorded as a Value of the same shape (T6)
  }

  task<T>(name: string, fn: (info: StepInfo) => T | Promise<T>): TaskHandle<T>
  task<M, K extends ComputeName<M>>(...asked: ComputeAsked<M, K>): TaskHandle<ComputeResult<M, K>>
  task(...asked: Parameters<typeof taskAsked>): TaskHandle<never> {
    return this.taskOf(taskAsked(...asked))
  }

  infer<M>(model: ModelDefinition<M>, input: ModelInput<M>, options?: InferOptions): Promise<ModelOutput<M>> {
    // `run` of the module answered it, and the types of the module say what that is.
    return inferInTurn(this.#turn, inferAsked(model, input, options)) as Promise<ModelOutput<M>>
  }

  protected taskOf(task: TaskAsked): TaskHandle<never> {
    // A task gives back what its function gave, copied: the overloads say what that is.
    const result = taskInTurn(this.#turn, task) as Promise<never>
    result.catch(() => {}) // heard through result(); an unheard task must not look like a floating rejection
    return { result: () => result }
  }

  stream(name: string): StreamOut {
    if (isInStep(this.#turn)) throw streamOfStep(name)
    return streamInTurn(this.#turn, name)
  }

  now(): number {
    this.#turn.assertOpen()
    return this.#turn.now
  }

  random(): number {
    this.#turn.assertOpen()
    return this.#turn.random.float()
  }

  uuid(): string {
    this.#turn.assertOpen()
    return this.#turn.random.uuid()
  }

  patched(id: string): boolean {
    return patchedInTurn(this.#turn, id)
  }

  sleep(ms: number): Promise<void> {
    return sleepInTurn(this.#turn, ms)
  }

  sleepUntil(at: number | Date): Promise<void> {
    return sleepUntilInTurn(this.#turn, at)
  }

  receive<M = unknown>(pattern?: MessagePattern): Promise<Received<M>>
  receive<M = unknown>(pattern: MessagePattern | undefined, options: ReceiveOptions): Promise<Received<M> | null>
  receive(pattern?: MessagePattern, options: ReceiveOptions = {}): Promise<never> {
    return receiveInTurn(this.#turn, pattern, options) as Promise<never> // the caller says which type it expects
  }

  onRollback(name: string, fn: StepFn, options?: StepOptions): void {
    onRollbackInTurn(this.#turn, name, fn, options)
  }

  shield<T>(fn: () => T | Promise<T>): Promise<T> {
    return shieldInTurn(this.#turn, fn)
  }

  scope<T>(options: ScopeOptions, fn: (scope: Scope) => T | Promise<T>): Promise<T> {
    return scopeInTurn(this.#turn, options, fn)
  }

  after(ms: number, op: string, message: unknown = null, options: { name?: string } = {}): string {
    const turn = this.#turn
    turn.assertOpen()
    assertDuration('A timer', ms)
    if (options.name !== undefined) assertTimerName(options.name)
    const { args } = checkMessage(turn.agent, op, message)
    const name = options.name ?? `${nameHere(turn)}.${++turn.spawned}`
    const arm = ++turn.record.armCount
    const due = turn.now + ms
    const { root, traceparent } = turn.lineage
    const before = turn.record.armed.get(name)
    if (before !== undefined) turn.outbox.cancelTimers.push({ name, arm: before })
    turn.outbox.timers = turn.outbox.timers.filter((timer) => timer.name !== name)
    turn.outbox.timers.push({
      process: turn.record.pid,
      target: turn.process.id,
      name,
      arm,
      due,
      op,
      args: encodeCopied(args),
      root,
      traceparent,
    })
    return name
  }

  cancel(name: string): boolean {
    const turn = this.#turn
    turn.assertOpen()
    const fresh = turn.outbox.timers.some((timer) => timer.name === name)
    turn.outbox.timers = turn.outbox.timers.filter((timer) => timer.name !== name)
    const arm = turn.record.armed.get(name)
    if (arm !== undefined) turn.outbox.cancelTimers.push({ name, arm })
    return fresh || arm !== undefined
  }

  spawn<D extends AnyAgent>(definition: D, key?: string, options: SpawnOptions = {}): Ref<D> {
    const turn = this.#turn
    turn.assertOpen()
    const childKey = key ?? `${nameHere(turn)}.${++turn.spawned}`
    assertKey(childKey)
    const id = processId(definition.name, childKey)
    assertCloses(definition, id, options.parentClose)
    turn.outbox.part.spawns = [
      ...(turn.outbox.part.spawns ?? []),
      { id, agent: definition.name, key: childKey, kind: 'agent', parent: turn.process.id },
    ]
    turn.outbox.after.push(() => void turn.ports.start(id, definition.name, childKey))
    tieChild(turn, id, options)
    return makeRef(definition, childKey, this)
  }

  link(id: ProcessId): void {
    linkInTurn(this.#turn, id)
  }

  unlink(id: ProcessId): void {
    unlinkInTurn(this.#turn, id)
  }

  monitor(id: ProcessId): string {
    return monitorInTurn(this.#turn, id)
  }

  demonitor(ref: string): void {
    demonitorInTurn(this.#turn, ref)
  }

  register(name: string): Promise<void> {
    return registerInTurn(this.#turn, name)
  }

  unregister(name: string): void {
    unregisterInTurn(this.#turn, name)
  }

  whereis(name: string): Promise<ProcessId | null> {
    return whereisInTurn(this.#turn, name)
  }

  exit(reason: 'normal' | 'shutdown' | { error: unknown } = 'normal'): void {
    const turn = this.#turn
    turn.assertOpen()
    turn.exit = reasonOf(reason)
  }

  trapExit(on: boolean): void {
    trapExitInTurn(this.#turn, on)
  }

  publish(topic: string, message: unknown): void {
    const turn = this.#turn
    turn.assertOpen()
    const value = copy(message ?? null)
    const lineage = turn.lineage
    turn.outbox.after.push(() => void turn.ports.kernel.publish(topic, value, { lineage }))
  }

  subscribe(pattern: string, op: string): void {
    checkMessage(this.#turn.agent, op, null)
    this.#turn.assertOpen()
    this.#turn.ports.kernel.subscribe(this.#turn.process, pattern, op)
  }

  unsubscribe(pattern: string): void {
    this.#turn.assertOpen()
    this.#turn.ports.kernel.unsubscribe(this.#turn.process, pattern)
  }

  transaction<T>(fn: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    return transactInTurn(this.#turn, fn as (tx: unknown) => unknown, options) as Promise<T> // recorded as a Value
  }

  async checkpoint(): Promise<void> {
    assertNoTransaction(this.#turn)
    return checkpointInTurn(this.#turn)
  }
}

export function reasonOf(reason: 'normal' | 'shutdown' | { error: unknown }): ExitReason {
  if (reason === 'normal') return NORMAL
  return reason === 'shutdown' ? SHUTDOWN : crash(errorData(reason.error))
}

function assertTimerName(name: string): void {
  assertLabel('Timer name', name)
  if (name === WAKE) throw new RuntimeError('REQUEST_INVALID', `Timer name "${WAKE}" is used by the runtime itself.`)
}

function readOnly(turn: Turn): RuntimeError {
  return new RuntimeError(
    'VALUE_MUTATED',
    `The state of ${turn.process.id} is read-only inside a step: no replay would repeat the change. ` +
      'Return a value from the step and change the state after it.',
  )
}
