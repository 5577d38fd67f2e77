/**
 * The feed of one runtime: takes WebSocket upgrades under its path, owns the sessions and what they share.
 *
 * - F13: `attach` looks at no upgrade outside its path and at no request at all: the rest of the host's server is the
 *   host's. What is refused is refused with an HTTP problem before any upgrade.
 * - F14: nothing in here can crash the host: errors in timers and frames are reported and end at most one connection.
 * - Subscriptions of a lost connection are kept for RESUME_MS, at most DETACHED_MAX connections of them.
 */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { RuntimeError } from '../../shared/error.ts'
import { CLIENT_FRAME_BYTES_MAX, FEED_PROTOCOL } from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'
import type { Caller } from '../../shared/role.ts'
import type { Clock } from '../clock.ts'
import type { Control } from '../control.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { Streams } from '../observe/streams.ts'
import type { Random } from '../random.ts'
import { ActionDesk } from './action.ts'
import type { Wire } from './backpressure.ts'
import { CollectorHub, LINGER_MS } from './collector.ts'
import { CostMeter, type FeedCost } from './cost.ts'
import { type Door, Session } from './session.ts'
import type { Subscription } from './subscription.ts'
import type { Place } from './topic.ts'

/** Decides who may connect; server/http/guard.ts makes one. */
export type FeedGuard = Door & { admit(request: Request, writes: boolean): Promise<Caller | null> }

export type FeedOptions = {
  readonly inspect: Inspect
  /** For the topics `stream:<id>/<name>`. */
  readonly streams?: Streams
  readonly control: Control
  readonly guard: FeedGuard
  readonly clock: Clock
  readonly random: Random
  readonly node: string
  readonly version: string
  /** Learns of errors that are bugs. */
  readonly report?: (error: unknown) => void
  /** Processor time of this thread; a seam for tests. */
  readonly cpuMs?: () => number
}

/** Milliseconds; as long as collectors linger, so that a viewer that returns finds them. */
const RESUME_MS = LINGER_MS
const DETACHED_MAX = 200
/** Bytes of a frame the socket accepts: a little more than the grammar allows, so that it can be refused in words. */
const SOCKET_FRAME_BYTES_MAX = 4 * CLIENT_FRAME_BYTES_MAX
const GOING_AWAY = 1001
const CLOSING = 'the server is shutting down'
const REPLACED = 4001

export class Feed {
  readonly #options: FeedOptions
  readonly #place: Place
  readonly #desk: ActionDesk
  readonly #cost: CostMeter
  readonly #sockets: WebSocketServer
  readonly #sessions = new Map<string, Session>()
  /** The guard a session came in by. */
  readonly #doors = new WeakMap<Session, FeedGuard>()
  /** Sessions whose connection was lost, oldest first. */
  readonly #detached = new Map<string, Session>()
  readonly #detaches = new Set<() => void>()

