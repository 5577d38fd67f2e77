/**
 * The feed as one object: connection with its retries, subscriptions that survive it, requests with answers.
 *
 * - One connection per page. Topics without a view are shared by everything on the page that reads them.
 * - A subscription nobody reads any more lingers for a moment, so that a change of page does not flicker.
 * - Requests fail at once when the connection is away: an operator must never act on a connection that is not there.
 */
import type { ClientFrame, Problem, ServerFrame, View } from '../../shared/frame.ts'
import { retryDelayMs } from './reconnect.ts'
import { FeedSocket, type SocketClosed } from './socket.ts'
import { Subscription, type SubscriptionOptions } from './subscription.ts'

export type Connection =
  | { kind: 'connecting'; attempt: number }
  | { kind: 'live'; version: string; node: string; roles: readonly string[]; since: number; returned: boolean }
  | { kind: 'waiting'; attempt: number; retryAt: number; reason: string; since: number }

export type Outcome = { state: 'accepted' | 'done' | 'failed'; result?: unknown; problem?: Problem }
export type Blob = { hash: string; bytes: number; truncated: boolean; body: unknown }

type Waiter = { frame: (frame: ServerFrame) => void; fail: (problem: Problem) => void }

/** Milliseconds that an unread subscription is kept. */
const LINGER_MS = 3_000
/** Milliseconds after which an answer is no longer expected. */
const ANSWER_MS_MAX = 20_000
/** Milliseconds; frames of a hidden tab are acknowledged this late, a visible one acknowledges after its next paint. */
const ACK_MS_MAX = 250
/** Milliseconds from opening a connection to the server's hello; a server that takes longer does not answer. */
const GREETING_MS_MAX = 8_000
const BLOBS_MAX = 24

export class FeedClient {
  #connection: Connection = { kind: 'connecting', attempt: 0 }
  #socket: FeedSocket | undefined
  #session = ''
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  #clockOffset = 0
  #serial = 0
  #bytesBefore = 0
  #heardBefore = Date.now()
  #unknownFrames = 0
  readonly #url: string
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #readers = new Map<string, number>()
  readonly #shared = new Map<string, Subscription>()
  readonly #waiters = new Map<string, Waiter>()
  readonly #blobs = new Map<string, Blob>()
  readonly #listeners = new Set<() => void>()

