/**
 * Replay of the turn in flight: hands recorded results to user code in the order in which it got them first.
 *
 * - T5: one result per macrotask, so that parallel branches bind as they did; nothing live begins while a recorded
 *   result is still to be handed over.
 * - A replay that asks for something else never proceeds: when the next recorded result is not asked for although the
 *   code waits for something unrecorded, or when the turn ends before all were asked for, the turn diverged.
 */
import { errorFromData } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import type { Clock, Timer } from '../kernel/clock-port.ts'
import { handOver } from './bytes.ts'
import { type Entry, isResult, type Outcome, type ResultEntry, type Shape } from './entry.ts'

/** Ms for which user code may be busy with something of its own before its silence is judged as divergence. */
export const STALL_MS = 500

/** `ends`: streams that a step closed. */
export type Recorded = { key: string; shape: Shape; out: Outcome; at: number; ends?: readonly string[] }

type Refused = Extract<Entry, { k: 'refused' }>

type Request = {
  shape: Shape
  resolve(value: unknown): void
  reject(error: unknown): void
  live(): Promise<unknown>
}

export type ReplayPorts = {
  clock: Clock
  /** A recorded result is about to be handed over. */
  delivering(item: Recorded): void
  /** The code waits for this instead of what comes next. */
  diverged(asked: readonly { key: string; shape: Shape }[]): void
}

export class Replay {
  readonly #ports: ReplayPorts
  readonly items: readonly Recorded[]
  /** Results handed over so far. */
  position = 0
  readonly #requests = new Map<string, Request>()
  #scheduled = false
  #stall: Timer | null = null
  #over = false

  constructor(queue: readonly Recorded[], ports: ReplayPorts) {
    this.items = queue
    this.#ports = ports
  }

  /** True once requests are live: a macrotask after the last recorded result, as the next replay will have it. */
  get over(): boolean {
    return this.#over
  }

  /** True once everything recorded was handed over. */
  get done(): boolean {
    return this.#over || (this.expected === null && this.#requests.size === 0)
  }

  /** Key of the next recorded result; null when none is left. */
  get expected(): string | null {
    return this.items[this.position]?.key ?? null
  }

  /** Key of the next recorded result that a turn must not end without. Those that a cancellation ended are recorded all
   *  at once (Y2): when the code ends with the first of them, the others were asked for and are not looked at. */
  get owed(): string | null {
    for (let i = this.position; i < this.items.length; i++) {
      const { key, out } = this.items[i] as Recorded // i is within
      const isCancelled = 'err' in out && out.err.code === 'CANCELLED'
      if (!isCancelled || !this.#requests.has(key)) return key
    }
    return null
  }

  request(key: string, shape: Shape, live: () => Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#requests.set(key, { shape, resolve, reject, live })
      this.#schedule()
    })
  }

  close(): void {
    this.#over = true
    this.#stall?.cancel()
    this.#stall = null
  }

  #schedule(): void {
    if (this.#scheduled || this.#over) return
    this.#scheduled = true
    this.#ports.clock.macrotask(() => {
      this.#scheduled = false
      if (!this.#over) this.#pump()
    })
  }

  #pump(): void {
    const next = this.items[this.position]
    if (next === undefined) return this.#goLive()
    const request = this.#requests.get(next.key)
    if (request === undefined) return this.#watch(next)
    this.#stall?.cancel()
    this.#stall = null
    if (request.shape !== next.shape) return this.#diverge()
    this.position += 1
    this.#requests.delete(next.key)
    this.#ports.delivering(next)
    if ('ok' in next.out) request.resolve(handOver(next.out.ok))
    else request.reject(errorFromData(next.out.err))
    this.#schedule()
  }

  /** The code waits, but not for what comes next. It may still be busy on its own; after STALL_MS it is judged. */
  #watch(next: Recorded): void {
    if (this.#stall !== null || this.#isIdle) return
    this.#stall = this.#ports.clock.after(STALL_MS, () => {
      this.#stall = null
      if (this.#over || this.items[this.position] !== next || this.#requests.has(next.key)) return
      this.#diverge()
    })
  }

  /** A time limit alone is nothing that code waits for. */
  get #isIdle(): boolean {
    for (const { shape } of this.#requests.values()) if (shape !== 'scope') return false
    return true
  }

  #diverge(): void {
    this.close()
    this.#ports.diverged([...this.#requests].map(([key, { shape }]) => ({ key, shape })))
  }

  #goLive(): void {
    const requests = [...this.#requests.values()]
    this.close()
    this.#requests.clear()
    for (const request of requests) request.live().then(request.resolve, request.reject)
  }
}

/** Results of a turn in the order of the journal, each with its place there. A step with which an attempt crashed runs
 *  again in the next one, and its failure is never handed over again; an answer of another process is final (M3). */
export function resultsOf(entries: readonly Entry[]): { entry: ResultEntry; index: number }[] {
  const found: { entry: ResultEntry; index: number }[] = []
  /** The last result is a step's. */
  let step = false
  for (const [index, entry] of entries.entries()) {
    if (entry.k === 'failed') {
      const last = found.at(-1)?.entry
      if (step && last?.k === 'step' && 'err' in last.out) found.pop()
      step = false
    } else if (isResult(entry)) {
      found.push({ entry, index })
      step = entry.k === 'step'
    }
  }
  return found
}

/** Results as a replay hands them over. */
export function recordedOf(entries: readonly Entry[]): Recorded[] {
  return resultsOf(entries).map(({ entry }) => recorded(entry))
}

function recorded(entry: ResultEntry): Recorded {
  const { key, at } = entry
  switch (entry.k) {
    case 'step':
      return { key, at, shape: 'result', out: entry.out, ...(entry.ends === undefined ? {} : { ends: entry.ends }) }
    case 'reply':
      return { key, at, shape: 'result', out: entry.out }
    case 'received':
      // Entries are built of values.
      return { key, at, shape: 'message', out: { ok: entry.message as unknown as Value } }
    case 'checkpoint':
      // A transaction is a checkpoint with a result; one that failed is recorded as a result like a step's.
      return { key, at, shape: entry.result === undefined ? 'checkpoint' : 'result', out: { ok: entry.result ?? null } }
    case 'cancelled':
      return { key, at, shape: entry.shape, out: { err: entry.err } }
    case 'woke':
      return { key, at, shape: 'sleep', out: { ok: null } }
    default:
      return entry satisfies never
  }
}

/** Sends that were refused, as the code saw it. A refusal with which an attempt crashed, no result after it, is judged
 *  anew in the next one, like a step. */
export function refusedOf(entries: readonly Entry[]): Refused[] {
  const found: Refused[] = []
  let kept = 0
  for (const entry of entries) {
    if (entry.k === 'refused') found.push(entry)
    else if (entry.k === 'failed') found.length = kept
    else if (isResult(entry)) kept = found.length
  }
  return found
}
