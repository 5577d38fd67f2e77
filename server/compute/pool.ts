/**
 * Threads for CPU work: jobs wait in one queue, in which their owners take turns, and each runs alone on a thread.
 *
 * - Bounded: no more threads than the plan says, started when a job finds none free; no more jobs wait than `queueMax`,
 *   the next one is refused with OVERLOADED. Threads are used again while they are warm, the latest first, so that
 *   those beyond the load go idle and end.
 * - A job that is aborted leaves the queue, or its thread is terminated; no other job is on that thread.
 * - A thread counts until it is gone, so that one that cannot be stopped at once does not become two.
 */
import { RuntimeError } from '../../shared/error.ts'
import { decode, encodeCopied, type Value } from '../../shared/value.ts'
import type { Compute, ComputeJob } from '../definition/compute.ts'
import type { Inference, InferJob } from '../definition/model.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { FairQueue } from './fair-queue.ts'
import { COMPUTE_CHARACTERS_MAX } from './message.ts'
import { type ModelStats, ModelThread } from './model-thread.ts'
import type { ComputePlan } from './option.ts'
import { Thread, type ThreadHost, type ThreadOutcome } from './thread.ts'

/** Ms a thread may be idle. A start costs some 40 ms and the loading of modules, an idle thread some 10 MiB. */
export const IDLE_MS = 30_000

export type ComputeStats = {
  threads: number
  busy: number
  queued: number
  done: number
  failed: number
  /** Threads that were ended in the middle of a job. */
  terminated: number
}

type Waiting = {
  readonly n: number
  readonly job: ComputeJob
  readonly args: string
  readonly abort: () => void
  readonly resolve: (value: Value) => void
  readonly reject: (error: unknown) => void
}

export class ComputePool implements Compute, Inference {
  readonly plan: ComputePlan
  readonly #clock: Clock
  readonly #failed: (what: string, error: unknown) => void
  readonly #host: ThreadHost
  readonly #queue = new FairQueue<Waiting>()
  readonly #threads = new Set<Thread>()
  readonly #busy = new Map<Thread, Waiting>()
  readonly #idle = new Map<Thread, Timer>()
  readonly #models = new Map<string, ModelThread>()
  #count = 0
  #done = 0
  #lost = 0
  #terminated = 0
  #closed = false

