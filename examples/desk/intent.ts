/**
 * What a customer may want from the desk, and what may come of it.
 *
 * This file is the seam: whatever turns text into intents (rules today, a model later) is a `Recognizer`,
 * and the agents know only these types. A recogniser decides what was asked, never whether it is allowed.
 */
/** An order placed by the message that also holds this reference: it has no id yet when the text is read. */
export const NEW_ORDER = 'new'

/** `D-1042`, `NEW_ORDER`, or null when neither the text nor the conversation names an order. */
export type OrderReference = string | null

/** `sku` is null when the catalogue has no such product; `phrase` keeps the customer's words for the reply. */
export type OrderLine = { sku: string | null; phrase: string; quantity: number }

/** `phrase` is empty when no product was named at all. Quantities may be zero, negative or fractional. */
export type Intent =
  | { kind: 'order'; sku: string | null; phrase: string; quantity: number }
  | { kind: 'order_several'; lines: OrderLine[] }
  | { kind: 'stock_question'; sku: string | null; phrase: string }
  | { kind: 'price_question'; sku: string | null; phrase: string }
  | { kind: 'cancel_order'; orderId: OrderReference }
  | { kind: 'order_status'; orderId: OrderReference }
  | { kind: 'change_quantity'; orderId: OrderReference; sku: string | null; quantity: number }
  | { kind: 'change_address'; orderId: OrderReference; address: string | null }
  | { kind: 'return_item'; orderId: OrderReference }
  | { kind: 'refund_status'; orderId: OrderReference }
  | { kind: 'complaint'; orderId: OrderReference }
  | { kind: 'gift_wrap'; orderId: OrderReference }
  | { kind: 'invoice_copy'; orderId: OrderReference }
  | { kind: 'recommendation'; category: string | null; maxCents: number | null }
  | { kind: 'shipping_question' }
  | { kind: 'payment_question' }
  | { kind: 'greeting' }
  | { kind: 'thanks' }
  | { kind: 'human_handover' }
  | { kind: 'unsubscribe' }
  | { kind: 'unclear' }

export type IntentKind = Intent['kind']

/** What one conversation remembers between two messages (kept up by context.ts). */
export type ConversationContext = {
  /** The order last placed or talked about, if it belongs to this customer. */
  lastOrderId: string | null
  /** The products of that order; empty when it was placed before this conversation. */
  lastOrderSkus: string[]
  /** The products last talked about, in the order of the text. */
  lastSkus: string[]
  lastIntent: IntentKind | null
}

export const OUTCOMES = [
  'answered',
  'ordered',
  'cancelled',
  'changed',
  'return_opened',
  'noted',
  'handed_over',
  'asked_back',
  'not_understood',
  'refused_unknown_product',
  'refused_discontinued',
  'refused_out_of_stock',
  'refused_invalid',
  'refused_unknown_order',
  'refused_not_yours',
  'refused_too_late',
] as const

export type Outcome = (typeof OUTCOMES)[number]

/** Reads one message in the light of the conversation so far; never empty, `unclear` when nothing was recognised. */
export type Recognizer = (text: string, context: ConversationContext) => Promise<Intent[]> | Intent[]

/** First order number of the desk; lower ones are in the archive. */
const FIRST_ORDER_NUMBER = 1000

/** The order that request `n` places. Derived, so a redelivered request cannot place a second one. */
export function orderIdOf(n: number): string {
  return `D-${FIRST_ORDER_NUMBER + n}`
}
