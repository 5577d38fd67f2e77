/**
 * Tasks: one function in a process of its own, whose result belongs to the process that started it.
 *
 * - K60: the result is a copy; only the owner may wait for it; it is handed out once.
 * - K61: a linked task and its owner die with each other; an unlinked one reports its crash to whoever waits.
 * - K62: `await` that ran out of time gives the result up, nothing late arrives; `yield` may be repeated;
 *   `shutdown` ends the task and still hands out a result that made it.
 * - K63: a stream runs at most `maxConcurrency` at once, in order unless told otherwise; leaving it early ends what
 *   still runs.
 */
import { errorData, RuntimeError } from '../../shared/error.ts'
import { clone, type Value } from '../../shared/value.ts'
import { assertTimeout, CALL_TIMEOUT_MS } from './call.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, exitText, KILL, NORMAL, SHUTDOWN } from './exit.ts'
import type { Kernel } from './kernel.ts'
import type { Behaviour, Process } from './process.ts'
import { shutdownChild } from './shutdown.ts'

export type TaskFn = (signal: AbortSignal) => unknown

export type TaskOptions = {
  /** Default true: the task dies with its owner and the owner with a crash of the task. */
  link?: boolean
  name?: string
}

export type StreamOptions = {
  maxConcurrency?: number
  ordered?: boolean
  timeoutMs?: number | null
  /** `exit`: a timeout ends the stream with AWAIT_TIMEOUT; `kill`: only that task. */
  onTimeout?: 'exit' | 'kill'
}

export type TaskResult = { kind: 'ok'; value: Value } | { kind: 'exit'; reason: ExitReason }

/** As Elixir's Task.Supervisor on a small machine; tasks wait for I/O more than they compute. */
export const STREAM_CONCURRENCY = 4

/** Runs its function as the one turn of its life. */
class TaskBehaviour implements Behaviour {
  readonly durable = false
  readonly #kernel: Kernel
  readonly #fn: TaskFn
  readonly #abort = new AbortController()
  result: Value | undefined

  constructor(kernel: Kernel, fn: TaskFn) {
    this.#kernel = kernel
    this.#fn = fn
  }

  init(process: Process): void {
    process.state = this
  }

  async turn(process: Process, envelope: Envelope): Promise<void> {
    if (envelope.op !== RUN) return
    const value = await this.#fn(this.#abort.signal)
    this.result = value === undefined ? null : clone(value)
    process.tie().stop = { reason: NORMAL, behind: 0, begun: false }
  }

  exited(): void {
    // Listeners are user code: they must not run inside the death of the process.
    this.#kernel.ports.clock.microtask(() => this.#abort.abort())
  }
}

const RUN = 'run'

export class Task {
  readonly process: Process
  readonly owner: Process | null
  readonly #kernel: Kernel
  readonly #behaviour: TaskBehaviour
  #taken = false

  constructor(kernel: Kernel, owner: Process | null, fn: TaskFn, options: TaskOptions = {}) {
    this.owner = owner
    this.#kernel = kernel
    this.#behaviour = new TaskBehaviour(kernel, fn)
    const key = options.name === undefined ? kernel.newKey() : `${options.name}-${kernel.newKey()}`
    this.process = kernel.spawn({
      id: `task/${key}`,
      key,
      agent: null,
      kind: 'task',
      behaviour: this.#behaviour,
      parent: owner,
      ...(owner !== null && options.link !== false ? { link: owner } : {}),
    })
    kernel.send(this.process.id, RUN, null, { from: owner })
  }

  /** @throws AWAIT_TIMEOUT (the result is given up) TASK_FAILED REQUEST_INVALID (not the owner, taken already) */
  async await(timeoutMs: number = CALL_TIMEOUT_MS, by: Process | null = this.owner): Promise<Value> {
    const result = await this.yield(timeoutMs, by)
    if (result === null) {
      this.#taken = true
      throw new RuntimeError('AWAIT_TIMEOUT', `${this.process.id} was not done in ${timeoutMs} ms.`)
    }
    if (result.kind === 'ok') return result.value
    throw failed(this.process, result.reason)
  }

  /** Null when the time is over; may be repeated then. */
  async yield(timeoutMs: number = CALL_TIMEOUT_MS, by: Process | null = this.owner): Promise<TaskResult | null> {
    assertTimeout(timeoutMs)
    this.#assertMine(by)
    const { owner } = this
    const clock = this.#kernel.ports.clock
    const { promise, resolve } = Promise.withResolvers<TaskResult | null>()
    const timer = clock.after(timeoutMs, () => resolve(null))
    if (owner !== null) {
      const since = clock.now()
      owner.wait = { kind: 'task', target: this.process.id, since, deadline: since + timeoutMs, attempt: 1 }
    }
    const mine = owner?.wait ?? null
    this.#kernel.lifecycle.whenDead(this.process, (reason) => resolve(this.peek(reason)))
    const result = await promise
    timer.cancel()
    if (owner !== null && owner.wait === mine) owner.wait = null
    if (result !== null) this.#taken = true
    return result
  }

