/**
 * The loop of a supervisor: one thing at a time, in order, driven by the run queue (S3).
 *
 * - What is added never runs inside the caller: a child's death does not run its restart on the same stack.
 * - When the process dies, what waits is cancelled and nothing new is taken.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Kernel } from './kernel.ts'
import type { Process } from './process.ts'

type Work = { run: () => void | Promise<void>; cancel: (() => void) | null }

export class Loop {
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #epoch: number
  #work: Work[] = []
  #busy = false

  constructor(kernel: Kernel, process: Process) {
    this.#kernel = kernel
    this.#process = process
    this.#epoch = process.epoch
  }

  get live(): boolean {
    return this.#process.alive && this.#process.epoch === this.#epoch
  }

  get busy(): boolean {
    return this.#busy
  }

  add(run: () => void | Promise<void>): void {
    this.#work.push({ run, cancel: null })
    this.#wake()
  }

  /** Runs `fn` in its turn and hands back the result. @throws PROCESS_NOT_FOUND when the supervisor ended before */
  ask<T>(fn: () => T | Promise<T>): Promise<T> {
    return this.#ask(fn, false, () => gone(this.#process))
  }

  /** Before everything that waits. Resolves also when the process dies first. */
  urgent(fn: () => Promise<void>): Promise<void> {
    return this.#ask(fn, true, null)
  }

  /** Runs `fn` now and lets everything else wait for it. */
  async hold<T>(fn: () => Promise<T>): Promise<T> {
    this.#busy = true
    try {
      return await fn()
    } finally {
      this.#busy = false
      this.#wake()
    }
  }

  pump(): void {
    while (!this.#busy) {
      if (!this.live) return this.#cancelAll()
      const work = this.#work.shift()
      if (work === undefined) return
      try {
        const result = work.run()
        if (result instanceof Promise) this.#finish(result)
      } catch (error) {
        this.#kernel.crashProcess(this.#process, error)
      }
    }
  }

  #finish(result: Promise<void>): void {
    this.#busy = true
    const next = (): void => {
      this.#busy = false
      this.#wake()
    }
    result.then(next, (error: unknown) => {
      if (this.live) this.#kernel.crashProcess(this.#process, error)
      next()
    })
  }

  #ask<T>(fn: () => T | Promise<T>, first: boolean, onGone: (() => RuntimeError) | null): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const run = async (): Promise<void> => {
      try {
        resolve(await fn())
      } catch (error) {
        reject(error) // the caller's matter: a refused verb is no crash of the supervisor
      }
    }
    // Only `urgent` has nothing to say when the process is gone, and its result is void.
    const cancel = (): void => (onGone === null ? resolve(undefined as T) : reject(onGone()))
    if (first) this.#work.unshift({ run, cancel })
    else this.#work.push({ run, cancel })
    this.#wake()
    return promise
  }

  #wake(): void {
    if (!this.live) return this.#cancelAll()
    if (this.#work.length > 0 && !this.#busy) this.#kernel.lifecycle.queue.push(this.#process)
  }

  #cancelAll(): void {
    const work = this.#work
    this.#work = []
    for (const item of work) item.cancel?.()
  }
}

function gone(process: Process): RuntimeError {
  return new RuntimeError('PROCESS_NOT_FOUND', `The supervisor ${process.id} is not alive.`)
}
