/** Chance of one part of a simulation. Each part has dice of its own: a change of one does not reshuffle the others. */
import type { Random } from '../../server/kernel/clock-port.ts'
import { Chance } from '../crash/chance.ts'

/** Spreads neighbouring seeds and the parts of one seed over the whole range. */
const SEED_STEP = 0x9e3779b1

export class Dice extends Chance {
  constructor(seed: number, part: number) {
    super(Math.imul(seed, SEED_STEP) ^ Math.imul(part + 1, 0x85ebca6b))
  }

  /** True in `n` of a thousand cases. */
  permille(n: number): boolean {
    return this.below(1_000) < n
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T // callers hand in lists that are not empty
  }

  /** What a node takes for randomness. */
  random(): Random {
    const part = (): string =>
      this.below(2 ** 32)
        .toString(16)
        .padStart(8, '0')
    return { next: () => this.below(2 ** 32) / 2 ** 32, id: () => part() + part() }
  }
}
