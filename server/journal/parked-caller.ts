/**
 * Callers of this runtime whose call is in the hand of a parked turn: they hear its answer where the turn ends here.
 *
 * - One that gave up meanwhile is forgotten; at the latest its patience ends that (kernel/call.ts).
 * - Bounded: the oldest beyond the bound hears nothing before its patience ends, as with any turn that ends elsewhere.
 */
import type { ReplyTo } from '../kernel/envelope.ts'

/** As many as turns that are known to be parked. */
export const CALLERS_MAX = 100_000
/** Entries before the first look for those that gave up; the next one is at twice what is left, so that a look costs
 *  each entry little. */
export const LOOK_MIN = 1_000
/** What a look at the bound leaves, so that the next one is thousands of callers away. */
const KEPT_MAX = CALLERS_MAX * 0.9

export class ParkedCallers {
  readonly #replies = new Map<string, ReplyTo>()
  #lookAt = LOOK_MIN

  get size(): number {
    return this.#replies.size
  }

  /** @param id  of the message */
  add(id: string, reply: ReplyTo): void {
    if (reply.settled) return
    this.#replies.set(id, reply)
    if (this.#replies.size >= this.#lookAt) this.#look()
  }

  /** The turn is in memory again, and its message has the caller. */
  take(id: string): ReplyTo | null {
    const reply = this.#replies.get(id) ?? null
    this.#replies.delete(id)
    return reply
  }

  #look(): void {
    for (const [id, { settled }] of this.#replies) if (settled) this.#replies.delete(id)
    for (const id of this.#replies.keys()) {
      if (this.#replies.size <= KEPT_MAX) break
      this.#replies.delete(id)
    }
    this.#lookAt = Math.min(CALLERS_MAX, Math.max(LOOK_MIN, 2 * this.#replies.size))
  }
}
