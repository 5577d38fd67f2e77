/**
 * One generation of the code that `viv dev` runs: a process with a fresh module graph, from its start to its end.
 *
 * - It loads and starts by itself, beside the one before it, and serves only when it is told to.
 * - Its end is always seen: one that does not end when asked to is killed. What it had in hand is taken over then, as
 *   after any death, and so is the database server it may have started.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Clock, Timer } from '../../clock.ts'
import { moduleUrl } from '../../paths.ts'
import type { ServeOptions } from '../commands/start.ts'
import type { ExitCode } from '../outcome.ts'

/** Ms. As long as `viv stop` waits: a drain, the tree, connections and the database each may take some seconds. */
export const END_MS = 30_000
/** Ms for one that is not up yet and that nobody wants any more: its modules may hang. Longer than a database takes to
 *  start, which would be left running. */
export const GIVE_UP_MS = 5_000

/** What the process of a generation is started with. */
export type DevOptions = { readonly modules: readonly string[]; readonly data?: string }

export type ToGeneration = { readonly kind: 'serve'; readonly options: ServeOptions } | { readonly kind: 'stop' }

export type FromGeneration =
  /** The module graph has this file. */
  | { readonly kind: 'loaded'; readonly path: string }
  /** Its runtime runs. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'serving'; readonly url: string; readonly port: number; readonly place: string }
  | Failed

/** Why it ends by itself: its code or its database (`load`), or its address (`listen`). */
export type Failed = {
  readonly kind: 'failed'
  readonly step: 'load' | 'listen'
  readonly exit: ExitCode
  readonly code: string
  readonly message: string
}

export type Serving = Extract<FromGeneration, { kind: 'serving' }>

export class Generation {
  /** Resolves with false when it ended before. */
  readonly ready: Promise<boolean>
  /** Resolves with null when it ended before. */
  readonly serving: Promise<Serving | null>
  readonly ended: Promise<void>
  over = false
  /** Whether its end was asked for. */
  asked = false
  failure: Failed | null = null
  readonly #child: ChildProcess
  readonly #clock: Clock
  #killer: Timer | null = null

  constructor(options: DevOptions, clock: Clock, loaded: (path: string) => void) {
    this.#clock = clock
    this.#child = fork(fileURLToPath(moduleUrl('cli/dev/generation-main')), [JSON.stringify(options)], {
      execArgv: [...process.execArgv, '--import', moduleUrl('cli/dev/loaded-files').href],
    })
    const ready = Promise.withResolvers<boolean>()
    const serving = Promise.withResolvers<Serving | null>()
    const ended = Promise.withResolvers<void>()
    this.#child.on('message', (message: FromGeneration) => {
      if (message.kind === 'loaded') loaded(message.path)
      else if (message.kind === 'serving') serving.resolve(message)
      else if (message.kind === 'failed') this.failure = message
      else ready.resolve(true)
    })
    const end = (): void => {
      this.over = true
      this.#killer?.cancel()
      ready.resolve(false)
      serving.resolve(null)
      ended.resolve()
    }
    this.#child.once('exit', end)
    // Also of a signal that cannot be sent; only one that never started has no exit.
    this.#child.on('error', () => {
      if (this.#child.pid === undefined) end()
    })
    this.ready = ready.promise
    this.serving = serving.promise
    this.ended = ended.promise
  }

  serve(options: ServeOptions): void {
    this.#tell({ kind: 'serve', options })
  }

  /** Drains and ends; after `limitMs` it is killed. */
  stop(limitMs: number): Promise<void> {
    this.asked = true
    if (this.over) return this.ended
    this.#tell({ kind: 'stop' })
    this.#killer ??= this.#clock.after(limitMs, () => this.kill())
    return this.ended
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** What ended meanwhile needs no telling: `ended` says so. */
  #tell(message: ToGeneration): void {
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}
