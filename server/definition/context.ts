/**
 * What a handler can do: the `ctx` of agents, durable and ephemeral alike. Types only.
 *
 * - For durable agents everything a turn does - state, sends, spawns, timers - takes effect with its commit, all or
 *   nothing (PROTOCOL T1, M1). For ephemeral agents it takes effect at once.
 * - After the turn every verb throws CONTEXT_CLOSED.
 */
import type { ErrorData } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { DownSignal, ExitSignal } from '../kernel/envelope.ts'
import type { ExitReason } from '../kernel/exit.ts'
import type { AgentDefinition, AnyAgent } from './agent.ts'
import type { Call, CallOptions } from './call.ts'
import type { ComputeAsked, ComputeName, ComputeResult } from './compute.ts'
import type { InferOptions, ModelDefinition, ModelInput, ModelOutput } from './model.ts'
import type { Ref } from './ref.ts'
import type { ExternalStepInfo, ExternalStepOptions, StepInfo, StepOptions } from './step.ts'
import type { StreamOut } from './stream.ts'
import type { Transaction, TransactionOptions } from './transaction.ts'

export type Log = {
  debug(message: string, data?: unknown): void
  info(message: string, data?: unknown): void
  warn(message: string, data?: unknown): void
  error(message: string, data?: unknown): void
}

export type MessageInfo = {
  /** The same on replay; null only in ephemeral agents and outside a message. */
  id: string | null
  op: string
  from: ProcessId | null
  /** Epoch ms at which it was sent. */
  at: number
  /** 1 for the first delivery. Differs between attempts: do not let recorded work depend on it. */
  attempt: number
  kind: 'call' | 'send' | 'timer' | 'exit' | 'down' | 'topic'
}

export type MessagePattern = string | readonly string[] | ((op: string, message: unknown) => boolean)

export type ReceiveOptions = {
  /** Milliseconds, counted from the first attempt, up to 100 years. No default: for ever. */
  timeoutMs?: number
}

/** A message that a turn took out of its mailbox. */
export type Received<M = unknown> = {
  readonly id: string
  readonly kind: MessageInfo['kind']
  readonly op: string
  readonly message: M
  readonly from: ProcessId | null
  /** Epoch ms at which it was sent. */
  readonly at: number
  /** Answers a call; the caller hears it with the end of the turn or its next checkpoint. Ignored for all others, and
   *  the second time. A call that gets none hears CALL_UNANSWERED. */
  reply(value?: unknown): void
}

/** An operation that was started by a turn. */
export type StartedOperation = {
  readonly process: ProcessId
  /** Under which it is found again: `runtime.handle(agent, key, idempotencyKey)`. */
  readonly key: string
  /** False when it had been started before. */
  readonly created: boolean
  /** Its result, recorded when it is first heard. @throws the error the operation ended with  @throws REQUEST_UNKNOWN
   *  it ended more than 30 days ago */
  result(): Promise<unknown>
  /** Asks for its end, once, whatever dies meanwhile; false when it was over before. Not begun, it is taken back; else
   *  its code hears CANCELLED at a wait. `result()` then tells what became of it. */
  cancel(reason?: string): Promise<boolean>
}

/** What becomes of an operation that a turn started when the turn ends, however it ends. `detach`: nothing, it goes on.
 *  `stop`: it is cancelled, unless the turn has heard its result. `wait`: the turn, and whoever waits for it, ends
 *  after it. */
export type ParentClose = 'detach' | 'stop' | 'wait'

export type SpawnOptions = {
  link?: boolean
  monitor?: boolean
  /** What becomes of a durable child when this process ends and no restart follows, however that comes. `detach`, the
   *  default: nothing. `stop`: the commit of that end sends it an exit signal with the reason `shutdown`, which ends it
   *  unless it traps exits. A crash that is followed by another life leaves it alone, unlike `link`. */
  parentClose?: Exclude<ParentClose, 'wait'>
}

export type ScopeOptions = {
  /** Milliseconds until everything in it is cancelled, from its beginning on and through crashes; up to 100 years. No
   *  default: for ever. */
  timeoutMs?: number
}

/** A section of a turn, see `ctx.scope`. */
export type Scope = {
  /** Cancels everything in it, once; without effect when it was left. */
  cancel(reason?: string): void
}

export type TaskHandle<T> = {
  /** @throws STEP_FAILED  the task crashed; its cause says why */
  result(): Promise<T>
}

