/**
 * Who goes on next, and what time it is. Everything that happens in a simulation is an item here: a timer, a macrotask,
 * a statement that reaches the store, an answer that comes back, a hint. One seed gives one order.
 *
 * - Of all that is due the dice pick one. Only macrotasks of one place, and timers of one place, keep their order.
 * - After each item all microtasks run; those are deterministic by themselves. Time passes only when nothing is due.
 * - A place that is dead does nothing any more. One that is frozen does it later, all at once: a paused machine.
 */
import type { Clock, Timer } from '../../server/kernel/clock-port.ts'
import type { Dice } from './dice.ts'
import type { Trace } from './trace.ts'

/** Items of one seed: some hundred times what any takes. More is a loop in which no time passes. */
const ITEMS_MAX = 2_000_000

/** Epoch ms at which every simulation begins. */
const BEGIN = 1_700_000_000_000

type Item = {
  readonly at: number
  readonly order: number
  readonly place: Place
  readonly what: string
  readonly run: () => void
  gone: boolean
}

/** A machine: a node, the database, the world outside. */
export class Place {
  readonly name: string
  dead = false
  /** Time of the simulation until which it does nothing. */
  frozenUntil = 0
  /** Ms by which its wall clock is ahead. */
  wall = 0
  readonly macrotasks: (() => void)[] = []
  readonly timers: Item[] = []

  constructor(name: string) {
    this.name = name
  }
}

export class Schedule {
  /** Ms since the begin. */
  now = 0
  items = 0
  readonly trace: Trace
  readonly #dice: Dice
  readonly #places: Place[] = []
  /** A heap by time and order. */
  readonly #later: Item[] = []
  #due: Item[] = []
  #order = 0

  constructor(dice: Dice, trace: Trace) {
    this.#dice = dice
    this.trace = trace
  }

  place(name: string): Place {
    const place = new Place(name)
    this.#places.push(place)
    return place
  }

  clock(place: Place): Clock {
    return {
      now: () => BEGIN + this.now + place.wall,
      monotonic: () => this.now,
      after: (ms, run) => this.#timer(place, ms, run),
      microtask: (run) => queueMicrotask(() => void (place.dead || run())),
      macrotask: (run) => void place.macrotasks.push(run),
    }
  }

  /** Happens there after `ms`, in no order with anything else. */
  at(place: Place, ms: number, what: string, run: () => void): void {
    this.#push({ at: this.now + Math.max(0, ms), order: this.#order++, place, what, run, gone: false })
  }

  pause(place: Place, ms: number): Promise<void> {
    return new Promise((resolve) => this.at(place, ms, 'pause', resolve))
  }

  #timer(place: Place, ms: number, run: () => void): Timer {
    const item = { at: this.now + Math.max(0, ms), order: this.#order++, place, what: 'timer', run, gone: false }
    this.#push(item)
    return {
      cancel: () => {
        item.gone = true
      },
      keepAlive: () => {},
    }
  }

  /** Lets things happen until the condition holds. False when it does not within `limitMs`. */
  async run(holds: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.now + limitMs
    for (;;) {
      await microtasks()
      if (holds()) return true
      if (this.items > ITEMS_MAX) return false
      while (!this.#step()) if (!this.#pass(end)) return false
    }
  }

  /** Runs one item that is due; false when there is none. */
  #step(): boolean {
    this.#collect()
    const busy = this.#places.filter((place) => this.#awake(place) && place.macrotasks.length > 0)
    const timed = this.#places.filter((place) => this.#awake(place) && place.timers.length > 0)
    const due = this.#due.filter(({ place }) => this.#awake(place))
    const count = busy.length + timed.length + due.length
    if (count === 0) return false
    this.items += 1
    const n = this.#dice.below(count)
    const place = busy[n] ?? timed[n - busy.length]
    if (n < busy.length) this.#run(busy[n] as Place, 'macrotask', place?.macrotasks.shift())
    else if (n < busy.length + timed.length) this.#run(place as Place, 'timer', place?.timers.shift()?.run)
    else {
      const item = due[n - busy.length - timed.length] as Item // n is below the sum of the three lengths
      this.#due.splice(this.#due.indexOf(item), 1)
      this.#run(item.place, item.what, item.run)
    }
    return true
  }

  #run(place: Place, what: string, run: (() => void) | undefined): void {
    this.trace.add(this.now, place.name, what)
    run?.()
  }

  #awake(place: Place): boolean {
    return !place.dead && place.frozenUntil <= this.now
  }

  /** Takes what became due. */
  #collect(): void {
    for (let first = this.#later[0]; first !== undefined && first.at <= this.now; first = this.#later[0]) {
      this.#pop()
      if (first.gone || first.place.dead) continue
      if (first.what === 'timer') first.place.timers.push(first)
      else this.#due.push(first)
    }
    for (const place of this.#places) {
      while (place.timers[0]?.gone === true) place.timers.shift()
      if (!place.dead) continue
      place.timers.length = 0
      place.macrotasks.length = 0
    }
    if (this.#due.some(({ place }) => place.dead)) this.#due = this.#due.filter(({ place }) => !place.dead)
  }

  /** Time passes up to the next item or thaw; false when that is beyond the end. */
  #pass(end: number): boolean {
    while (this.#later[0]?.gone === true) this.#pop()
    let next = this.#later[0]?.at ?? Number.POSITIVE_INFINITY
    for (const { dead, frozenUntil } of this.#places) {
      if (!dead && frozenUntil > this.now) next = Math.min(next, frozenUntil)
    }
    if (next > end) return false
    this.now = next
    return true
  }

  #push(item: Item): void {
    const heap = this.#later
    let at = heap.push(item) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (before(heap[above] as Item, item)) break
      heap[at] = heap[above] as Item
      at = above
    }
    heap[at] = item
  }

  #pop(): void {
    const heap = this.#later
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let below = at * 2 + 1
      const left = heap[below]
      if (left === undefined) break
      const right = heap[below + 1]
      if (right !== undefined && before(right, left)) below += 1
      const child = heap[below] as Item
      if (before(last, child)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
  }
}

function before(a: Item, b: Item): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** The real macrotask comes when no microtask is left. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
