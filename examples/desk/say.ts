/**
 * What the agents of the desk say to each other: a customer's message on its way in, an answer on its way out.
 *
 * `Say` is a schema because it comes from outside (HTTP, observer, CLI): it is checked at the border of the concierge,
 * before the message is stored.
 */
import { z } from 'zod'
import type { IntentKind, Outcome } from './intent.ts'

/** What sort of day it is at the desk. Travels with each request, so that a replay sees the day it began on. */
export const Conditions = z.strictObject({
  /** Services are flaky, vans break down. */
  chaos: z.boolean(),
  /** Milliseconds between payment and the van. */
  shipAfterMs: z.number().int().min(0).max(86_400_000),
})
export type Conditions = z.infer<typeof Conditions>

export const DEFAULT_CONDITIONS: Conditions = { chaos: false, shipAfterMs: 12_000 }

/** Longest message the desk takes, in UTF-16 units. */
const TEXT_LENGTH_MAX = 20_000

export const Say = z.strictObject({
  text: z.string().max(TEXT_LENGTH_MAX),
  /** Names the request; the same customer asking under the same name gets the same answer. Default: a new name. */
  request: z
    .string()
    .regex(/^[\w.:#-]{1,100}$/)
    .optional(),
  conditions: Conditions.optional(),
  /** Mischief of `--chaos` (gremlin.ts): `poison` fails each time, `slow` takes its time. */
  mischief: z.enum(['poison', 'slow']).optional(),
})
export type Say = z.infer<typeof Say>

/** What came of one intent, and the sentence that tells the customer. */
export type Answer = { outcome: Outcome; text: string }

export type Settled = { intent: IntentKind; outcome: Outcome; orderId: string | null }

export type Reply = { request: string; text: string; settled: Settled[] }

export function answer(outcome: Outcome, text: string): Answer {
  return { outcome, text }
}
