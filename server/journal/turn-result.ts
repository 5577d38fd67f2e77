/**
 * `started.result()` of a durable turn: waiting for a started operation, a durable wait like that of a call.
 *
 * - W9: the process is put down as waiting in the request itself, so the commit that stores the result puts it into
 *   this mailbox as well. What ended before is answered at once.
 * - One wait per turn and request, however often the code asks, so a loop that races it leaves one row. Each asking is
 *   a recorded result of its own.
 * - The result is final for all attempts of the turn, a failure too: it can never be another one (M3).
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { pause } from '../kernel/clock-port.ts'
import type { MessageRow } from '../store/store.ts'
import { handOver } from './bytes.ts'
import type { Outcome } from './entry.ts'
import { decodeOutcome, outcomeOfError, toError } from './message.ts'
import type { AwaitedReply, Part } from './record.ts'
import type { Turn } from './turn.ts'
import { type DurableWait, firstWait, startWait } from './wait.ts'

/** Ms before a store that is away is asked again: first wait, doubled, bounded. */
const ASK_MS_FIRST = 100
const ASK_MS_MAX = 5_000

type Started = { readonly target: ProcessId; readonly key: string }
type Asking = {
  readonly name: string
  wait: DurableWait | null
  resolve(value: unknown): void
  reject(error: unknown): void
}

export function resultInTurn(turn: Turn, started: Started): Promise<unknown> {
  turn.assertOpen()
  const { target, key } = started
  if (target === turn.process.id) {
    throw new RuntimeError('CALL_CYCLE', `${target} waits for an operation of its own, which waits for this turn.`)
  }
  const subject = `result:${target} ${key}`
  const name = turn.nextKey(subject)
  return turn.request(name, async () => {
    await turn.flushed()
    const call = `${turn.name}/${subject}`
    const open = turn.record.waiting.get(call)
    const wait = open instanceof ResultWait ? open : new ResultWait(turn, started, call)
    return wait.ask(name)
  })
}

class ResultWait implements AwaitedReply {
  /** No process answers a call with it, so it is part of no cycle that could be broken. */
  readonly target = null
  readonly op: string
  readonly at: number
  readonly #turn: Turn
  readonly #started: Started
  readonly #call: string
  readonly #asking = new Set<Asking>()
  /** The store knows who waits: nothing in memory has to. */
  #kept = false
  #over = false
  /** What observers see until then. */
  #shown: Wait | null = null

  constructor(turn: Turn, started: Started, call: string) {
    this.#turn = turn
    this.#started = started
    this.#call = call
    this.op = `${started.target} ${started.key}`
    this.at = turn.wallclock()
  }

  ask(name: string): Promise<unknown> {
    const { record } = this.#turn
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const asking: Asking = { name, wait: null, resolve, reject }
    this.#asking.add(asking)
    this.#turn.requests.onStop(name, () => this.#stop(asking))
    const early = record.replies.get(this.#call)
    if (early !== undefined) this.#settle(decodeOutcome(early.args))
    else if (this.#kept) this.#wait(asking)
    else if (this.#asking.size === 1) {
      record.waiting.set(this.#call, this)
      void this.#look()
    }
    return promise
  }

  /** Y2: this asking is over; the others of the turn end with it or ask anew. */
  #stop(asking: Asking): Partial<Part> {
    asking.wait?.end()
    this.#asking.delete(asking)
    if (this.#asking.size === 0) this.cancel()
    return {}
  }

  settle(answer: MessageRow | RuntimeError | null): void {
    if (answer === null || answer instanceof RuntimeError) return
    // Kept where the end of the turn finds it, until an entry takes it.
    this.#turn.record.replies.set(this.#call, answer)
    this.#settle(decodeOutcome(answer.args))
  }

  cancel(): void {
    this.#over = true
    for (const { wait } of this.#asking) wait?.end()
    const { record, process } = this.#turn
    if (record.waiting.get(this.#call) === this) record.waiting.delete(this.#call)
    if (process.wait !== null && process.wait === this.#shown) process.wait = firstWait(record)
  }

  /** Puts the process down as waiting, unless the result is there. */
  async #look(): Promise<void> {
    const { ports, process } = this.#turn
    const { target, key } = this.#started
    this.#shown = this.#view()
    process.wait = this.#shown
    const wait = { scope: target, key, target: process.id, call: this.#call }
    for (let ms = ASK_MS_FIRST; !this.#over; ms = Math.min(ms * 2, ASK_MS_MAX)) {
      try {
        const { row, kept } = await ports.store.awaitResult(ports.node(), wait)
        if (this.#over) return
        if (row === null) return this.#settle(outcomeOfError(notKept(target, key)))
        if (row.status !== 'pending' && row.result !== null) return this.#settle(decodeOutcome(row.result))
        if (kept) {
          ports.crash.hit('waiter:kept')
          this.#kept = true
          for (const asking of this.#asking) this.#wait(asking)
          return
        }
      } catch (error) {
        ports.failed(`asking for the result of ${this.op} for ${process.id}`, error)
      }
      await pause(ports.clock, ms)
    }
  }

  #wait(asking: Asking): void {
    asking.wait = startWait(this.#turn, this.#view(), null)
  }

  #view(): Wait {
    return { kind: 'call', target: this.op, since: this.at, deadline: null, attempt: 1 }
  }

  #settle(out: Outcome): void {
    if (this.#over) return
    this.cancel()
    for (const asking of this.#asking) this.#give(asking, out)
  }

  /** Now, or when it is the turn of this result among the others (T5). */
  #give(asking: Asking, out: Outcome): void {
    const place = this.#turn.place()
    if (place === null) return this.#take(asking, out)
    void place.then(() => {
      const { closed, process, epoch } = this.#turn
      if (!closed && process.epoch === epoch) this.#take(asking, out)
    })
  }

  /** The first one consumes the row, if the result came with one. */
  #take({ name: key, resolve, reject }: Asking, out: Outcome): void {
    const { id, record, requests } = this.#turn
    if (!requests.has(key)) return // cancelled; the end of the turn finds the row
    const row = record.replies.get(this.#call)
    record.replies.delete(this.#call)
    const lists: Partial<Part> = row === undefined ? {} : { consumed: [{ target: row.target, ord: row.ord }] }
    this.#turn.append({ k: 'reply', turn: id, key, out, at: this.#turn.stamp() }, lists)
    this.#turn.ports.crash.hit('start:result-read')
    if ('ok' in out) resolve(handOver(out.ok))
    else reject(toError(out))
  }
}

function notKept(target: ProcessId, key: string): RuntimeError {
  return new RuntimeError(
    'REQUEST_UNKNOWN',
    `Nothing is kept of what was started of ${target} under ${JSON.stringify(key)}; its result is not known any more.`,
  )
}