  constructor(url: string) {
    this.#url = url
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Bytes received since the page was opened. */
  get bytes(): number {
    return this.#bytesBefore + (this.#socket?.bytes ?? 0)
  }

  get unknownFrames(): number {
    return this.#unknownFrames
  }

  /** Milliseconds since the server was last heard. */
  get silenceMs(): number {
    return Date.now() - (this.#connection.kind === 'live' ? (this.#socket?.heardAt ?? 0) : this.#heardBefore)
  }

  /** Epoch milliseconds by the server's clock. */
  now(): number {
    return Date.now() + this.#clockOffset
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  start(): void {
    document.addEventListener('visibilitychange', () => {
      this.#send({ t: document.hidden ? 'pause' : 'resume' })
    })
    this.#connect(0)
  }

  retryNow(): void {
    if (this.#connection.kind === 'live') return
    const abandoned = this.#socket
    this.#connect(this.#connection.attempt)
    abandoned?.close('retried')
  }

  /** A subscription that is not sent yet: safe while rendering. `retain` sends it. */
  prepare(topic: string, options: SubscriptionOptions = {}): Subscription {
    const shareable = options.view === undefined
    const found = shareable ? this.#shared.get(topic) : undefined
    const subscription = found ?? new Subscription(`s${++this.#serial}`, topic, options)
    if (shareable) this.#shared.set(topic, subscription)
    return subscription
  }

  /** Pairs with `release`. */
  retain(subscription: Subscription): void {
    this.#readers.set(subscription.id, (this.#readers.get(subscription.id) ?? 0) + 1)
    if (this.#subscriptions.has(subscription.id)) return
    this.#subscriptions.set(subscription.id, subscription)
    this.#send(subscription.open())
  }

  release(subscription: Subscription): void {
    this.#readers.set(subscription.id, (this.#readers.get(subscription.id) ?? 1) - 1)
    setTimeout(() => this.#dropUnread(subscription), LINGER_MS)
  }

  setView(subscription: Subscription, view: View): void {
    this.#send(subscription.setView(view))
  }

  /** The value behind `ref`; an unchanged one is not sent again. @throws Problem */
  async get(ref: string): Promise<Blob> {
    const known = this.#blobs.get(ref)
    const frame = await this.#ask((rid) => ({ t: 'get', rid, ref, ...(known ? { hash: known.hash } : {}) }))
    if (frame.t !== 'blob') throw problemOf('FRAME_INVALID', `The answer to ${ref} was a ${frame.t} frame.`)
    if (frame.unchanged && known) return known
    const blob: Blob = { hash: frame.hash, bytes: frame.bytes, truncated: frame.truncated, body: frame.body }
    this.#blobs.delete(ref)
    this.#blobs.set(ref, blob)
    const oldest = this.#blobs.keys().next().value
    if (this.#blobs.size > BLOBS_MAX && oldest !== undefined) this.#blobs.delete(oldest)
    return blob
  }

  /** @throws Problem */
  async plan(verb: Extract<ClientFrame, { t: 'plan' }>['verb'], target: string): Promise<unknown> {
    const frame = await this.#ask((rid) => ({ t: 'plan', rid, verb, target }))
    if (frame.t !== 'plan') throw problemOf('FRAME_INVALID', `The answer to a plan was a ${frame.t} frame.`)
    return frame.plan
  }

  /** Calls `follow` for each word about the action until it is done or failed. */
  act(action: Omit<Extract<ClientFrame, { t: 'act' }>, 't' | 'rid'>, follow: (outcome: Outcome) => void): void {
    const rid = `r${++this.#serial}`
    const fail = (problem: Problem) => {
      this.#waiters.delete(rid)
      follow({ state: 'failed', problem })
    }
    const frame = (answer: ServerFrame) => {
      if (answer.t !== 'act') return
      if (answer.state !== 'accepted') this.#waiters.delete(rid)
      const { state, result, problem } = answer
      follow({ state, result, ...(problem ? { problem } : {}) })
    }
    this.#waiters.set(rid, { frame, fail })
    if (!this.#send({ t: 'act', rid, ...action })) fail(AWAY)
  }

  #ask(make: (rid: string) => ClientFrame): Promise<ServerFrame> {
    const rid = `r${++this.#serial}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(() => reject(TIMED_OUT)), ANSWER_MS_MAX)
      const settle = (end: () => void) => {
        clearTimeout(timer)
        this.#waiters.delete(rid)
        end()
      }
      this.#waiters.set(rid, {
        frame: (frame) => settle(() => resolve(frame)),
        fail: (problem) => settle(() => reject(problem)),
      })
      if (!this.#send(make(rid))) settle(() => reject(AWAY))
    })
  }

  #send(frame: ClientFrame): boolean {
    return this.#connection.kind === 'live' && (this.#socket?.send(frame) ?? false)
  }

  #connect(attempt: number): void {
    clearTimeout(this.#retryTimer)
    this.#set({ kind: 'connecting', attempt })
    const socket = new FeedSocket({
      url: this.#url,
      onFrame: (frame) => this.#received(frame, attempt),
      onUnknown: () => {
        this.#unknownFrames++
      },
      onClose: (closed) => this.#lost(closed, attempt, socket),
    })
    this.#socket = socket
    this.#retryTimer = setTimeout(() => socket.close('The server did not greet.'), GREETING_MS_MAX)
  }

  #received(frame: ServerFrame, attempt: number): void {
    switch (frame.t) {
      case 'hello':
        return this.#greeted(frame, attempt)
      case 'snap':
      case 'delta':
      case 'append':
      case 'gap': {
        const ack = this.#subscriptions.get(frame.id)?.apply(frame, this.#session)
        if (ack) afterPaint(() => this.#send(ack))
        return
      }
      case 'blob':
      case 'plan':
      case 'act':
        return this.#waiters.get(frame.rid)?.frame(frame)
      case 'error':
        if (frame.rid !== null) this.#waiters.get(frame.rid)?.fail(frame.problem)
        if (frame.id !== null) this.#subscriptions.get(frame.id)?.setProblem(frame.problem)
        return
      case 'ping':
      case 'pong':
      case 'bye': // the close that follows carries the same reason
        return
      default:
        frame satisfies never
    }
  }

  #greeted(hello: Extract<ServerFrame, { t: 'hello' }>, attempt: number): void {
    clearTimeout(this.#retryTimer)
    this.#session = hello.session
    this.#clockOffset = hello.now - Date.now()
    const { version, node, roles } = hello
    this.#set({ kind: 'live', version, node, roles, since: Date.now(), returned: attempt > 0 })
    for (const subscription of this.#subscriptions.values()) this.#send(subscription.open())
    if (document.hidden) this.#send({ t: 'pause' })
  }

  #lost(closed: SocketClosed, attempt: number, socket: FeedSocket): void {
    if (this.#socket !== socket) return
    this.#bytesBefore += socket.bytes
    if (this.#connection.kind === 'live') this.#heardBefore = socket.heardAt
    this.#socket = undefined
    const since = this.#connection.kind === 'waiting' ? this.#connection.since : Date.now()
    const next = this.#connection.kind === 'live' ? 1 : attempt + 1
    const delayMs = retryDelayMs(next, Math.random())
    clearTimeout(this.#retryTimer)
    const reason = closed.reason || `The connection closed (code ${closed.code}).`
    this.#set({ kind: 'waiting', attempt: next, retryAt: Date.now() + delayMs, reason, since })
    for (const waiter of [...this.#waiters.values()]) waiter.fail(LOST)
    this.#retryTimer = setTimeout(() => this.#connect(next), delayMs)
  }

  #dropUnread(subscription: Subscription): void {
    if ((this.#readers.get(subscription.id) ?? 0) > 0 || !this.#subscriptions.delete(subscription.id)) return
    this.#readers.delete(subscription.id)
    if (this.#shared.get(subscription.topic) === subscription) this.#shared.delete(subscription.topic)
    this.#send({ t: 'unsub', id: subscription.id })
  }

  #set(connection: Connection): void {
    this.#connection = connection
    for (const listener of this.#listeners) listener()
  }
}

export function problemOf(code: string, detail: string): Problem {
  return { type: 'about:blank', title: detail, status: 0, detail, code }
}

/** Anything caught from `get` and `plan` as a problem. */
export function toProblem(thrown: unknown): Problem {
  if (typeof thrown === 'object' && thrown !== null && 'code' in thrown && 'detail' in thrown) return thrown as Problem
  return problemOf('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown))
}

const AWAY = problemOf('NOT_CONNECTED', 'Not sent: there is no connection to the server. Retry when it is back.')
const LOST = problemOf('CONNECTION_LOST', 'The connection was lost before the answer came. Look before you repeat.')
const TIMED_OUT = problemOf('NO_ANSWER', `The server did not answer within ${ANSWER_MS_MAX / 1_000} s.`)

/** Runs once, after the next frame was painted or ACK_MS_MAX at the latest (hidden tabs do not paint). */
function afterPaint(run: () => void): void {
  let done = false
  const once = () => {
    if (done) return
    done = true
    run()
  }
  requestAnimationFrame(once)
  setTimeout(once, ACK_MS_MAX)
}
