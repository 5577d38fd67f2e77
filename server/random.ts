/**
 * Real randomness: one of the two places (with clock.ts) where the outside world's nondeterminism enters.
 */
import { randomUUID } from 'node:crypto'
import type { Random } from './kernel/clock-port.ts'

export type { Random } from './kernel/clock-port.ts'

export function realRandom(): Random {
  return { next: () => Math.random(), id: () => randomUUID() }
}
