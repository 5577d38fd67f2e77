/**
 * Bad luck that can be repeated: which van breaks down and which quote fails follows from the name of the thing, so a
 * replay meets the same luck.
 */
import { createHash } from 'node:crypto'

/** A whole number from 0 to `sides - 1`. */
export function roll(name: string, sides: number): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) % sides
}
