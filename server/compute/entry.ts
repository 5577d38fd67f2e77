/**
 * What runs in a thread of the pool: loads the module of a job, calls its function, sends back what came of it.
 *
 * - One job at a time. Modules stay loaded, and so does their state: the next job of the thread finds it.
 * - An error that nobody caught is told with the job whose code it was, found by the asynchronous context; so what an
 *   earlier job left behind is not charged to the present one.
 * - Nothing is sent before a macrotask has passed: what a job left rejected in its last tick counts for that job.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MessagePort, workerData } from 'node:worker_threads'
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { clone, copy, decode, encodeCopied } from '../../shared/value.ts'
import { realClock } from '../clock.ts'
import { COMPUTE_CHARACTERS_MAX, type ThreadJob, type ThreadMessage, thrownData } from './message.ts'

type Fn = (...args: unknown[]) => unknown

class Entry {
  readonly #port: MessagePort
  readonly #clock = realClock()
  /** Number of the job whose code runs. */
  readonly #jobs = new AsyncLocalStorage<number>()
  #current: number | null = null

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', (job: ThreadJob) => void this.#jobs.run(job.n, () => this.#run(job)))
    process.on('uncaughtException', (error) => this.#escaped(error))
    process.on('unhandledRejection', (error) => this.#escaped(error))
    const exit = process.exit.bind(process)
    process.exit = (code) => {
      const n = this.#jobs.getStore() ?? this.#current
      if (n === this.#current) exit(code)
      throw new RuntimeError('THREAD_ENDED', `process.exit(${code ?? ''}) after the end of its task`)
    }
  }

  async #run(job: ThreadJob): Promise<void> {
    const { n } = job
    this.#current = n
    let message: ThreadMessage
    try {
      message = { kind: 'done', n, value: await resultOf(job) }
    } catch (error) {
      message = { kind: 'failed', n, error: thrownData(error) }
    }
    await new Promise<void>((resolve) => this.#clock.macrotask(resolve))
    if (this.#current !== n) return // something escaped: it has been said that the job failed
    this.#current = null
    this.#send(message)
  }

  #escaped(error: unknown): void {
    const n = this.#jobs.getStore() ?? this.#current
    if (n === this.#current) this.#current = null
    this.#send({ kind: 'escaped', n, error: thrownData(error) })
  }

  #send(message: ThreadMessage): void {
    this.#port.postMessage(message)
  }
}

async function resultOf({ url, name, args, quiet = false }: ThreadJob): Promise<string> {
  const fn = await load(url, name)
  const given = clone(decode(args)) as readonly unknown[] // the pool sends arrays; they are the function's to change
  const result = await fn(...given)
  if (quiet) return 'null'
  let text: string
  try {
    text = encodeCopied(copy(result === undefined ? null : result))
  } catch (error) {
    if (!isRuntimeError(error, 'VALUE_UNSUPPORTED')) throw error
    const what = `${name} of ${url} returned what cannot be handed over`
    throw new RuntimeError('VALUE_UNSUPPORTED', `${what}: ${error.message}`, { detail: { ...error.detail } })
  }
  if (text.length <= COMPUTE_CHARACTERS_MAX) return text
  const size = `a result of ${text.length} characters; at most ${COMPUTE_CHARACTERS_MAX} are handed over`
  throw new RuntimeError('VALUE_TOO_LARGE', `${name} of ${url} returned ${size}.`)
}

async function load(url: string, name: string): Promise<Fn> {
  let exports: Record<string, unknown>
  try {
    exports = (await import(built(url))) as Record<string, unknown> // a module namespace is a record of its exports
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const text = `Compute module ${url} could not be loaded: ${message}`
    throw new RuntimeError('MODULE_LOAD_FAILED', text, { cause: error })
  }
  const found = Object.hasOwn(exports, name) ? exports[name] : undefined
  if (typeof found === 'function') return found as Fn // what it takes and gives was checked by the compiler
  const names = Object.keys(exports).filter((key) => typeof exports[key] === 'function')
  const what = Object.hasOwn(exports, name) ? `is no function but ${typeof exports[name]}` : 'is not exported'
  const has = names.length === 0 ? 'It exports no function' : `Its functions: ${names.join(', ')}`
  throw new RuntimeError('EXPORT_MISSING', `${name} of ${url} ${what}. ${has}.`)
}

/** Compilers rewrite imports but no URLs: after a build `rank.ts` is `rank.js` in the same place. */
function built(url: string): string {
  const script = url.replace(/\.([mc]?)ts$/, '.$1js')
  return script !== url && !existsSync(fileURLToPath(url)) && existsSync(fileURLToPath(script)) ? script : url
}

const port: unknown = Reflect.get(Object(workerData), 'port')
if (port instanceof MessagePort) new Entry(port)
