/**
 * A load whose promises can be counted: every call adds an id to the state of one of some agents, and every answer is
 * remembered. At the end each answered id is there once.
 */
import { agent, pool, type Runtime, supervisor } from 'vivarium'

export type TallyState = { seen: Record<string, number>; fill: string }

export const tally = agent('tally', {
  state: (): TallyState => ({ seen: {}, fill: '' }),
  on: {
    add(ctx, { id, fill }: { id: string; fill: string }) {
      ctx.state.seen[id] = (ctx.state.seen[id] ?? 0) + 1
      ctx.state.fill = fill
      return ctx.key
    },
    fail() {
      throw new Error('fails on purpose')
    },
    poison(ctx, { word }: { word: string }) {
      ctx.state.fill = word
    },
  },
  queries: {
    seen: (state: TallyState) => state.seen,
    fill: (state: TallyState) => state.fill,
  },
})

export const tallies = supervisor('tallies', { strategy: 'one_for_one', children: [pool(tally)] })

export class TallyLoad {
  readonly answered = new Set<string>()
  readonly refused = new Map<string, string>()
  readonly #runtime: Runtime
  readonly #agents: number
  /** Characters of ballast in each state. */
  readonly #fill: string
  #stopped = false
  #count = 0
  #workers: Promise<void>[] = []

  constructor(runtime: Runtime, options: { agents?: number; fill?: number } = {}) {
    this.#runtime = runtime
    this.#agents = options.agents ?? 8
    this.#fill = 'f'.repeat(options.fill ?? 10)
  }

  begin(workers = 16): void {
    this.#workers = Array.from({ length: workers }, () => this.#work())
  }

  /** Resolves when `more` calls were answered from now on. */
  async progress(more: number): Promise<void> {
    const goal = this.answered.size + more
    while (this.answered.size < goal) await pause()
  }

  async end(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
  }

  /** What is wrong with the states: answered and missing, or there more than once. */
  async wrong(): Promise<string[]> {
    const seen = new Map<string, number>()
    for (let i = 0; i < this.#agents; i++) {
      const state = await this.#runtime.ref(tally, `t${i}`).seen()
      for (const [id, times] of Object.entries(state)) seen.set(id, (seen.get(id) ?? 0) + times)
    }
    return [
      ...[...this.answered].filter((id) => !seen.has(id)).map((id) => `${id} was answered and is lost`),
      ...[...seen].filter(([, times]) => times > 1).map(([id, times]) => `${id} is there ${times} times`),
    ]
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      this.#count += 1
      const id = `n${this.#count}`
      const key = `t${this.#count % this.#agents}`
      try {
        await this.#runtime.ref(tally, key).add({ id, fill: this.#fill }).run({ timeoutMs: PATIENCE_MS })
        this.answered.add(id)
      } catch (error) {
        this.refused.set(id, String(error))
      }
      await pause()
    }
  }
}

/** Ms a call waits for its answer: longer than any outage of the tests, so that no answer is lost to impatience. */
const PATIENCE_MS = 60_000
/** Ms between two calls of a worker, and between two looks. */
const PAUSE_MS = 5

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
}
