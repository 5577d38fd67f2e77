/**
 * The bank: a service outside the runtime. A step runs at least once when its process dies in the middle, so the bank
 * is given the step's idempotency key, and the same key is the same authorisation however often it is asked.
 */
import { createHash } from 'node:crypto'

export type Authorisation = { id: string; cents: number }

export async function authorise(cents: number, idempotencyKey: string): Promise<Authorisation> {
  const id = createHash('sha256').update(`${idempotencyKey} ${cents}`).digest('hex').slice(0, 12)
  return { id: `A-${id}`, cents }
}
