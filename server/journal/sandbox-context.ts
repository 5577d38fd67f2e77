/**
 * `ctx` in a sandbox copy (E9): verbs that would reach others at the end of the turn are noted instead, with what they
 * would have done; verbs that wait for others say what they would ask.
 *
 * - What the code passes on a replay is the same as outside: keys and names are counted alike.
 */
import { assertKey, type ProcessId, processId } from '../../shared/id.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { AnyAgent } from '../definition/agent.ts'
import type { Call, CallOptions } from '../definition/call.ts'
import type { ComputeAsked, ComputeName, ComputeResult } from '../definition/compute.ts'
import type { ParentClose, SpawnOptions, StartedOperation, TaskHandle } from '../definition/context.ts'
import type { InferOptions, ModelDefinition, ModelInput, ModelOutput } from '../definition/model.ts'
import { makeRef, type Ref } from '../definition/ref.ts'
import type { ExternalStepOptions, StepInfo, StepOptions } from '../definition/step.ts'
import type { Transaction, TransactionOptions } from '../definition/transaction.ts'
import { checkMessage } from './border.ts'
import { nameHere } from './branch.ts'
import { DurableContext } from './context.ts'
import { shownProgress } from './progress.ts'
import type { SandboxTurn } from './sandbox-turn.ts'
import { taskAsked } from './task-step.ts'
import { unknownAgent } from './turn-call.ts'
import type { StepFn } from './turn-step.ts'
import { assertCloses, nameTaken } from './turn-tie.ts'

export class SandboxContext extends DurableContext {
  readonly #turn: SandboxTurn

  constructor(turn: SandboxTurn) {
    super(turn)
    this.#turn = turn
  }

  override call<T>(call: Call<T>, options?: CallOptions): Promise<T> {
    const ask = (): Promise<T> => super.call(call, options)
    const target = this.#turn.ports.agent(call.agent)
    if (target === null) return ask() // refused as anywhere
    if (target.code.queries.has(call.op)) return this.#turn.about('read', ask)
    const { args } = checkMessage(target, call.op, call.message)
    return this.#turn.about({ what: `call ${call.target} ${call.op}`, args: shownProgress(args) }, ask)
  }

  override step<T>(name: string, fn: StepFn, options?: StepOptions | ExternalStepOptions): Promise<T> {
    return this.#turn.about({ what: `step ${name}`, args: null }, () => super.step(name, fn, options))
  }

  override task<T>(name: string, fn: (info: StepInfo) => T | Promise<T>): TaskHandle<T>
  override task<M, K extends ComputeName<M>>(...asked: ComputeAsked<M, K>): TaskHandle<ComputeResult<M, K>>
  override task(...asked: Parameters<typeof taskAsked>): TaskHandle<never> {
    const task = taskAsked(...asked)
    const args = task.kind === 'here' ? null : shownProgress(task.args)
    return this.#turn.about({ what: `task ${task.name}`, args }, () => this.taskOf(task))
  }

  override infer<M>(model: ModelDefinition<M>, input: ModelInput<M>, options?: InferOptions): Promise<ModelOutput<M>> {
    const about = { what: `infer ${model.name}`, args: shownProgress(copy(input)) }
    return this.#turn.about(about, () => super.infer(model, input, options))
  }

  override start(
    definition: AnyAgent,
    key: string,
    op: string,
    message: unknown = null,
    options: { idempotencyKey?: string; parentClose?: ParentClose } = {},
  ): Promise<StartedOperation> {
    const about = { what: `start ${definition.name}/${key} ${op}`, args: shownProgress(copy(message)) }
    return this.#turn.about(about, () => super.start(definition, key, op, message, options))
  }

  override transaction<T>(fn: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    return this.#turn.about({ what: 'transaction', args: null }, () => super.transaction(fn, options))
  }

  override send(call: Call<unknown>): void {
    const turn = this.#turn
    turn.assertOpen()
    call.used = true
    const agent = turn.ports.agent(call.agent)
    if (agent === null) throw unknownAgent(call)
    const { args } = checkMessage(agent, call.op, call.message)
    turn.checkSend(() => {}) // refusals that are recorded are heard again
    this.#note('send', call.target, call.op, args)
    if (!agent.definition.durable) return
    const { outbox } = turn
    outbox.withheldSent = (outbox.withheldSent ?? 0) + 1
  }

  override publish(topic: string, message: unknown): void {
    this.#note('publish', topic, null, copy(message ?? null))
  }

  override spawn<D extends AnyAgent>(definition: D, key?: string, options: SpawnOptions = {}): Ref<D> {
    const turn = this.#turn
    turn.assertOpen()
    const childKey = key ?? `${nameHere(turn)}.${++turn.spawned}`
    assertKey(childKey)
    const id = processId(definition.name, childKey)
    assertCloses(definition, id, options.parentClose)
    this.#note('spawn', id)
    if (options.link === true) this.#note('link', id)
    if (options.monitor === true) this.monitor(id)
    return makeRef(definition, childKey, this)
  }

  override link(id: ProcessId): void {
    this.#note('link', id)
  }

  override unlink(id: ProcessId): void {
    this.#note('unlink', id)
  }

  override monitor(id: ProcessId): string {
    const turn = this.#turn
    turn.assertOpen()
    const place = turn.key(`monitor:${id}`)
    this.#note('monitor', id)
    return turn.isHook ? `activated.${turn.incarnation}.${place}` : `${nameHere(turn)}.${place}`
  }

  override demonitor(_ref: string): void {
    this.#turn.assertOpen()
  }

  /** The name is the original's where that holds it: here it is nobody's. */
  override async register(name: string): Promise<void> {
    const holder = await this.whereis(name)
    const { process, record } = this.#turn
    if (holder !== null && holder !== process.id && holder !== record.sandbox) throw nameTaken(name, holder)
    this.#note('register', name)
  }

  override unregister(name: string): void {
    this.#note('unregister', name)
  }

  override whereis(name: string): Promise<ProcessId | null> {
    return this.#turn.about('read', () => super.whereis(name))
  }

  override subscribe(pattern: string, op: string): void {
    checkMessage(this.#turn.agent, op, null)
    this.#note('subscribe', pattern, op)
  }

  override unsubscribe(_pattern: string): void {
    this.#turn.assertOpen()
  }

  #note(what: Parameters<SandboxTurn['withhold']>[0]['what'], target: string, op?: string | null, args?: Value): void {
    this.#turn.withhold({ what, target, op: op ?? null, args: args ?? null })
  }
}
