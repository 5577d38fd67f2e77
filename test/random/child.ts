/** Starts child-main.ts for one round. */
import { fileURLToPath } from 'node:url'
import { ForkedChild } from '../crash/child.ts'
import type { Place } from '../crash/place.ts'
import type { Mutant } from './mutant.ts'

const MAIN = fileURLToPath(new URL('./child-main.ts', import.meta.url))

export type ChildOptions = {
  seed: number
  /** Numbers of the programs. */
  from: number
  count: number
  table: string
  mutant: Mutant | null
}

/** Says `up`, `accepted` when every program is stored, and `finished` when every one has its result. */
export class RandomChild extends ForkedChild {
  constructor(place: Place, { seed, from, count, table, mutant }: ChildOptions) {
    super(MAIN, [place.data, place.schema, place.effects, table, `${seed}`, `${from}`, `${count}`, mutant ?? ''])
  }
}
