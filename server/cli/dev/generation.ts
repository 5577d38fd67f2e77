/**
 * One generation of the code that `viv dev` runs: a process with a fresh module graph, from its start to its end.
 *
 * - It loads and starts by itself, beside the one before it, and serves only when it is told to.
 * - Its end is always seen: one that does not end when asked to is killed. What it had in hand is taken over then, as
 *   after any death.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Clock, Timer } from '../../clock.ts'
import { moduleUrl } from '../../paths.ts'

/** Ms. As long as a drain may take, and something for the way out. */
const END_MS = 15_000

/** What the process of a generation is started with. */
export type DevOptions = {
  readonly modules: readonly string[]
  readonly data?: string
  readonly host?: string
  readonly token?: string
}

export type ToGeneration = { readonly kind: 'serve'; readonly port?: number } | { readonly kind: 'stop' }

export type FromGeneration =
  /** The module graph has this file. */
  | { readonly kind: 'loaded'; readonly path: string }
  /** Its runtime runs. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'serving'; readonly url: string; readonly port: number; readonly place: string }

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
  readonly #child: ChildProcess
  readonly #clock: Clock
  #isReady = false
  #killer: Timer | null = null

  constructor(options: DevOptions, clock: Clock, loaded: (path: string) => void) {
    this.#clock = clock
    this.#child = fork(fileURLToPath(moduleUrl('cli/dev/generation-main')), [JSON.stringify(options)])
    const ready = Promise.withResolvers<boolean>()
    const serving = Promise.withResolvers<Serving | null>()
    const ended = Promise.withResolvers<void>()
    this.#child.on('message', (message: FromGeneration) => {
      if (message.kind === 'loaded') loaded(message.path)
      else if (message.kind === 'serving') serving.resolve(message)
      else {
        this.#isReady = true
        ready.resolve(true)
      }
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

  serve(port: number | undefined): void {
    this.#tell(port === undefined ? { kind: 'serve' } : { kind: 'serve', port })
  }

  /** Drains, and ends at the latest after END_MS. One that never came up has nothing to drain. */
  stop(): Promise<void> {
    this.asked = true
    if (this.over) return this.ended
    if (this.#isReady) this.#tell({ kind: 'stop' })
    else this.#child.kill('SIGKILL')
    this.#killer ??= this.#clock.after(END_MS, () => this.#child.kill('SIGKILL'))
    return this.ended
  }

  /** What ended meanwhile needs no telling: `ended` says so. */
  #tell(message: ToGeneration): void {
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}
