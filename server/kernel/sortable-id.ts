/**
 * Ids that sort by time of creation: ms since the epoch, a counter inside the ms, random text against other threads
 * and nodes. Characters sort alike in JavaScript and in Postgres' `C` collation.
 *
 * - K50: ids of one generator rise strictly, also when the clock steps back.
 */
import type { Clock, Random } from './clock-port.ts'

const TIME_CHARACTERS = 9
const COUNTER_CHARACTERS = 3
const COUNTER_MAX = 36 ** COUNTER_CHARACTERS - 1
const RANDOM_CHARACTERS = 8

export class SortableIds {
  readonly #clock: Clock
  readonly #random: Random
  #last = 0
  #counter = 0

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  next(): string {
    const now = Math.floor(this.#clock.now())
    if (now > this.#last) {
      this.#last = now
      this.#counter = 0
    } else if (this.#counter < COUNTER_MAX) this.#counter += 1
    else {
      this.#last += 1
      this.#counter = 0
    }
    const random = Math.floor(this.#random.next() * 36 ** RANDOM_CHARACTERS)
    return (
      digits(this.#last, TIME_CHARACTERS) +
      digits(this.#counter, COUNTER_CHARACTERS) +
      digits(random, RANDOM_CHARACTERS)
    )
  }
}

function digits(value: number, length: number): string {
  return value.toString(36).padStart(length, '0')
}