  constructor(options: FeedOptions) {
    const report = (error: unknown) => options.report?.(error)
    const clock = guarded(options.clock, report)
    this.#options = options
    this.#cost = new CostMeter(clock, options.cpuMs)
    const { inspect, streams = null } = options
    this.#place = { clock, inspect, streams, hub: new CollectorHub(clock), cost: this.#cost, report }
    this.#desk = new ActionDesk(options.control, clock)
    this.#sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: SOCKET_FRAME_BYTES_MAX,
      handleProtocols: (offered) => (offered.has(FEED_PROTOCOL) ? FEED_PROTOCOL : false),
    })
  }

  /** What watching costs now, for Inspect.vitals. */
  cost(): FeedCost {
    return this.#cost.read()
  }

  /** Collectors that run: 0 when nobody watches. */
  get collectors(): number {
    return this.#place.hub.size
  }

  /** Takes upgrades of `server` under exactly `path`. Returns the end of it; open connections go on. */
  attach(server: Server, path: string, guard: FeedGuard = this.#options.guard): () => void {
    const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (pathOf(request) !== path) return
      this.#upgrade(request, socket, head, guard).catch((error: unknown) => {
        if (!(error instanceof RuntimeError)) this.#options.report?.(error)
        refuse(socket, error)
      })
    }
    server.on('upgrade', onUpgrade)
    const detach = () => {
      server.off('upgrade', onUpgrade)
      this.#detaches.delete(detach)
    }
    this.#detaches.add(detach)
    return detach
  }

  /** A place of its own to attach at: its viewers are admitted by `guard`, and closing it says goodbye to them only. */
  entrance(guard: FeedGuard): { attach(server: Server, path: string): () => void; close(reason?: string): void } {
    const detaches: (() => void)[] = []
    return {
      attach: (server, path) => {
        const detach = this.attach(server, path, guard)
        detaches.push(detach)
        return detach
      },
      close: (reason = CLOSING) => {
        for (const detach of detaches.splice(0)) detach()
        for (const session of this.#sessions.values()) {
          if (this.#doors.get(session) === guard) session.close(GOING_AWAY, reason)
        }
      },
    }
  }

  /** A connection by any kind of wire. Returns where its frames and its end go. */
  connect(
    wire: Wire,
    caller: Caller | null,
    guard: FeedGuard = this.#options.guard,
  ): { receive: (text: string) => void; ended: () => void } {
    const { node, version, random } = this.#options
    const session = new Session({
      id: random.id(),
      wire,
      place: this.#place,
      desk: this.#desk,
      door: guard,
      caller,
      greeting: { node, version },
      takeOver: (from, id, by) => this.#takeOver(from, id, by, guard),
    })
    this.#sessions.set(session.id, session)
    this.#doors.set(session, guard)
    this.#cost.viewers++
    let over = false
    const ended = () => {
      if (over) return
      over = true
      this.#cost.viewers--
      this.#sessions.delete(session.id)
      session.ended()
      this.#keep(session)
    }
    return { receive: (text) => session.receive(text), ended }
  }

  /** Says goodbye to all viewers and stops all collectors. */
  close(reason = CLOSING): void {
    for (const detach of [...this.#detaches]) detach()
    for (const session of this.#sessions.values()) session.close(GOING_AWAY, reason)
    this.#detached.clear()
    this.#place.hub.close()
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, guard: FeedGuard): Promise<void> {
    const onError = () => socket.destroy()
    socket.on('error', onError)
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim())
    if (!offered.includes(FEED_PROTOCOL)) {
      throw new RuntimeError(
        'REQUEST_INVALID',
        `Offer the subprotocol ${FEED_PROTOCOL}; offered was [${offered.join(', ')}].`,
      )
    }
    const caller = await guard.admit(toRequest(request), true)
    if (socket.destroyed) return
    socket.off('error', onError)
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#accept(webSocket, caller, guard))
  }

  #accept(socket: WebSocket, caller: Caller | null, guard: FeedGuard): void {
    const { receive, ended } = this.connect(wireOf(socket), caller, guard)
    // Frames are text. A binary one is read as text: it will not parse, and is refused in words.
    socket.on('message', (data) => receive(String(data)))
    socket.on('close', ended)
    socket.on('error', ended)
  }

  #keep(session: Session): void {
    if (session.subscriptions.size === 0) return
    this.#detached.set(session.id, session)
    const oldest = this.#detached.keys().next().value
    if (this.#detached.size > DETACHED_MAX && oldest !== undefined) this.#detached.delete(oldest)
    this.#place.clock.after(RESUME_MS, () => this.#detached.delete(session.id)).keepAlive(false)
  }

  #takeOver(from: string, id: string, caller: Caller, guard: FeedGuard): Subscription | null {
    const live = this.#sessions.get(from)
    const session = live ?? this.#detached.get(from)
    // Another guard may call somebody else by the same name.
    if (session === undefined || this.#doors.get(session) !== guard || session.caller?.actor !== caller.actor)
      return null
    const found = session.subscriptions.get(id) ?? null
    if (found === null) return null
    session.subscriptions.delete(id)
    found.end()
    // A viewer that comes back before its old connection is known to be dead: that one is of no use to anybody.
    if (live !== undefined) live.close(REPLACED, 'the viewer came back on another connection')
    return found
  }
}

function wireOf(socket: WebSocket): Wire {
  return {
    get buffered() {
      return socket.bufferedAmount
    },
    send: (text, taken) => socket.send(text, taken),
    close: (code, reason) => socket.close(code, reason),
    terminate: () => socket.terminate(),
  }
}

function guarded(clock: Clock, report: (error: unknown) => void): Clock {
  const after: Clock['after'] = (ms, fn) =>
    clock.after(ms, () => {
      try {
        fn()
      } catch (error) {
        report(error)
      }
    })
  return { ...bound(clock), after }
}

function bound(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (ms, fn) => clock.after(ms, fn),
    microtask: (fn) => clock.microtask(fn),
    macrotask: (fn) => clock.macrotask(fn),
  }
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

function toRequest(request: IncomingMessage): Request {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    for (const each of Array.isArray(value) ? value : [value ?? '']) headers.append(name, each)
  }
  // Only path and headers are looked at; the Host is checked from its header.
  return new Request(new URL(pathOf(request), 'http://feed.invalid'), { headers })
}

function refuse(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return
  const problem = problemOf(error)
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
