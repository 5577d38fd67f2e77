/**
 * One thread of the pool, seen from the runtime: at most one job, each with exactly one outcome.
 *
 * - A thread in which something went wrong that its code did not catch is not used again: who knows what it left.
 * - `end` stops code in the middle of a loop. The thread counts until it is gone (`ended`): native code that cannot be
 *   interrupted holds it, and its core, for as long as it takes.
 */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { RuntimeError } from '../../shared/error.ts'
import { moduleUrl } from '../paths.ts'
import { type ThreadJob, type ThreadMessage, type ThrownData, thrownFrom } from './message.ts'

/** MiB of young-generation heap, V8's default on 64 bits: a flag that makes the runtime's own larger is not for us. */
const YOUNG_MB = 48

export type ThreadOutcome = { kind: 'done'; value: string } | { kind: 'failed'; error: Error }

export type ThreadHost = {
  readonly memoryMb: number
  /** The job is over. `again`: the thread takes another one. */
  over(thread: Thread, outcome: ThreadOutcome, again: boolean): void
  /** Code of a job that was over failed. */
  stray(thread: Thread, error: Error): void
  /** The thread is gone. */
  ended(thread: Thread): void
}

export class Thread {
  readonly #host: ThreadHost
  readonly #worker: Worker
  readonly #port: MessagePort
  #job: ThreadJob | null = null
  #tainted = false
  #ending = false

  constructor(host: ThreadHost) {
    this.#host = host
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#worker = new Worker(moduleUrl('compute/entry'), {
      name: 'vivarium-compute',
      workerData: { port: port2 },
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: host.memoryMb, maxYoungGenerationSizeMb: YOUNG_MB },
    })
    port1.on('message', (message: ThreadMessage) => this.#heard(message))
    this.#worker.on('error', (error) => this.#died(error))
    this.#worker.on('exit', (code) => this.#exited(code))
  }

  run(job: ThreadJob): void {
    this.#job = job
    this.#port.postMessage(job)
  }

  /** Nothing of the job in hand is heard any more. Resolves when the thread is gone; `ended` is told, too. */
  async end(): Promise<void> {
    this.#job = null
    this.#ending = true
    await this.#worker.terminate()
  }

  #heard(message: ThreadMessage): void {
    const { n } = message
    if (message.kind === 'escaped') return this.#escaped(n, message.error)
    if (n !== this.#job?.n) return // given up meanwhile
    if (message.kind === 'done') this.#over({ kind: 'done', value: message.value })
    else this.#over({ kind: 'failed', error: thrownFrom(message.error) })
  }

  #escaped(n: number | null, data: ThrownData): void {
    this.#tainted = true
    const cause = thrownFrom(data)
    const job = this.#job
    if (job === null || (n !== null && n !== job.n)) return this.#host.stray(this, cause)
    this.#fail('THREAD_ENDED', `left an error that nobody caught: ${data.message}`, cause)
  }

  /** It never got to run, it ran out of memory, or native code threw. */
  #died(error: unknown): void {
    this.#tainted = true
    const message = error instanceof Error ? error.message : String(error)
    if (Reflect.get(Object(error), 'code') === 'ERR_WORKER_OUT_OF_MEMORY') {
      const { memoryMb } = this.#host
      this.#fail('OUT_OF_MEMORY', `used up the ${memoryMb} MiB of heap that a thread has`)
    } else this.#fail('THREAD_ENDED', `lost its thread: ${message}`, error)
  }

  #exited(code: number): void {
    // What it said before it left counts.
    for (let left = receiveMessageOnPort(this.#port); left !== undefined; left = receiveMessageOnPort(this.#port)) {
      this.#heard(left.message as ThreadMessage) // of our own entry
    }
    const what = `ended its thread with process.exit(${code})`
    const known = this.#ending || this.#tainted
    this.#tainted = true
    if (this.#job !== null) this.#fail('THREAD_ENDED', what)
    else if (!known) this.#host.stray(this, new RuntimeError('THREAD_ENDED', `It ${what}.`))
    this.#port.close()
    this.#host.ended(this)
  }

  #fail(code: 'OUT_OF_MEMORY' | 'THREAD_ENDED', what: string, cause?: unknown): void {
    if (this.#job === null) return
    const { name, url } = this.#job
    const text = `${name} of ${basename(fileURLToPath(url))} ${what}.`
    this.#over({ kind: 'failed', error: new RuntimeError(code, text, { cause }) })
  }

  #over(outcome: ThreadOutcome): void {
    this.#job = null
    this.#host.over(this, outcome, !this.#tainted)
  }
}
