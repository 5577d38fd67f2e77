/**
 * One viewer's connection: reads its frames, owns its subscriptions, answers its requests.
 *
 * - Frames that do not fit the grammar are answered by `error`; after BAD_FRAMES_MAX of them the connection is closed.
 * - F12: a viewer without credentials gets nothing until its `hello` names a token, and is closed after HELLO_MS.
 * - Every frame and every verb is checked against the roles of the caller.
 */
import { RuntimeError } from '../../shared/error.ts'
import {
  CLIENT_FRAME_BYTES_MAX,
  type ClientFrame,
  clientFrameSchema,
  FEED_PROTOCOL,
  PING_MS,
  SUBSCRIPTIONS_MAX,
  TOPIC_PATTERN,
  UNACKED_FRAMES_MAX,
  WINDOW_ROWS_MAX,
} from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'
import { type Caller, requireRole } from '../../shared/role.ts'
import type { Clock, Timer } from '../clock.ts'
import type { ActionDesk } from './action.ts'
import { Outlet, type Wire } from './backpressure.ts'
import { readBlob } from './blob.ts'
import { LogSubscription } from './log-subscription.ts'
import { RowSubscription } from './row-subscription.ts'
import type { Channel, Subscription } from './subscription.ts'
import { type Place, topicOf } from './topic.ts'

/** Milliseconds a viewer has for its first frame. */
const HELLO_MS = 10_000
/** A page of another version sends a few; a broken or hostile one does not stop. */
const BAD_FRAMES_MAX = 10
/** Requests without an answer yet; a page has one or two. */
const REQUESTS_MAX = 16
/** Milliseconds without any frame after which the viewer is gone: two pings were not answered. */
const SILENCE_MS = 2 * PING_MS + 5_000
const POLICY_VIOLATION = 1008
const GOING_AWAY = 1001

export type Door = { identify(token: string): Caller }

export type SessionOptions = {
  id: string
  wire: Wire
  place: Place
  desk: ActionDesk
  door: Door
  caller: Caller | null
  greeting: { version: string; node: string }
  /** A subscription of an earlier connection of the same caller, taken away from it. */
  takeOver: (session: string, id: string, caller: Caller) => Subscription | null
}

export class Session {
  readonly id: string
  readonly subscriptions = new Map<string, Subscription>()
  caller: Caller | null
  readonly #options: SessionOptions
  readonly #clock: Clock
  readonly #outlet: Outlet
  readonly #channel: Channel
  #heardAt: number
  #beat: Timer
  #paused = false
  #bad = 0
  #requests = 0

  constructor(options: SessionOptions) {
    const { id, wire, place, caller } = options
    this.id = id
    this.caller = caller
    this.#options = options
    this.#clock = place.clock
    const { clock, cost } = place
    this.#outlet = new Outlet({ wire, clock, cost, onDrain: () => this.#flushAll() })
    this.#channel = { outlet: this.#outlet, paused: () => this.#paused, report: place.report }
    this.#heardAt = clock.monotonic()
    this.#beat = clock.after(HELLO_MS, () => this.#expectHello())
    this.#beat.keepAlive(false)
    if (caller !== null) this.#greet(caller)
  }