export interface Context<S> {
  readonly id: ProcessId
  readonly key: string
  readonly incarnation: number
  /** Draft of the state inside handlers of durable agents; read-only in steps and queries. */
  state: S
  readonly message: MessageInfo
  /** Aborted when the process is killed or stopped while the turn is open. */
  readonly signal: AbortSignal
  readonly log: Log

  /** A typed reference; nothing is started or sent by it. */
  ref<D extends AnyAgent>(definition: D, key: string): Ref<D>
  /** A step that stays open after `fn` returned until somebody completes or fails it with `info.token`. `fn` hands the
   *  token out and may be retried; an outcome from outside is final. Once it is handed out the turn only waits: ten
   *  thousand of them cost rows and no memory. Durable agents only. */
  step<T = unknown>(name: string, fn: (info: ExternalStepInfo) => unknown, options: ExternalStepOptions): Promise<T>
  /** Runs `fn` once for good: its result is in the journal before anything later begins. At least once with a
   *  stable idempotency key when the process dies while it runs. In ephemeral agents it is a plain call with retries.
   *  A step that still runs when the turn ends is given up: its signal is aborted and nothing of it is recorded.
   *  @throws STEP_FAILED after the last attempt  @throws STEP_KEY_REQUIRED for a second open step of one name
   *  @throws REQUEST_INVALID an option is out of its bounds  @throws STEP_ABANDONED the turn ended first */
  step<T>(name: string, fn: (info: StepInfo) => T | Promise<T>, options?: StepOptions): Promise<T>
  /** A stream of this process, which outlives the turn: `runtime.stream(id, name)`, feed and HTTP read it live and from
   *  any position. Exempt from the turn's all or nothing (StreamOut). Steps write with `info.stream`. Durable agents
   *  only. @throws REQUEST_INVALID  a name with "/", the wrong place, or an ephemeral agent */
  stream(name: string): StreamOut
  /** Epoch ms; the same on replay and never running backwards inside a turn (PROTOCOL V5). */
  now(): number
  /** Whether this turn goes on with the code behind the change `id`: false where it is replayed and was recorded
   *  without it, true otherwise and then on every replay. The first answer holds for the turn. When no turn from before
   *  the change is open any more, the old branch and the call may go. Always true in ephemeral agents. */
  patched(id: string): boolean
  /** Uniform in [0, 1); the same on replay. */
  random(): number
  /** RFC 9562 version 4 text; the same on replay. */
  uuid(): string
  /** Lets time pass; durable agents may sleep for years, through crashes, moves and deploys: the due time is recorded
   *  once, and `now` is then the recorded time of waking. In ephemeral agents the process must live on.
   *  @throws REQUEST_INVALID below 0 or above 100 years */
  sleep(ms: number): Promise<void>
  /** Like `sleep`, until an instant; one that is past ends at once. @throws REQUEST_INVALID */
  sleepUntil(at: number | Date): Promise<void>
  /** Takes the first message that fits out of the mailbox, or waits for one; all others stay in their order. A pattern
   *  is an operation, a list of them, or a predicate over operation and message, which must be pure: it may be asked
   *  again, and on another node. Without a pattern any message fits; exit and down signals never do.
   *
   *  What was received is consumed by the commit that makes it count, that of the turn's end or of a checkpoint; a turn
   *  that ends without one puts it back in its place. Replays are given the same message. Rather give it a time than
   *  let it race: a receive that lost a race goes on waiting and takes the next message, unless it is in a `ctx.scope`
   *  that was left. Durable agents only.
   *  @throws OPERATION_UNKNOWN  an operation that the agent does not define */
  receive<M = unknown>(pattern?: MessagePattern): Promise<Received<M>>
  /** The same; null when nothing came in time. */
  receive<M = unknown>(pattern: MessagePattern | undefined, options: ReceiveOptions): Promise<Received<M> | null>
  /** Calls with options; `await ref.op(x)` is the short form. Exactly once between durable agents (M2). A call that is
   *  given up is taken back if it had not begun: `detail.outcome` of CALL_TIMEOUT says `withdrawn` or `unknown` (M3).
   *  Calls of one operation to one process that are open at once need a `key` each (T5); it does nothing in ephemeral
   *  agents.
   *  @throws CALL_TIMEOUT CALL_REJECTED CALL_CYCLE DEAD_LETTERED PROCESS_NOT_FOUND MAILBOX_FULL STEP_KEY_REQUIRED */
  call<T>(call: Call<T>, options?: CallOptions): Promise<T>
  /** Starts an operation of a durable agent that outlives this turn, once, whatever dies: under a key that the caller
   *  chose, or one that follows from the turn. Its result may be awaited here, or anywhere by its key.
   *  `parentClose` makes it a child of this turn: stopped with it, or waited for; default `detach`.
   *  @throws STEP_FAILED  with KEY_CONFLICT, OPERATION_UNKNOWN ... as its cause */
  start<D extends AnyAgent>(
    definition: D,
    key: string,
    op: keyof D['on'] & string,
    message?: unknown,
    options?: { idempotencyKey?: string; parentClose?: ParentClose },
  ): Promise<StartedOperation>
  /** Sends without waiting; leaves with the commit of this turn. @throws MAILBOX_FULL OPERATION_UNKNOWN */
  send(call: Call<unknown>): void
  /** Answers the current call; the caller hears it with the commit. The handler's own result is ignored then. */
  reply(value: unknown): void
  /** Sends `op` to this process after `ms`. Durable for durable agents. The same `name` replaces the earlier timer. */
  after(ms: number, op: string, message?: unknown, options?: { name?: string }): string
  /** False when no such timer is armed; a fired but not yet handled one is dropped. */
  cancel(timer: string): boolean
  /** Starts a process below this one. For durable agents with the commit; a failed start arrives as exit signal.
   *  @throws REQUEST_INVALID  `parentClose: 'stop'` between others than durable agents */
  spawn<D extends AnyAgent>(definition: D, key?: string, options?: SpawnOptions): Ref<D>
  /** Runs a function as a process of its own below this one, beside the turn; it ends with the turn. In durable turns
   *  its result is recorded like a step's. */
  task<T>(name: string, fn: (info: StepInfo) => T | Promise<T>): TaskHandle<T>
  /** Runs an exported function of a compute module on a thread of the pool, so that no agent waits for its CPU. At
   *  least once: it begins anew when the node dies before its result is recorded. Arguments and result are copies.
   *  It waits for a free thread, ends in the middle of a loop when the turn, its time limit or an operator ends it, and
   *  has no `ctx`. Parallel tasks of one name need a `key` each.
   *  @throws VALUE_UNSUPPORTED  an argument is no plain value  @throws REQUEST_INVALID  an option is out of its bounds
   *  `result()` throws STEP_FAILED; its cause is what the function threw, or OVERLOADED MODULE_LOAD_FAILED
   *  EXPORT_MISSING VALUE_UNSUPPORTED VALUE_TOO_LARGE OUT_OF_MEMORY THREAD_ENDED STEP_TIMEOUT TASK_FAILED (killed) */
  task<M, K extends ComputeName<M>>(...asked: ComputeAsked<M, K>): TaskHandle<ComputeResult<M, K>>
  /** Asks a model: one input, which shares a call of `run` with those that others ask for at the same time. A step,
   *  with a step's policy: three attempts, recorded once. Parallel ones of one model need a `key` each.
   *  @throws STEP_FAILED  its cause is what `load` or `run` threw, or OVERLOADED OUT_OF_MEMORY THREAD_ENDED
   *  MODULE_LOAD_FAILED EXPORT_MISSING DEFINITION_INVALID VALUE_UNSUPPORTED VALUE_TOO_LARGE STEP_TIMEOUT
   *  @throws VALUE_UNSUPPORTED  the input is no plain value  @throws REQUEST_INVALID  an option is out of its bounds */
  infer<M>(model: ModelDefinition<M>, input: ModelInput<M>, options?: InferOptions): Promise<ModelOutput<M>>
  /** Ties both ends: when one ends abnormally, the other ends too, or hears of it at `onExit` where it traps exits.
   *  Ties of durable agents leave with the commit, survive passivation and node death, and end with the incarnation.
   *  @throws LINK_NO_PROCESS  an ephemeral process that is not alive; a durable one is heard of as `noproc` */
  link(id: ProcessId): void
  unlink(id: ProcessId): void
  /** One `down` signal when the target's incarnation ends, `noproc` when there is none. Returns the reference for
   *  demonitor; it comes back in the signal. */
  monitor(id: ProcessId): string
  demonitor(ref: string): void
  /** Takes a name for this incarnation: it is free again when the incarnation ends. Names of durable agents are unique
   *  in the namespace and leave with the commit; those of ephemeral ones are of this node.
   *  @throws NAME_TAKEN  with the holder in `detail` */
  register(name: string): Promise<void>
  unregister(name: string): void
  /** Who holds the name, passive or alive; null when nobody does. Recorded in durable turns. */
  whereis(name: string): Promise<ProcessId | null>
  /** Ends this process at the end of the turn with the reason; default normal. */
  exit(reason?: 'normal' | 'shutdown' | { error: unknown }): void
  /** While true, exit signals of linked processes arrive at `onExit` instead of ending this one. */
  trapExit(on: boolean): void
  /** Best effort for durable agents (M8): leaves with the commit, reaches who subscribes then. */
  publish(topic: string, message: unknown): void
  /** `op` gets what is published on topics that match: `orders.*` one segment, `orders.>` the rest. */
  subscribe(pattern: string, op: string): void
  unsubscribe(pattern: string): void
  /** Registers what takes back an effect of this turn; rather before the step that has the effect than after it. When
   *  the turn fails for good (in its last attempt, before it becomes a dead letter), is rejected or is cancelled, what
   *  was registered runs in reverse, each as a recorded step with retries and an idempotency key, through crashes and
   *  moves. One that fails for good leaves a failure record and does not stop the others. A turn that succeeds runs
   *  none; nor does one that is dropped by an operator or buried as suspected poison: its dead letter names them.
   *  Durable agents only.
   *  @throws REQUEST_INVALID  inside a step, in `activated`, an option out of its bounds */
  onRollback(name: string, fn: (info: StepInfo) => unknown, options?: StepOptions): void
  /** Runs `fn` with this turn protected from cancellation: one that comes meanwhile is heard at the first wait after
   *  the section, also on replay. In ephemeral agents, which nobody cancels, it is a plain call. */
  shield<T>(fn: () => T | Promise<T>): Promise<T>
  /** Runs `fn` as a section that is cancelled alone: when its time limit passes, or by `scope.cancel`. Every step,
   *  sleep, receive and call in it that is open then ends with CANCELLED (`detail.reason` says why), as does what is
   *  asked for in it later; what it started with `parentClose: 'stop'` is cancelled. A checkpoint, a transaction and
   *  the begin of an operation come to their outcome, and nothing is cut off inside `ctx.shield`: do cleanup there, or
   *  after the section. Await what you begin in it. Scopes nest. When `fn` is done, whatever it left open is given up:
   *  a receive that lost a race takes no message any more. Uncaught, the error fails the turn. A replay hears all of it
   *  at the same places. Durable agents only.
   *  @throws what `fn` throws  @throws REQUEST_INVALID an option that does not exist or is out of its bounds */
  scope<T>(options: ScopeOptions, fn: (scope: Scope) => T | Promise<T>): Promise<T>
  /** Commits state and outbox so far; a replay begins here (T2). Resolves once stored. */
  checkpoint(): Promise<void>
  /** A checkpoint whose commit also carries SQL of your own: state and outbox so far, the result of `fn`, and your rows
   *  are stored together or not at all (T2). `tx` is a Drizzle transaction on the database of the runtime. `fn` is SQL
   *  and nothing else: it runs again when two writers meet, and not at all once it is committed; a replay is given the
   *  recorded result. Inside, state can be read and no verb be used. An error rolls everything back; the turn may catch
   *  it and go on. Take `ctx.state` anew afterwards. Durable agents only.
   *  @throws TRANSACTION_FAILED  with what `fn` threw as its cause  @throws TRANSACTION_CONTENDED TRANSACTION_TIMEOUT
   *  @throws TRANSACTION_OPEN  a verb inside, or a second one beside it  @throws TRANSACTION_UNSUPPORTED */
  transaction<T>(fn: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T>
}

export type Signals<S> = {
  onExit?: (ctx: Context<S>, signal: ExitSignal) => unknown
  onDown?: (ctx: Context<S>, signal: DownSignal) => unknown
  terminate?: (ctx: Context<S>, reason: ExitReason) => unknown
}

export type { ExternalStepInfo, ExternalStepOptions, RetryPolicy } from './step.ts'
export type { AgentDefinition, DownSignal, ErrorData, ExitReason, ExitSignal, StepInfo, StepOptions }
