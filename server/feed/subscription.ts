/**
 * What every subscription does, whatever its topic: number frames, keep the unacknowledged ones, wait when it must.
 *
 * - F7: at most UNACKED_FRAMES_MAX frames are unacknowledged. What changes meanwhile is merged into the next frame.
 * - F8: a subscription can be detached from a lost connection and continued on another one at a known seq: the frames
 *   above it are sent again as they were. Any other seq means starting anew.
 * - Frames leave at most every `periodMs`, and so rarely that PACE_BYTES a second are not exceeded.
 */
import { type ServerFrame, UNACKED_FRAMES_MAX, type View } from '../../shared/frame.ts'
import { problemOf } from '../../shared/problem.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Outlet } from './backpressure.ts'
import type { CostMeter } from './cost.ts'

/** Bytes a second of one subscription: with vital signs and needs a page stays under 25 KB/s. */
export const PACE_BYTES = 20_000
/** Milliseconds the pace may hold a frame back at the most. */
const PACE_MS_MAX = 5_000
/** Milliseconds between frames when the viewer itself asked for something else, e.g. while it scrolls. */
const ASKED_MS = 30

/** The connection a subscription speaks through; it changes when a viewer comes back. */
export type Channel = { outlet: Outlet; paused: () => boolean; report: (error: unknown) => void }

type Numbered = Extract<ServerFrame, { seq: number }>
/** A frame before it has id and number. */
export type Draft = Numbered extends infer F ? (F extends Numbered ? Omit<F, 'id' | 'seq'> : never) : never

export type SubscriptionOptions = {
  id: string
  topic: string
  clock: Clock
  periodMs: number
  cost: CostMeter
  channel: Channel
}

export abstract class Subscription {
  readonly id: string
  readonly topic: string
  protected readonly clock: Clock
  readonly #cost: CostMeter
  readonly #periodMs: number
  #channel: Channel
  #seq = 0
  #unacked: { seq: number; text: string }[] = []
  #timer: Timer | null = null
  #nextAt = Number.NEGATIVE_INFINITY
  #lastAt = Number.NEGATIVE_INFINITY
  #dirty = false
  #ended = false

  constructor(options: SubscriptionOptions) {
    this.id = options.id
    this.topic = options.topic
    this.clock = options.clock
    this.#cost = options.cost
    this.#periodMs = options.periodMs
    this.#channel = options.channel
  }

  protected get outlet(): Outlet {
    return this.#channel.outlet
  }

  /** The next frame, or null when there is nothing new. Called only when a frame may be sent. */
  protected abstract draft(): Draft | null
  /** Whether more is waiting right after a frame. */
  protected abstract more(): boolean
  abstract setView(view: View): void
  /** Begins to read its source. False when the source is another one than it read before. */
  abstract attach(): boolean
  /** Stops reading its source; what was sent is kept. */
  abstract detach(): void

  /** Something may have changed. */
  wake(): void {
    if (this.#dirty && this.#timer !== null) return // under a flood of events this is the whole cost of one
    this.#dirty = true
    this.#schedule(this.#nextAt)
  }

  /** As `wake`, for what the viewer asked for itself: it does not wait for its turn. */
  answer(): void {
    this.#dirty = true
    this.#schedule(this.#lastAt + ASKED_MS)
  }

  ack(seq: number): void {
    this.#unacked = this.#unacked.filter((frame) => frame.seq > seq)
    if (this.#dirty) this.#schedule(this.#nextAt)
  }

  /** Continues on another connection; false when it cannot, and has to be made anew. */
  resume(channel: Channel, seq: number): boolean {
    const oldest = this.#seq - this.#unacked.length
    if (seq > this.#seq || seq < oldest) return false
    this.#ended = false
    if (!this.attach()) return false
    this.#channel = channel
    this.#unacked = this.#unacked.filter((frame) => frame.seq > seq)
    for (const { text } of this.#unacked) channel.outlet.sendText(text)
    this.answer()
    return true
  }

  end(): void {
    this.#ended = true
    this.#timer?.cancel()
    this.#timer = null
    this.detach()
  }

  /** Sends what is new, if anything may be sent now; otherwise it stays dirty until an ack, a drain or a resume. */
  #flush(): void {
    this.#timer = null
    const { outlet, paused, report } = this.#channel
    if (this.#ended || !this.#dirty || outlet.closed || paused() || outlet.held) return
    if (this.#unacked.length >= UNACKED_FRAMES_MAX) return
    this.#dirty = false
    try {
      const bytes = this.#cost.measure(() => this.#send(outlet))
      if (bytes > 0 && this.more()) this.wake()
    } catch (error) {
      // This runs in timers and listeners of the runtime: a bug here must not reach what is watched.
      report(error)
      outlet.send({ t: 'error', id: this.id, rid: null, problem: problemOf(error) })
    }
  }

  /** Bytes sent; 0 when there is nothing new. */
  #send(outlet: Outlet): number {
    const draft = this.draft()
    if (draft === null) return 0
    const seq = ++this.#seq
    const text = JSON.stringify({ ...draft, id: this.id, seq })
    this.#unacked.push({ seq, text })
    const bytes = outlet.sendText(text)
    this.#lastAt = this.clock.monotonic()
    const pause = Math.min(PACE_MS_MAX, (bytes / PACE_BYTES) * 1_000)
    this.#nextAt = this.#lastAt + Math.max(this.#periodMs, pause)
    return bytes
  }

  #schedule(at: number): void {
    if (this.#ended) return
    const waitMs = at - this.clock.monotonic()
    this.#timer?.cancel()
    this.#timer = null
    if (!(waitMs > 0)) return this.#flush()
    this.#timer = this.clock.after(waitMs, () => this.#flush())
    this.#timer.keepAlive(false)
  }
}
