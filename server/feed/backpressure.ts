/**
 * The way out to one viewer, and the guard against a viewer that does not read.
 *
 * - F5: with more than HOLD_BYTES unread by the socket nothing but answers is sent; newer data replaces what waits.
 * - F6: more than CLOSE_BYTES unread, or no byte taken for STUCK_MS, closes the connection with 1013 and a reason.
 *   So the memory of a connection is bounded by construction, whatever its viewer does.
 */
import type { ServerFrame } from '../../shared/frame.ts'
import type { Clock, Timer } from '../clock.ts'
import type { CostMeter } from './cost.ts'

export const HOLD_BYTES = 1024 * 1024
export const CLOSE_BYTES = 8 * 1024 * 1024
export const STUCK_MS = 30_000
/** Milliseconds between two looks at a socket that has unread bytes. */
const WATCH_MS = 1_000
/** WebSocket close code: try again later. */
export const TRY_AGAIN_LATER = 1013

/** A socket, as far as the feed knows one. */
export interface Wire {
  /** Bytes accepted by `send` that the socket has not taken yet. */
  readonly buffered: number
  /** `taken` runs when the socket took the bytes, or never. */
  send(text: string, taken: () => void): void
  close(code: number, reason: string): void
  /** Ends it without a closing handshake. */
  terminate(): void
}

export class Outlet {
  readonly #wire: Wire
  readonly #clock: Clock
  readonly #cost: CostMeter
  readonly #onDrain: () => void
  #watch: Timer | null = null
  #least = 0
  #leastAt = 0
  #wasHeld = false
  #closed = false

  constructor(options: { wire: Wire; clock: Clock; cost: CostMeter; onDrain: () => void }) {
    this.#wire = options.wire
    this.#clock = options.clock
    this.#cost = options.cost
    this.#onDrain = options.onDrain
  }

  get closed(): boolean {
    return this.#closed
  }

  get held(): boolean {
    return this.#wire.buffered > HOLD_BYTES
  }

  send(frame: ServerFrame): number {
    return this.sendText(JSON.stringify(frame))
  }

  /** Bytes sent; 0 when the connection is closed. */
  sendText(text: string): number {
    if (this.#closed) return 0
    const bytes = Buffer.byteLength(text)
    this.#cost.sent(bytes)
    this.#wire.send(text, () => this.#taken())
    if (this.#wire.buffered > 0 && this.#watch === null) this.#startWatch()
    if (this.held) this.#wasHeld = true
    return bytes
  }

  /** Says why, then closes. A viewer that reads nothing is cut off after a moment. */
  close(code: number, reason: string): void {
    if (this.#closed) return
    this.send({ t: 'bye', code, reason })
    this.end()
    this.#wire.close(code, reason)
    this.#clock.after(WATCH_MS, () => this.#wire.terminate()).keepAlive(false)
  }

  /** The socket is gone or going: nothing is sent any more. */
  end(): void {
    this.#closed = true
    this.#watch?.cancel()
    this.#watch = null
  }

  #taken(): void {
    if (this.#closed || !this.#wasHeld || this.held) return
    this.#wasHeld = false
    this.#onDrain()
  }

  #startWatch(): void {
    this.#least = this.#wire.buffered
    this.#leastAt = this.#clock.monotonic()
    this.#look()
  }

  #look(): void {
    const { buffered } = this.#wire
    const now = this.#clock.monotonic()
    if (this.#closed) return
    if (buffered === 0) {
      this.#watch = null
      return
    }
    if (buffered > CLOSE_BYTES) return this.close(TRY_AGAIN_LATER, `${buffered} bytes were not read`)
    if (buffered < this.#least) {
      this.#least = buffered
      this.#leastAt = now
    }
    // New frames raise the level again; what counts is whether it ever falls.
    if (now - this.#leastAt >= STUCK_MS)
      return this.close(TRY_AGAIN_LATER, `nothing was read for ${STUCK_MS / 1_000} s`)
    this.#watch = this.#clock.after(WATCH_MS, () => this.#look())
    this.#watch.keepAlive(false)
  }
}
