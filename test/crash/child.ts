/** Starts child-main.ts, arms its crash point, and tells how it ended. */
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { CrashPointName } from '../../server/crash-point.ts'
import type { Place } from './place.ts'

const ps = promisify(execFile)
/** Ms between two looks at a child that is to stand still. */
const FREEZE_LOOK_MS = 20

const MAIN = fileURLToPath(new URL('./child-main.ts', import.meta.url))

export type ChildOptions = {
  run: string
  seed: number
  mode?: 'load' | 'load-through' | 'settle' | 'send-bomb' | 'call-bomb'
  /** Die at the nth passage of this point. */
  at?: { point: CrashPointName; nth: number }
}

/** A program of a suite in a process of its own: what it says, and how it ended. */
export class ForkedChild {
  readonly #process: ChildProcess
  readonly #exit: Promise<{ code: number | null; signal: string | null }>
  readonly #said = new Set<string>()
  readonly #listeners = new Set<() => void>()
  #errors = ''

  constructor(main: string, words: readonly string[], env: Record<string, string> = {}) {
    const { VIVARIUM_CRASH_POINT: _, ...inherited } = process.env
    this.#process = fork(main, words, {
      env: { ...inherited, ...env },
      execArgv: ['--conditions=vivarium-source'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.#errors += chunk.toString()
    })
    this.#process.on('message', (said) => {
      this.#said.add(String(said))
      for (const listener of this.#listeners) listener()
    })
    this.#exit = once(this.#process, 'exit').then(([code, signal]) => ({
      code: typeof code === 'number' ? code : null,
      signal: typeof signal === 'string' ? signal : null,
    }))
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  hasSaid(word: string): boolean {
    return this.#said.has(word)
  }

  /** Resolves at its word, also one it said before. @throws with what it printed when it ended without it */
  async says(word: string, withinMs: number): Promise<void> {
    const { promise: heard, resolve } = Promise.withResolvers<void>()
    const listener = (): void => {
      if (this.#said.has(word)) resolve()
    }
    this.#listeners.add(listener)
    listener()
    const ended = this.#exit.then(({ code, signal }) => {
      throw new Error(`The child ended with ${signal ?? code} before it was ${word}:\n${this.#errors}`)
    })
    try {
      await within(
        Promise.race([heard, ended]),
        withinMs,
        () => `The child was not ${word} in ${withinMs} ms.\n${this.#errors}`,
      )
    } finally {
      this.#listeners.delete(listener)
    }
  }

  /** Resolves with how it ended; kills what does not end in time. */
  async ended(withinMs: number): Promise<{ code: number | null; signal: string | null; errors: string }> {
    try {
      const exit = await within(this.#exit, withinMs, () => `The child ran on for ${withinMs} ms.\n${this.#errors}`)
      return { ...exit, errors: this.#errors }
    } catch (error) {
      this.#process.kill('SIGKILL')
      await this.#exit
      throw error
    }
  }

  /** Stops it as a whole, at its next task. Resolves when it stands still. */
  async freeze(withinMs: number): Promise<void> {
    this.#process.send('freeze')
    const deadline = Date.now() + withinMs
    for (;;) {
      const { stdout } = await ps('ps', ['-o', 'state=', '-p', String(this.pid)])
      if (stdout.startsWith('T')) return
      if (Date.now() > deadline) throw new Error(`The child did not stand still in ${withinMs} ms, but was ${stdout}.`)
      await pause(FREEZE_LOOK_MS)
    }
  }

  kill(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal)
  }
}

export class Child extends ForkedChild {
  constructor(place: Place, { run, seed, mode = 'load', at }: ChildOptions) {
    const armed =
      at === undefined
        ? {}
        : { VIVARIUM_CRASH_POINT: at.point, VIVARIUM_CRASH_NTH: String(at.nth), VIVARIUM_CRASH_LOG: place.hits }
    super(MAIN, [place.data, place.schema, place.facts, place.effects, run, String(seed), mode], armed)
  }
}

async function within<T>(work: Promise<T>, ms: number, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