  /** Ends the task; its result when it made it, else null. Never tells a linked owner of the end it asked for. */
  async shutdown(how: number | 'kill' = CALL_TIMEOUT_MS): Promise<TaskResult | null> {
    this.#assertMine(this.owner)
    this.#taken = true
    const { process } = this
    if (this.owner !== null) this.#kernel.unlink(process, this.owner)
    if (how === 'kill') this.#kernel.exitSignal({ from: process, to: process, reason: KILL, viaLink: false })
    else this.#kernel.exitSignal({ from: process, to: process, reason: SHUTDOWN, viaLink: false })
    if (!process.gone) await shutdownChild(this.#kernel, process, how)
    return this.#behaviour.result === undefined ? null : { kind: 'ok', value: this.#behaviour.result }
  }

  /** Lets the result go: nobody will ask for it. */
  ignore(): void {
    this.#taken = true
  }

  /** What came of it, without taking it. */
  peek(reason: ExitReason): TaskResult {
    const { result } = this.#behaviour
    return result === undefined ? { kind: 'exit', reason } : { kind: 'ok', value: result }
  }

  #assertMine(by: Process | null): void {
    if (by !== this.owner) {
      const owner = this.owner?.id ?? 'nobody'
      throw new RuntimeError(
        'REQUEST_INVALID',
        `${this.process.id} belongs to ${owner}; only its owner can wait for it.`,
      )
    }
    if (this.#taken) {
      throw new RuntimeError('REQUEST_INVALID', `The result of ${this.process.id} was handed out or given up already.`)
    }
  }
}

/** Results in the order of `items` (or of completion), at most `maxConcurrency` tasks at once.
 *  @throws AWAIT_TIMEOUT TASK_FAILED (linked tasks: the owner dies with it) */
export async function* taskStream<T>(
  kernel: Kernel,
  owner: Process | null,
  items: Iterable<T>,
  fn: (item: T, signal: AbortSignal) => unknown,
  options: StreamOptions & TaskOptions = {},
): AsyncGenerator<TaskResult, void, void> {
  const {
    maxConcurrency = STREAM_CONCURRENCY,
    ordered = true,
    timeoutMs = CALL_TIMEOUT_MS,
    onTimeout = 'exit',
  } = options
  if (!Number.isInteger(maxConcurrency) || maxConcurrency < 1) {
    throw new RuntimeError('REQUEST_INVALID', `maxConcurrency is ${maxConcurrency}; use a whole number of 1 or more.`)
  }
  type Running = { task: Task; settled: Promise<{ running: Running; result: TaskResult | null }> }
  const rest = items[Symbol.iterator]()
  const running: Running[] = []
  const fill = (): void => {
    while (running.length < maxConcurrency) {
      const next = rest.next()
      if (next.done === true) return
      const task = new Task(kernel, owner, (signal) => fn(next.value, signal), options)
      const item: Running = {
        task,
        settled: settle(kernel, task, timeoutMs).then((result) => ({ running: item, result })),
      }
      running.push(item)
    }
  }
  try {
    for (fill(); running.length > 0; fill()) {
      const head = running[0] as Running // the loop's condition
      const done = await (ordered ? head.settled : Promise.race(running.map((item) => item.settled)))
      running.splice(running.indexOf(done.running), 1)
      if (done.result !== null) yield done.result
      else {
        await done.running.task.shutdown('kill')
        if (onTimeout === 'exit') {
          throw new RuntimeError('AWAIT_TIMEOUT', `A task of the stream was not done in ${timeoutMs} ms.`)
        }
        yield { kind: 'exit', reason: { kind: 'crash', error: errorData(timedOut(timeoutMs)) } }
      }
    }
  } finally {
    await Promise.all(running.map(({ task }) => task.shutdown('kill')))
  }
}

function timedOut(timeoutMs: number | null): RuntimeError {
  return new RuntimeError('AWAIT_TIMEOUT', `The task was not done in ${timeoutMs} ms.`)
}

/** The end of a task without taking its result; null when the time is over first. */
function settle(kernel: Kernel, task: Task, timeoutMs: number | null): Promise<TaskResult | null> {
  const { promise, resolve } = Promise.withResolvers<TaskResult | null>()
  const timer = timeoutMs === null ? null : kernel.ports.clock.after(timeoutMs, () => resolve(null))
  kernel.lifecycle.whenDead(task.process, (reason) => {
    timer?.cancel()
    resolve(task.peek(reason))
  })
  return promise
}

function failed(process: Process, reason: ExitReason): RuntimeError {
  const cause = reason.kind === 'crash' ? reason.error : null
  return new RuntimeError('TASK_FAILED', `${process.id} failed: ${exitText(reason)}`, { detail: { reason, cause } })
}
