/**
 * One WebSocket connection of the feed: it opens, greets, parses, and pings. It knows no subscription and never
 * comes back; a lost connection is reported once and this object is then done.
 *
 * - Every frame is checked against shared/frame.ts; one that does not fit is counted and reported, never guessed at.
 * - A connection that stays silent for SILENCE_MS_MAX although we ping is dead: half-open sockets look alive for hours.
 */
import './jitless.ts'
import { type ClientFrame, FEED_PROTOCOL, PING_MS, type ServerFrame, serverFrameSchema } from '../../shared/frame.ts'

/** Milliseconds. Three pings without an answer. */
export const SILENCE_MS_MAX = 3 * PING_MS + 2_000

export type SocketClosed = { code: number; reason: string }

export type SocketOptions = {
  url: string
  onFrame: (frame: ServerFrame) => void
  /** A frame outside the grammar: the server is newer or broken; the page says so. */
  onUnknown: (text: string) => void
  onClose: (closed: SocketClosed) => void
}

export class FeedSocket {
  /** Epoch milliseconds of this machine; any frame counts. */
  heardAt = Date.now()
  bytes = 0
  readonly #socket: WebSocket
  readonly #options: SocketOptions
  #timer: ReturnType<typeof setInterval> | undefined
  #closed = false

  constructor(options: SocketOptions) {
    this.#options = options
    this.#socket = new WebSocket(options.url, FEED_PROTOCOL)
    this.#socket.onopen = () => this.#opened()
    this.#socket.onmessage = (event: MessageEvent<unknown>) => this.#received(event.data)
    this.#socket.onclose = (event) => this.#ended({ code: event.code, reason: event.reason })
  }

  /** False when the connection is not open; the frame is then not kept. */
  send(frame: ClientFrame): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false
    this.#socket.send(JSON.stringify(frame))
    return true
  }

  close(reason: string): void {
    this.#socket.close(1000, reason)
    this.#ended({ code: 1000, reason })
  }

  #opened(): void {
    this.heardAt = Date.now()
    this.send({ t: 'hello', client: 'observer' })
    this.#timer = setInterval(() => this.#beat(), PING_MS)
  }

  #beat(): void {
    if (Date.now() - this.heardAt > SILENCE_MS_MAX) {
      this.#socket.close(4000, 'silent')
      this.#ended({ code: 4000, reason: 'The server did not answer three pings.' })
      return
    }
    this.send({ t: 'ping', at: Date.now() })
  }

  #received(data: unknown): void {
    if (this.#closed || typeof data !== 'string') return
    this.heardAt = Date.now()
    this.bytes += data.length
    const parsed = serverFrameSchema.safeParse(parseJson(data))
    if (!parsed.success) {
      this.#options.onUnknown(data.slice(0, 200))
      return
    }
    if (parsed.data.t === 'ping') this.send({ t: 'pong', at: parsed.data.at })
    this.#options.onFrame(parsed.data)
  }

  #ended(closed: SocketClosed): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.#options.onClose(closed)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // fails the schema, and is reported with its head
  }
}
