/**
 * Messages of one process in order of arrival. The limit is kept by the sender's verb (kernel.ts), not here: system
 * messages, replies, exits and redelivered messages are exempt from it.
 *
 * - K10: first in, first out; `unshift` is for a message that was in hand and goes back.
 */
import type { Envelope } from './envelope.ts'

/** Slots of consumed messages before the rest is moved down: keeps a never-empty mailbox from growing. */
const COMPACT_AT = 1_024

export class Mailbox {
  #items: (Envelope | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(envelope: Envelope): void {
    this.#items.push(envelope)
  }

  shift(): Envelope | undefined {
    const items = this.#items
    const head = this.#head
    if (head === items.length) return undefined
    const envelope = items[head]
    items[head] = undefined // the array lives on; the message must not
    this.#head = head + 1
    if (this.#head === items.length) {
      items.length = 0
      this.#head = 0
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= items.length) {
      this.#items = items.slice(this.#head)
      this.#head = 0
    }
    return envelope
  }

  unshift(envelope: Envelope): void {
    if (this.#head === 0) {
      this.#items.unshift(envelope)
      return
    }
    this.#head -= 1
    this.#items[this.#head] = envelope
  }

  /** Removes the first message that satisfies `test`, wherever it is. */
  take(test: (envelope: Envelope) => boolean): Envelope | undefined {
    for (let i = this.#head; i < this.#items.length; i++) {
      const envelope = this.#items[i]
      if (envelope === undefined || !test(envelope)) continue
      this.#items.splice(i, 1)
      return envelope
    }
    return undefined
  }

  /** Oldest first, without taking; at most `limit` from position `offset`. */
  peek(offset: number, limit: number): Envelope[] {
    const from = this.#head + offset
    return this.#items.slice(from, from + limit).filter((item) => item !== undefined)
  }

  /** Empties the mailbox and hands out what was in it, oldest first. */
  drain(): Envelope[] {
    const rest = this.peek(0, this.length)
    this.#items = []
    this.#head = 0
    return rest
  }
}
