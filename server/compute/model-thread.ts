/**
 * The one thread of a model: inputs of many agents gather to batches, each a call of `run`.
 *
 * - It starts with the first input, runs `load` once, and stays. One batch is on it at a time; an input waits for
 *   others for `maxWaitMs` at most, or for the batch before it.
 * - When `run` throws for several inputs they run again one by one, so that each has an outcome of its own.
 * - When the thread dies or takes too long its batch fails and what waits stays. It starts again after a pause that
 *   doubles with each failure in a row, and its batches grow from one again: an input that kills it soon dies alone.
 * - An input that is given up leaves the queue. A batch that nobody waits for any more is ended with its thread.
 */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { decode, encodeCopied, type Value } from '../../shared/value.ts'
import type { InferJob, ModelDefinition } from '../definition/model.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { COMPUTE_CHARACTERS_MAX } from './message.ts'
import { Thread, type ThreadOutcome } from './thread.ts'

/** Inputs that may wait; each holds its turn in memory. */
export const MODEL_QUEUE_MAX = 10_000
/** Ms before the first start after a failure, and the most. */
export const RESTART_MS_FIRST = 200
export const RESTART_MS_MAX = 30_000

export type ModelStats = {
  status: 'off' | 'loading' | 'idle' | 'busy' | 'restarting'
  queued: number
  batches: number
  inputs: number
  failed: number
  restarts: number
}

type Request = {
  readonly job: InferJob
  readonly text: string
  readonly at: number
  /** It shares its next batch with nobody. */
  alone: boolean
  readonly abort: () => void
  readonly resolve: (value: Value) => void
  readonly reject: (error: unknown) => void
}

/** What the thread does. */
type State =
  | { kind: 'off' }
  | { kind: 'loading'; thread: Thread }
  | { kind: 'idle'; thread: Thread }
  | { kind: 'busy'; thread: Thread; batch: Request[]; limit: Timer }
  | { kind: 'ending'; thread: Thread; pauseMs: number }
  | { kind: 'pausing'; timer: Timer }

export type ModelHost = {
  readonly clock: Clock
  readonly memoryMb: number
  failed(what: string, error: unknown): void
}

export class ModelThread {
  readonly model: ModelDefinition<unknown>
  readonly #host: ModelHost
  #queue = new Set<Request>()
  #state: State = { kind: 'off' }
  #flush: Timer | null = null
  #count = 0
  /** Inputs of the next batch at most. */
  #size: number
  /** In a row. */
  #failures = 0
  #closed = false
  readonly #stats = { batches: 0, inputs: 0, failed: 0, restarts: 0 }

  constructor(model: ModelDefinition<unknown>, host: ModelHost) {
    this.model = model
    this.#host = host
    this.#size = model.maxBatch
  }

