/**
 * Messages of one process in order of arrival. The limit is kept by the sender's verb (kernel.ts), not here: system
 * messages, replies, exits and redelivered messages are exempt from it.
 *
 * - K10: first in, first out; `unshift` is for a message that was in hand and goes back.
 */
import type { Envelope } from './envelope.ts'

/** Slots kept when the mailbox runs empty: a burst must not hold its memory for ever. */
const SLOTS_KEPT = 64
/** Consumed slots before the rest is moved down: keeps a never-empty mailbox from growing. */
const COMPACT_AT = 1_024

export class Mailbox {
  // The array is reused while it is small: emptying and refilling it costs no allocation.
  #items: (Envelope | undefined)[] = []
  #head = 0
  #tail = 0

  get length(): number {
    return this.#tail - this.#head
  }

  push(envelope: Envelope): void {
    this.#items[this.#tail++] = envelope
  }

  shift(): Envelope | undefined {
    const head = this.#head
    if (head === this.#tail) return undefined
    const envelope = this.#items[head]
    this.#items[head] = undefined // the array lives on; the message must not
    this.#head = head + 1
    if (this.#head === this.#tail) {
      this.#head = this.#tail = 0
      if (this.#items.length > SLOTS_KEPT) this.#items = []
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#tail)
      this.#reset(this.#items.slice(this.#head, this.#tail))
    return envelope
  }

  unshift(envelope: Envelope): void {
    if (this.#head > 0) {
      this.#head -= 1
      this.#items[this.#head] = envelope
    } else this.#reset([envelope, ...this.#items.slice(0, this.#tail)])
  }

  /** Removes the first message that satisfies `test`, wherever it is. */
  take(test: (envelope: Envelope) => boolean): Envelope | undefined {
    return this.takeFirst(test)?.envelope
  }

  /** The same, and how many messages are before it. */
  takeFirst(test: (envelope: Envelope) => boolean): { envelope: Envelope; index: number } | undefined {
    const index = this.indexOf(test)
    const envelope = this.#items[this.#head + index]
    if (index < 0 || envelope === undefined) return undefined
    this.#items.splice(this.#head + index, 1)
    this.#tail -= 1
    return { envelope, index }
  }

  /** The first message that satisfies `test`, without taking it. */
  find(test: (envelope: Envelope) => boolean): Envelope | undefined {
    const index = this.indexOf(test)
    return index < 0 ? undefined : this.#items[this.#head + index]
  }

  /** Position of the first message that satisfies `test`; -1 when none does. */
  indexOf(test: (envelope: Envelope) => boolean): number {
    for (let i = this.#head; i < this.#tail; i++) {
      const envelope = this.#items[i]
      if (envelope !== undefined && test(envelope)) return i - this.#head
    }
    return -1
  }

  /** Puts a message back behind `index` others, or last where there are fewer. */
  insert(envelope: Envelope, index: number): void {
    const at = Math.min(this.#head + index, this.#tail)
    this.#items.splice(at, 0, envelope)
    this.#tail += 1
  }

  /** Oldest first, without taking; at most `limit` from position `offset`. */
  peek(offset: number, limit: number): Envelope[] {
    const from = this.#head + offset
    return this.#items.slice(from, Math.min(from + limit, this.#tail)).filter((item) => item !== undefined)
  }

  /** Empties the mailbox and hands out what was in it, oldest first. */
  drain(): Envelope[] {
    const rest = this.peek(0, this.length)
    this.#reset([])
    return rest
  }

  #reset(items: (Envelope | undefined)[]): void {
    this.#items = items
    this.#head = 0
    this.#tail = items.length
  }
}