  receive(text: string): void {
    this.#heardAt = this.#clock.monotonic()
    if (this.#outlet.closed) return
    this.#options.place.cost.measure(() => {
      try {
        this.#handle(this.#parse(text))
      } catch (error) {
        this.#refuse(error, rawIds(text))
      }
    })
  }

  close(code: number, reason: string): void {
    this.#outlet.close(code, reason)
  }

  /** The socket is gone. Subscriptions stop reading but keep what they sent, for a viewer that comes back. */
  ended(): void {
    this.#outlet.end()
    this.#beat.cancel()
    for (const subscription of this.subscriptions.values()) subscription.end()
  }

  #parse(text: string): ClientFrame {
    if (Buffer.byteLength(text) > CLIENT_FRAME_BYTES_MAX) {
      throw new RuntimeError('PAYLOAD_TOO_LARGE', `The frame is larger than ${CLIENT_FRAME_BYTES_MAX} bytes.`)
    }
    const raw = parseJson(text)
    const topic: unknown = Reflect.get(Object(raw), 'topic')
    if (typeof topic === 'string' && !TOPIC_PATTERN.test(topic)) {
      throw new RuntimeError('TOPIC_UNKNOWN', `There is no topic ${JSON.stringify(topic.slice(0, 80))}.`)
    }
    const parsed = clientFrameSchema.safeParse(raw)
    if (parsed.success) return parsed.data
    const [issue] = parsed.error.issues
    const where = issue === undefined || issue.path.length === 0 ? 'frame' : issue.path.map(String).join('.')
    throw new RuntimeError('FRAME_INVALID', `${where}: ${issue?.message ?? 'does not fit'}.`)
  }

  #handle(frame: ClientFrame): void {
    if (frame.t === 'hello') return this.#hello(frame)
    if (frame.t === 'ping') return void this.#outlet.send({ t: 'pong', at: frame.at })
    if (frame.t === 'pong') return
    const { caller } = this
    if (caller === null) throw new RuntimeError('UNAUTHORIZED', 'Send a hello frame with a token first.')
    requireRole(caller, 'viewer', `The frame ${frame.t}`)
    switch (frame.t) {
      case 'sub':
        return this.#subscribe(frame, caller)
      case 'view':
        return this.#subscription(frame.id).setView(frame.view)
      case 'unsub':
        this.subscriptions.get(frame.id)?.end()
        this.subscriptions.delete(frame.id)
        return
      case 'ack':
        return this.subscriptions.get(frame.id)?.ack(frame.seq)
      case 'pause':
        return this.#pause()
      case 'resume':
        return this.#resume()
      case 'get':
        return this.#request(frame.rid, () => this.#get(frame))
      case 'plan':
        return this.#request(frame.rid, async () => {
          const plan = await this.#options.place.inspect.plan(frame.verb, frame.target)
          this.#outlet.send({ t: 'plan', rid: frame.rid, plan })
        })
      case 'act':
        return this.#act(frame, caller)
      default:
        frame satisfies never
    }
  }

  #hello(frame: Extract<ClientFrame, { t: 'hello' }>): void {
    if (this.caller !== null) return
    if (frame.token === undefined) throw new RuntimeError('UNAUTHORIZED', 'This server wants a token in hello.')
    this.caller = this.#options.door.identify(frame.token)
    this.#greet(this.caller)
  }

  #greet(caller: Caller): void {
    const { version, node } = this.#options.greeting
    const limits = {
      unackedFrames: UNACKED_FRAMES_MAX,
      subscriptions: SUBSCRIPTIONS_MAX,
      frameBytes: CLIENT_FRAME_BYTES_MAX,
      windowRows: WINDOW_ROWS_MAX,
    }
    const head = { protocol: FEED_PROTOCOL, session: this.id, version, node, now: this.#clock.now() } as const
    this.#outlet.send({ t: 'hello', ...head, roles: [...caller.roles], limits })
    this.#beat.cancel()
    this.#armBeat()
  }

  #subscribe(frame: Extract<ClientFrame, { t: 'sub' }>, caller: Caller): void {
    const { id, topic, view = {}, resume } = frame
    if (this.subscriptions.has(id)) throw new RuntimeError('FRAME_INVALID', `The subscription ${id} exists already.`)
    if (this.subscriptions.size >= SUBSCRIPTIONS_MAX) {
      throw new RuntimeError('SUBSCRIPTION_LIMIT', `There are ${SUBSCRIPTIONS_MAX} subscriptions, the most allowed.`)
    }
    const kept = resume === undefined ? null : this.#options.takeOver(resume.session, id, caller)
    if (kept !== null && resume !== undefined && kept.topic === topic && kept.resume(this.#channel, resume.seq)) {
      this.subscriptions.set(id, kept)
      if (frame.view !== undefined) kept.setView(frame.view)
      return
    }
    kept?.end()
    const subscription = this.#open(frame, view)
    this.subscriptions.set(id, subscription)
    if (!this.#paused || subscription instanceof LogSubscription) subscription.attach()
  }

  #open({ id, topic, maxHz, from }: Extract<ClientFrame, { t: 'sub' }>, view: RowView): Subscription {
    const { place } = this.#options
    const found = topicOf(topic, place)
    const periodMs = Math.max(found.periodMs, maxHz === undefined ? 0 : 1_000 / maxHz)
    const common = { id, topic, clock: place.clock, cost: place.cost, periodMs, channel: this.#channel }
    if (found.kind === 'log') return new LogSubscription({ ...common, acquire: found.acquire, from })
    return new RowSubscription({ ...common, view, acquire: found.acquire, history: found.history })
  }

  #subscription(id: string): Subscription {
    const found = this.subscriptions.get(id)
    if (found === undefined) throw new RuntimeError('NOT_FOUND', `There is no subscription ${id}.`)
    return found
  }

  /** A hidden page costs nothing: rows are not collected for it; logs go on, so that its gaps are counted. */
  #pause(): void {
    this.#paused = true
    for (const each of this.subscriptions.values()) if (each instanceof RowSubscription) each.detach()
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    for (const each of this.subscriptions.values()) {
      each.attach()
      each.wake()
    }
  }

  #request(rid: string, answer: () => Promise<void>): void {
    if (this.#requests >= REQUESTS_MAX) {
      throw new RuntimeError('SUBSCRIPTION_LIMIT', `${REQUESTS_MAX} requests wait for their answer. Wait for one.`)
    }
    if (this.#outlet.held) {
      throw new RuntimeError('SUBSCRIPTION_LIMIT', 'Too much was sent that is not read yet. Read it, then ask again.')
    }
    this.#requests++
    answer()
      .catch((error: unknown) => this.#refuse(error, { id: null, rid }))
      .finally(() => {
        this.#requests--
      })
  }

  async #get({ rid, ref, hash }: Extract<ClientFrame, { t: 'get' }>): Promise<void> {
    const blob = await readBlob(this.#options.place.inspect, ref)
    const unchanged = hash === blob.hash
    this.#outlet.send({ t: 'blob', rid, ref, ...blob, unchanged, body: unchanged ? null : blob.body })
  }

  #act(frame: Extract<ClientFrame, { t: 'act' }>, caller: Caller): void {
    const { rid } = frame
    this.#request(rid, async () => {
      const { desk, place } = this.#options
      requireRole(caller, 'operator', `The verb ${frame.verb}`)
      this.#outlet.send({ t: 'act', rid, state: 'accepted' })
      try {
        const result = await desk.act(frame, caller)
        this.#outlet.send({ t: 'act', rid, state: 'done', result })
      } catch (error) {
        if (!(error instanceof RuntimeError)) place.report(error)
        this.#outlet.send({ t: 'act', rid, state: 'failed', problem: problemOf(error) })
      }
    })
  }

  #refuse(error: unknown, ids: { id: string | null; rid: string | null }): void {
    if (!(error instanceof RuntimeError)) this.#options.place.report(error)
    const problem = problemOf(error)
    this.#outlet.send({ t: 'error', ...ids, problem })
    if (problem.code === 'UNAUTHORIZED') this.close(POLICY_VIOLATION, problem.detail)
    if (problem.code !== 'FRAME_INVALID' && problem.code !== 'PAYLOAD_TOO_LARGE') return
    this.#bad++
    if (this.#bad >= BAD_FRAMES_MAX) this.close(POLICY_VIOLATION, `${this.#bad} frames did not fit ${FEED_PROTOCOL}`)
  }

  #expectHello(): void {
    if (this.caller === null) this.close(POLICY_VIOLATION, 'no hello with a token came')
  }

  #armBeat(): void {
    this.#beat = this.#clock.after(PING_MS, () => {
      if (this.#outlet.closed) return
      if (this.#clock.monotonic() - this.#heardAt > SILENCE_MS) return this.close(GOING_AWAY, 'pings were not answered')
      this.#outlet.send({ t: 'ping', at: this.#clock.now() })
      this.#armBeat()
    })
    this.#beat.keepAlive(false)
  }

  #flushAll(): void {
    for (const subscription of this.subscriptions.values()) subscription.wake()
  }
}

type RowView = NonNullable<Extract<ClientFrame, { t: 'sub' }>['view']>

/** Which subscription or request a refused frame was about, if that can be read. */
function rawIds(text: string): { id: string | null; rid: string | null } {
  if (Buffer.byteLength(text) > CLIENT_FRAME_BYTES_MAX) return { id: null, rid: null }
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return { id: null, rid: null } // the refusal itself says that it is not JSON
  }
  const read = (name: string): string | null => {
    const value: unknown = Reflect.get(Object(raw), name)
    return typeof value === 'string' ? value.slice(0, 64) : null
  }
  return { id: read('id'), rid: read('rid') }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new RuntimeError('FRAME_INVALID', `The frame is not JSON: ${error instanceof Error ? error.message : error}.`)
  }
}