  get stats(): ModelStats {
    const { kind } = this.#state
    const status = kind === 'ending' || kind === 'pausing' ? 'restarting' : kind
    return { status, queued: this.#queue.size, ...this.#stats }
  }

  infer(job: InferJob): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>()
    const text = encodeCopied(job.input)
    const refused = this.#refusal(job, text)
    if (refused !== null) {
      reject(refused)
      return promise
    }
    const abort = (): void => this.#abort(request)
    const request: Request = { job, text, at: this.#host.clock.monotonic(), alone: false, abort, resolve, reject }
    job.signal.addEventListener('abort', abort, { once: true })
    this.#queue.add(request)
    this.#next()
    return promise
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#flush?.cancel()
    const state = this.#state
    if (state.kind === 'pausing') state.timer.cancel()
    if (state.kind === 'busy') state.limit.cancel()
    const open = [...this.#queue, ...(state.kind === 'busy' ? state.batch : [])]
    this.#queue.clear()
    for (const request of open) refuse(request, stopped(this.model.name))
    if ('thread' in state) await state.thread.end()
    this.#state = { kind: 'off' }
  }

  #refusal({ model, signal }: InferJob, text: string): unknown {
    if (this.#closed) return stopped(model.name)
    if (signal.aborted) return signal.reason
    if (text.length > COMPUTE_CHARACTERS_MAX - 4) {
      const size = `has ${text.length} characters; at most ${COMPUTE_CHARACTERS_MAX - 4} are handed over`
      return new RuntimeError('VALUE_TOO_LARGE', `An input of model ${model.name} ${size}.`)
    }
    if (this.#queue.size < MODEL_QUEUE_MAX) return null
    const detail = { queued: this.#queue.size, queueMax: MODEL_QUEUE_MAX }
    const what = `${this.#queue.size} inputs wait for model ${model.name}, which is the limit`
    return new RuntimeError('OVERLOADED', `${what}; this one was not begun.`, { detail })
  }

  /** Whatever can begin now begins. */
  #next(): void {
    const [first] = this.#queue
    if (first === undefined || this.#closed) return
    if (this.#state.kind === 'off') return this.#start()
    if (this.#state.kind !== 'idle') return
    const { clock } = this.#host
    const leftMs = first.at + this.model.maxWaitMs - clock.monotonic()
    const full = first.alone || this.#queue.size >= this.#size
    this.#flush?.cancel()
    this.#flush = null
    if (full || leftMs <= 0) return this.#run(this.#state.thread, this.#take(first))
    this.#flush = clock.after(leftMs, () => this.#next())
  }

  #start(): void {
    const { memoryMb, failed } = this.#host
    try {
      const thread = new Thread({
        memoryMb: this.model.memoryMb ?? memoryMb,
        over: (_thread, outcome, again) => this.#over(outcome, again),
        stray: (_thread, error) => {
          failed(`the thread of model ${this.model.name}`, error)
          if (this.#state.kind === 'idle') this.#end(0)
        },
        ended: () => this.#ended(),
      })
      this.#state = { kind: 'loading', thread }
      thread.run({ n: ++this.#count, url: this.model.url, name: 'load', args: '[]', quiet: true })
    } catch (error) {
      this.#refuseAll(error)
    }
  }

  /** Takes a batch out of the queue: the first one, and what may share with it. */
  #take(first: Request): Request[] {
    const batch: Request[] = []
    let characters = 4 // the brackets around
    for (const request of this.#queue) {
      characters += request.text.length + 1
      if (batch.length > 0 && (first.alone || request.alone || characters > COMPUTE_CHARACTERS_MAX)) break
      if (batch.length === this.#size) break
      this.#queue.delete(request)
      batch.push(request)
    }
    return batch
  }

  #run(thread: Thread, batch: Request[]): void {
    const { timeoutMs } = this.model
    const limit = this.#host.clock.after(timeoutMs, () => {
      this.#lose(batch, new RuntimeError('THREAD_ENDED', `${this.#what()} took longer than ${timeoutMs} ms.`))
    })
    this.#state = { kind: 'busy', thread, batch, limit }
    this.#stats.batches += 1
    this.#stats.inputs += batch.length
    const args = `[[${batch.map(({ text }) => text).join(',')}]]`
    thread.run({ n: ++this.#count, url: this.model.url, name: 'run', args })
  }

  #over(outcome: ThreadOutcome, again: boolean): void {
    const state = this.#state
    if (state.kind === 'loading') return this.#loaded(state.thread, outcome, again)
    if (state.kind !== 'busy') return
    const { thread, batch, limit } = state
    limit.cancel()
    if (outcome.kind === 'failed' && !again) return this.#lose(batch, outcome.error)
    this.#state = { kind: 'idle', thread }
    if (outcome.kind === 'done') this.#answer(batch, decode(outcome.value))
    else if (batch.length === 1) this.#refuse(batch, outcome.error)
    else this.#again(batch)
    if (!again) this.#end(0)
    else this.#next()
  }

  /** One by one, before all others. */
  #again(batch: readonly Request[]): void {
    const wanted = batch.filter(({ job }) => !job.signal.aborted)
    for (const request of wanted) request.alone = true
    this.#queue = new Set([...wanted, ...this.#queue])
  }

  #loaded(thread: Thread, outcome: ThreadOutcome, again: boolean): void {
    // A module without `load` has nothing to load.
    if (again && (outcome.kind === 'done' || isRuntimeError(outcome.error, 'EXPORT_MISSING'))) {
      this.#state = { kind: 'idle', thread }
      return this.#next()
    }
    if (outcome.kind === 'failed') this.#refuseAll(outcome.error)
    this.#fail(outcome.kind === 'failed' ? outcome.error : null)
  }

  #answer(batch: Request[], outputs: Value): void {
    if (!Array.isArray(outputs) || outputs.length !== batch.length) {
      const what = Array.isArray(outputs) ? `${outputs.length} outputs` : 'no array'
      const text = `${this.#what()} answered ${what} for ${batch.length} inputs; it must be one each.`
      return this.#refuse(batch, new RuntimeError('DEFINITION_INVALID', text))
    }
    this.#failures = 0
    this.#size = Math.min(this.model.maxBatch, this.#size * 2)
    for (const [i, request] of batch.entries()) {
      request.job.signal.removeEventListener('abort', request.abort)
      request.resolve(outputs[i] as Value) // as many as there are in the batch
    }
  }

  /** The thread died, or is about to, with this batch. */
  #lose(batch: Request[], error: Error): void {
    this.#refuse(batch, error)
    this.#size = 1
    this.#fail(error)
  }

  #fail(error: Error | null): void {
    this.#failures += 1
    // Where the next attempts come good, nobody else would hear of it.
    if (error !== null) this.#host.failed(`the thread of model ${this.model.name}`, error)
    this.#end(Math.min(RESTART_MS_MAX, RESTART_MS_FIRST * 2 ** (this.#failures - 1)))
  }

  #end(pauseMs: number): void {
    const state = this.#state
    if (!('thread' in state)) return
    if (state.kind === 'busy') state.limit.cancel()
    this.#state = { kind: 'ending', thread: state.thread, pauseMs }
    void state.thread.end()
  }

  #ended(): void {
    if (this.#closed) return
    const pauseMs = this.#state.kind === 'ending' ? this.#state.pauseMs : 0
    this.#stats.restarts += 1
    const over = (): void => {
      this.#state = { kind: 'off' }
      this.#next()
    }
    if (pauseMs === 0) return over()
    const timer = this.#host.clock.after(pauseMs, over)
    timer.keepAlive(false)
    this.#state = { kind: 'pausing', timer }
  }

  #abort(request: Request): void {
    refuse(request, request.job.signal.reason)
    if (this.#queue.delete(request)) return
    const state = this.#state
    if (state.kind !== 'busy' || !state.batch.every(({ job }) => job.signal.aborted)) return
    this.#end(0)
  }

  #refuse(batch: readonly Request[], error: unknown): void {
    this.#stats.failed += batch.length
    for (const request of batch) refuse(request, error)
  }

  #refuseAll(error: unknown): void {
    const open = [...this.#queue]
    this.#queue.clear()
    this.#refuse(open, error)
  }

  #what(): string {
    return `run of ${basename(fileURLToPath(this.model.url))}`
  }
}

function refuse({ job, abort, reject }: Request, reason: unknown): void {
  job.signal.removeEventListener('abort', abort)
  reject(reason)
}

function stopped(name: string): RuntimeError {
  return new RuntimeError('RUNTIME_STOPPED', `The runtime was stopped; model ${name} gives no answer.`)
}
