/**
 * What one conversation remembers between two messages: just enough to understand "make it two" or "cancel that".
 *
 * Plain data, so that it can live in an agent's state. `advance` never changes its argument.
 */

import type { ConversationContext, Intent, Outcome } from './intent.ts'
import { NEW_ORDER } from './intent.ts'

/** What became of one intent; `orderId` is the order it placed or touched. */
export type Handled = { intent: Intent; outcome: Outcome; orderId: string | null }

export function emptyContext(): ConversationContext {
  return { lastOrderId: null, lastOrderSkus: [], lastSkus: [], lastIntent: null }
}

export function advance(context: ConversationContext, handled: Handled[]): ConversationContext {
  const next = { ...context }
  const mentioned = handled.flatMap(({ intent }) => skusOf(intent))
  if (mentioned.length > 0) next.lastSkus = [...new Set(mentioned)]
  for (const { intent, outcome, orderId } of handled) {
    next.lastIntent = intent.kind
    // Another customer's order, or one that does not exist, must never become "that one".
    if (orderId === null || outcome === 'refused_not_yours' || outcome === 'refused_unknown_order') continue
    if (outcome === 'ordered') next.lastOrderSkus = skusOf(intent)
    else if (orderId === NEW_ORDER) continue
    else if (orderId !== next.lastOrderId) next.lastOrderSkus = []
    next.lastOrderId = orderId
  }
  return next
}

function skusOf(intent: Intent): string[] {
  if (intent.kind === 'order_several') return intent.lines.flatMap((line) => (line.sku === null ? [] : [line.sku]))
  return 'sku' in intent && intent.sku !== null ? [intent.sku] : []
}
