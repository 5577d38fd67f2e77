/**
 * Looks at the beat of a thread and finds out who holds it.
 *
 * - It asks nothing of the watched thread and waits for nothing from it, so it works while that one spins for ever.
 * - A hold is told once, after its end. One that goes on has only this object to speak for it: it says so each time the
 *   hold has become twice as long.
 * - A hold may be of several, one behind the other: it is looked into several times, and named after the one who was
 *   found most often.
 * - A look that comes late itself judges nothing: the machine or the whole process stood still.
 */
import type { Clock } from '../kernel/clock-port.ts'
import { BEAT_MS, type Beat } from './beat.ts'
import type { Hold } from './hold.ts'
import type { LiveStack, StackReader } from './live-stack.ts'

/** Ms after which a hold is spoken of while it lasts: long for an agent, soon for who waits for the node. */
const SPEAK_MS = 2_000
/** Looks into a hold in a row, one each `warnMs`; later ones are as far apart as the hold was long: each costs it some
 *  ms. */
const CLOSE_LOOKS = 4
/** Ms between two looks from which on this thread did not get its time either. */
const STALL_MS = 4 * BEAT_MS
/** Frames of what is spoken. */
const SPOKEN_FRAMES = 3

export type HoldWatchPorts = {
  readonly clock: Clock
  readonly beat: Beat
  readonly reader: Pick<StackReader, 'read'>
  readonly warnMs: number
  tell(hold: Hold): void
  speak(text: string): void
}

export class HoldWatch {
  readonly #ports: HoldWatchPorts
  #seen: number
  #seenAt: number
  #lookedAt: number
  /** What was found in this hold, and how often. */
  #found: { stack: LiveStack; times: number }[] = []
  #looks = 0
  /** A look that goes on: native code lets it in only when it returns. */
  #reading = false
  #nextMs: number

  constructor(ports: HoldWatchPorts) {
    this.#ports = ports
    this.#seen = ports.beat.count
    this.#seenAt = ports.clock.monotonic()
    this.#lookedAt = this.#seenAt
    this.#nextMs = ports.warnMs
  }

  look(): void {
    const { clock, beat } = this.#ports
    clock.after(BEAT_MS, () => this.look())
    const now = clock.monotonic()
    const stalled = now - this.#lookedAt > STALL_MS
    this.#lookedAt = now
    const { count } = beat
    if (count !== this.#seen) {
      if (this.#looks > 0) this.#tell()
      this.#begin(count, now)
    } else if (stalled && this.#looks === 0) this.#seenAt = now
    else if (beat.debugged) this.#begin(count, now)
    else if (!this.#reading && now - this.#seenAt >= this.#nextMs) this.#ask(now - this.#seenAt)
  }

  #begin(count: number, now: number): void {
    this.#seen = count
    this.#seenAt = now
    this.#found = []
    this.#looks = 0
    this.#nextMs = this.#ports.warnMs
  }

  #ask(heldMs: number): void {
    const { beat, reader, warnMs } = this.#ports
    const of = this.#seen
    this.#looks += 1
    this.#nextMs = this.#looks < CLOSE_LOOKS ? heldMs + warnMs : 2 * heldMs
    const still = (): boolean => beat.count === of
    this.#reading = true
    void reader.read(still).then((stack) => {
      this.#reading = false
      if (!still()) return
      if (stack !== null) {
        this.#note(stack)
        beat.stackTaken()
      }
      if (heldMs >= SPEAK_MS) this.#ports.speak(spoken(heldMs, stack))
    })
  }

  /** The latest stack stands for its holder. */
  #note(stack: LiveStack): void {
    const known = this.#found.find((one) => one.stack.holder?.id === stack.holder?.id)
    if (known === undefined) this.#found.push({ stack, times: 1 })
    else {
      known.stack = stack
      known.times += 1
    }
  }

  #tell(): void {
    const [most] = this.#found.toSorted((a, b) => b.times - a.times)
    const { holder = null, stack = [] } = most?.stack ?? {}
    this.#ports.tell({ durationMs: this.#ports.beat.lateMs, holder, stack })
  }
}

function spoken(heldMs: number, found: LiveStack | null): string {
  const who = found?.holder == null ? 'Code of no process' : `${found.holder.id} (${found.holder.op ?? 'no message'})`
  const where = (found?.stack ?? []).slice(0, SPOKEN_FRAMES).map((frame) => `\n    at ${frame}`)
  const seconds = Math.round(heldMs / 100) / 10
  return `vivarium: ${who} has held the thread of its node for ${seconds} s; nothing else runs.${where.join('')}\n`
}