  constructor(plan: ComputePlan, clock: Clock, failed: (what: string, error: unknown) => void) {
    this.plan = plan
    this.#clock = clock
    this.#failed = failed
    this.#host = {
      memoryMb: plan.memoryMb,
      over: (thread, outcome, again) => this.#over(thread, outcome, again),
      stray: (thread, error) => this.#stray(thread, error),
      ended: (thread) => this.#ended(thread),
    }
  }

  get stats(): ComputeStats {
    return {
      ...{ threads: this.#threads.size, busy: this.#busy.size, queued: this.#queue.size },
      ...{ done: this.#done, failed: this.#lost, terminated: this.#terminated },
    }
  }

  run(job: ComputeJob): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>()
    const refused = this.#refusal(job)
    if (refused !== null) {
      reject(refused)
      return promise
    }
    const args = encodeCopied(job.args)
    if (args.length > COMPUTE_CHARACTERS_MAX) {
      reject(tooLarge(job, args.length))
      return promise
    }
    const abort = (): void => this.#abort(waiting)
    const waiting: Waiting = { n: ++this.#count, job, args, abort, resolve, reject }
    job.signal.addEventListener('abort', abort, { once: true })
    this.#queue.add(job.owner, waiting)
    this.#next()
    return promise
  }

  /** Of each model that was asked for something. */
  get models(): Record<string, ModelStats> {
    return Object.fromEntries([...this.#models].map(([name, model]) => [name, model.stats]))
  }

  async infer(job: InferJob): Promise<Value> {
    const { name, url } = job.model
    if (this.#closed)
      throw new RuntimeError('RUNTIME_STOPPED', `The runtime was stopped; model ${name} gives no answer.`)
    let thread = this.#models.get(name)
    if (thread === undefined) {
      const host = { clock: this.#clock, memoryMb: this.plan.memoryMb, failed: this.#failed }
      thread = new ModelThread(job.model, host)
      this.#models.set(name, thread)
    }
    if (thread.model.url !== url) {
      const text = `Model ${name} is ${thread.model.url} and ${url}; give one of them another name.`
      throw new RuntimeError('DEFINITION_INVALID', text)
    }
    return thread.infer(job)
  }

  /** Ends everything: what waits or runs is refused with RUNTIME_STOPPED. Resolves when no thread is left. */
  async close(): Promise<void> {
    this.#closed = true
    const open = [...this.#queue.clear(), ...this.#busy.values()]
    this.#terminated += this.#busy.size
    this.#busy.clear()
    for (const timer of this.#idle.values()) timer.cancel()
    this.#idle.clear()
    for (const waiting of open) refuse(waiting, stopped(waiting.job))
    const threads = [...this.#threads].map((thread) => thread.end())
    await Promise.all([...threads, ...[...this.#models.values()].map((model) => model.close())])
  }

  #refusal(job: ComputeJob): unknown {
    const { plan } = this
    if (this.#closed) return stopped(job)
    if (job.signal.aborted) return job.signal.reason
    if (this.#idle.size > 0 || this.#threads.size < plan.threads || this.#queue.size < plan.queueMax) return null
    const text = `${plan.threads} threads are busy and ${this.#queue.size} tasks wait for one, which is the limit`
    const detail = { threads: plan.threads, queued: this.#queue.size, queueMax: plan.queueMax }
    return new RuntimeError('OVERLOADED', `${text}: ${job.name} was not begun.`, { detail })
  }

  /** Jobs get the threads that are free. */
  #next(): void {
    while (this.#queue.size > 0) {
      let thread: Thread | null = null
      let error: unknown = null
      try {
        thread = this.#free()
        if (thread === null) return
      } catch (thrown) {
        error = thrown
      }
      const waiting = this.#queue.take()
      if (waiting === null) return
      if (thread === null) refuse(waiting, notStarted(waiting.job, error))
      else this.#begin(waiting, thread)
    }
  }

  #begin(waiting: Waiting, thread: Thread): void {
    const { n, args, job } = waiting
    this.#busy.set(thread, waiting)
    job.started()
    thread.run({ n, url: job.url, name: job.name, args })
  }

  #free(): Thread | null {
    const warm = [...this.#idle].at(-1)
    if (warm !== undefined) {
      const [thread, timer] = warm
      timer.cancel()
      this.#idle.delete(thread)
      return thread
    }
    if (this.#threads.size >= this.plan.threads) return null
    const thread = new Thread(this.#host)
    this.#threads.add(thread)
    return thread
  }

  #over(thread: Thread, outcome: ThreadOutcome, again: boolean): void {
    const waiting = this.#busy.get(thread)
    this.#busy.delete(thread)
    if (again) this.#rest(thread)
    else void thread.end()
    if (waiting !== undefined) {
      if (outcome.kind === 'done') {
        this.#done += 1
        answer(waiting, decode(outcome.value))
      } else {
        this.#lost += 1
        refuse(waiting, outcome.error)
      }
    }
    this.#next()
  }

  #rest(thread: Thread): void {
    const timer = this.#clock.after(IDLE_MS, () => {
      this.#idle.delete(thread)
      void thread.end()
    })
    timer.keepAlive(false)
    this.#idle.set(thread, timer)
  }

  /** It is not used again; a job that is on it comes to its end. */
  #stray(thread: Thread, error: Error): void {
    this.#failed('code of a compute task that was over', error)
    const timer = this.#idle.get(thread)
    if (timer === undefined) return
    timer.cancel()
    this.#idle.delete(thread)
    void thread.end()
  }

  #ended(thread: Thread): void {
    this.#idle.get(thread)?.cancel()
    this.#idle.delete(thread)
    this.#threads.delete(thread)
    if (!this.#closed) this.#next()
  }

  #abort(waiting: Waiting): void {
    const { signal } = waiting.job
    if (this.#queue.delete(waiting.job.owner, waiting)) return refuse(waiting, signal.reason)
    for (const [thread, busy] of this.#busy) {
      if (busy !== waiting) continue
      this.#busy.delete(thread)
      this.#terminated += 1
      void thread.end()
    }
    refuse(waiting, signal.reason)
  }
}

function answer({ job, abort, resolve }: Waiting, value: Value): void {
  job.signal.removeEventListener('abort', abort)
  resolve(value)
}

function refuse({ job, abort, reject }: Waiting, reason: unknown): void {
  job.signal.removeEventListener('abort', abort)
  reject(reason)
}

function stopped({ name }: ComputeJob): RuntimeError {
  return new RuntimeError('RUNTIME_STOPPED', `The runtime was stopped; ${name} has no result.`)
}

function tooLarge({ name }: ComputeJob, length: number): RuntimeError {
  const text = `The arguments of ${name} have ${length} characters; at most ${COMPUTE_CHARACTERS_MAX} are handed over.`
  return new RuntimeError('VALUE_TOO_LARGE', text)
}

/** The host forbids threads, or has no resources for one more. */
function notStarted({ name }: ComputeJob, cause: unknown): RuntimeError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new RuntimeError('THREAD_ENDED', `No thread could be started for ${name}: ${why}`, { cause })
}
