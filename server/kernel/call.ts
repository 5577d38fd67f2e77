/**
 * Calls that wait: exactly one outcome each, and their deadlines.
 *
 * - K20: the first of reply, refusal, death of the target and timeout is the outcome; all later ones are dropped, so
 *   no late reply is ever seen (OTP aliases).
 * - An ephemeral target is not told that a caller gave up; the request stays queued and is executed (OTP). A durable
 *   one asks before it begins (`begin`), and the call is taken out of its mailbox: the caller is told that it was
 *   withdrawn (PROTOCOL M3).
 * - Deadlines cost no timer per call: calls of equal patience form a queue in order of deadline, and each queue keeps
 *   one timer for its head. They cost no reading of the clock either: a call made while the run queue is at work is
 *   dated at its next reading, so a call may end some ms late but never early.
 */
import { type GivenUp, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Wait } from '../../shared/snapshot.ts'
import type { Value } from '../../shared/value.ts'
import type { Clock, Timer } from './clock-port.ts'
import type { ReplyTo } from './envelope.ts'
import { GIVEN_UP_TEXT, runtimeStopped } from './outcome.ts'
import type { Process } from './process.ts'

/** As OTP's gen_server:call. */
export const CALL_TIMEOUT_MS = 5_000
export const CALL_TIMEOUT_MS_MAX = 3_600_000

export class PendingCall implements ReplyTo {
  readonly promise: Promise<Value>
  readonly caller: Process | null
  readonly target: ProcessId
  readonly op: string
  /** Monotonic ms; not known before the call is dated. */
  deadline = Number.POSITIVE_INFINITY
  wait: Wait | null = null
  /** The target began, or the call left this node: from then on nobody here can take it back. */
  begun = false
  /** Neighbours in the queue of equal patience; `queue` is null once settled. */
  queue: PatienceQueue | null = null
  previous: PendingCall | null = null
  next: PendingCall | null = null
  settled = false
  // Both are replaced by the promise's own before the constructor is over.
  #resolve: (value: Value) => void = nobody
  #reject: (error: RuntimeError) => void = nobody

  constructor(caller: Process | null, target: ProcessId, op: string) {
    this.caller = caller
    this.target = target
    this.op = op
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  resolve(value: Value): void {
    if (this.settled) return
    this.#settle()
    this.#resolve(value)
  }

  reject(error: RuntimeError): void {
    if (this.settled) return
    this.#settle()
    this.#reject(error)
  }

  begin(): boolean {
    if (this.settled && !this.begun) return false
    this.begun = true
    return true
  }

  #settle(): void {
    this.settled = true
    this.queue?.remove(this)
    const caller = this.caller
    if (caller !== null && caller.wait === this.wait) caller.wait = null
  }
}

/** Calls that wait equally long, oldest first: also the order of their deadlines. */
class PatienceQueue {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #emptied: () => void
  readonly #withdraws: Withdraws
  #first: PendingCall | null = null
  #last: PendingCall | null = null
  /** First call without a deadline; all behind it have none either. */
  #undated: PendingCall | null = null
  #timer: Timer | null = null

  constructor(clock: Clock, timeoutMs: number, hooks: { emptied: () => void; withdraws: Withdraws }) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#emptied = hooks.emptied
    this.#withdraws = hooks.withdraws
  }

  add(call: PendingCall): void {
    call.queue = this
    call.previous = this.#last
    if (this.#last === null) {
      this.#first = call
      if (this.#timer === null) this.#arm(this.#timeoutMs)
      else this.#timer.keepAlive(true)
    } else this.#last.next = call
    this.#last = call
    this.#undated ??= call
  }

  date(monotonic: number): void {
    const deadline = monotonic + this.#timeoutMs
    for (let call = this.#undated; call !== null; call = call.next) call.deadline = deadline
    this.#undated = null
  }

  remove(call: PendingCall): void {
    call.queue = null
    if (this.#undated === call) this.#undated = call.next
    if (call.previous === null) this.#first = call.next
    else call.previous.next = call.next
    if (call.next === null) this.#last = call.previous
    else call.next.previous = call.previous
    call.previous = null
    call.next = null
    // The timer stays armed for the next call; an empty queue must not keep the OS process from ending.
    if (this.#first === null) this.#timer?.keepAlive(false)
  }

  /** Nobody will answer any more. Callers that are processes ended before. */
  close(): void {
    this.#timer?.cancel()
    this.#timer = null
    for (let call = this.#first; call !== null; ) {
      const { next } = call
      if (call.caller === null) call.reject(runtimeStopped(call.target, call.op))
      call = next
    }
  }

  #arm(ms: number): void {
    this.#timer = this.#clock.after(ms, () => this.#expire())
  }

  #expire(): void {
    this.#timer = null
    const now = this.#clock.monotonic()
    while (this.#first !== null && this.#first.deadline <= now) {
      const call = this.#first
      const outcome: GivenUp = !call.begun && this.#withdraws(call) ? 'withdrawn' : 'unknown'
      call.reject(
        new RuntimeError(
          'CALL_TIMEOUT',
          `Call ${call.op} of ${call.target} was not answered in ${this.#timeoutMs} ms. ${GIVEN_UP_TEXT[outcome]}`,
          { detail: { target: call.target, op: call.op, timeoutMs: this.#timeoutMs, outcome } },
        ),
      )
    }
    if (this.#first === null) return this.#emptied()
    if (this.#first === this.#undated) this.date(now)
    this.#arm(Math.max(1, Math.ceil(this.#first.deadline - now)))
  }
}

/** Takes a call that was not begun from its target; false where it may still be begun. */
export type Withdraws = (call: PendingCall) => boolean

export class Patience {
  readonly #clock: Clock
  readonly #withdraws: Withdraws
  readonly #queues = new Map<number, PatienceQueue>()

  constructor(clock: Clock, withdraws: Withdraws) {
    this.#clock = clock
    this.#withdraws = withdraws
  }

  add(call: PendingCall, timeoutMs: number): void {
    let queue = this.#queues.get(timeoutMs)
    if (queue === undefined) {
      const emptied = (): void => void this.#queues.delete(timeoutMs)
      queue = new PatienceQueue(this.#clock, timeoutMs, { emptied, withdraws: this.#withdraws })
      this.#queues.set(timeoutMs, queue)
    }
    queue.add(call)
  }

  /** The clock was read: calls added since the last reading get their deadline. */
  date(monotonic: number): void {
    for (const queue of this.#queues.values()) queue.date(monotonic)
  }

  close(): void {
    for (const queue of this.#queues.values()) queue.close()
    this.#queues.clear()
  }
}

function nobody(): void {}

/** @throws REQUEST_INVALID */
export function assertTimeout(timeoutMs: number): void {
  if (Number.isFinite(timeoutMs) && timeoutMs > 0 && timeoutMs <= CALL_TIMEOUT_MS_MAX) return
  throw new RuntimeError(
    'REQUEST_INVALID',
    `timeoutMs is ${timeoutMs}. Use a number of milliseconds from 1 to ${CALL_TIMEOUT_MS_MAX}.`,
  )
}
