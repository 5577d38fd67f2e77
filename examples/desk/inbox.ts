/**
 * One line of inbox.jsonl: what a customer wrote, and beside it what a careful clerk would have done.
 *
 * Lines given by a user (`--inbox FILE`) need no `expect`; `n` is the request number and makes the order id.
 */
import { z } from 'zod'
import { advance } from './context.ts'
import { type ConversationContext, type Intent, NEW_ORDER, OUTCOMES, orderIdOf } from './intent.ts'

const outcome = z.enum(OUTCOMES)
const sku = z.string().nullable()
const orderId = z.string().nullable()
const quantity = z.number()

const about = <K extends string>(kind: K) => z.strictObject({ intent: z.literal(kind), outcome })
const product = <K extends string>(kind: K) => about(kind).extend({ sku })
const order = <K extends string>(kind: K) => about(kind).extend({ orderId })

export const Expectation = z.discriminatedUnion('intent', [
  product('order').extend({ quantity }),
  about('order_several').extend({ lines: z.array(z.strictObject({ sku, quantity })).min(2) }),
  product('stock_question'),
  product('price_question'),
  order('cancel_order'),
  order('order_status'),
  order('change_quantity').extend({ sku, quantity }),
  order('change_address').extend({ address: z.string().nullable() }),
  order('return_item'),
  order('refund_status'),
  order('complaint'),
  order('gift_wrap'),
  order('invoice_copy'),
  about('recommendation').extend({ category: z.string().nullable(), maxCents: z.number().nullable() }),
  about('shipping_question'),
  about('payment_question'),
  about('greeting'),
  about('thanks'),
  about('human_handover'),
  about('unsubscribe'),
  about('unclear'),
])
export type Expectation = z.infer<typeof Expectation>

/** Longest request the desk takes, in UTF-16 units; the longest shipped one has about 600. */
const TEXT_LENGTH_MAX = 20_000

export const InboxLine = z.strictObject({
  n: z.number().int().positive(),
  customer: z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/),
  text: z.string().max(TEXT_LENGTH_MAX),
  expect: z.array(Expectation).min(1).optional(),
})
export type InboxLine = z.infer<typeof InboxLine>

/** @throws ZodError  with the path of the first value that does not fit */
export function parseInboxLine(json: string): InboxLine {
  return InboxLine.parse(JSON.parse(json))
}

/** The intent that an expectation stands for; the customer's words are not part of it. */
export function intentOf(expectation: Expectation): Intent {
  const { intent: kind, outcome: _, ...slots } = expectation
  const lines = 'lines' in slots ? { lines: slots.lines.map((line) => ({ ...line, phrase: '' })) } : {}
  // The schema above and the union in intent.ts have the same slots per kind; TypeScript loses that in the spread.
  return { kind, phrase: '', ...slots, ...lines } as Intent
}

/** Whether two messages were understood alike: same intents, same slots, in any order, whatever the phrases. */
export function sameIntents(left: readonly Intent[], right: readonly Intent[]): boolean {
  const canonical = (intents: readonly Intent[]) => intents.map(canonicalOf).sort().join('\n')
  return canonical(left) === canonical(right)
}

function canonicalOf(intent: Intent): string {
  const { lines, phrase: _, ...slots } = { lines: [], phrase: '', ...intent }
  const bought = lines.map((line) => `${line.sku} ${line.quantity}`).sort()
  const entries = Object.entries(slots).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([...entries, ...bought])
}

/** The conversation as it stands once a line was handled as expected. */
export function advanceAsExpected(context: ConversationContext, line: InboxLine): ConversationContext {
  const handled = (line.expect ?? []).map((expectation) => {
    const intent = intentOf(expectation)
    const named = 'orderId' in intent && intent.orderId !== NEW_ORDER ? intent.orderId : null
    return {
      intent,
      outcome: expectation.outcome,
      orderId: expectation.outcome === 'ordered' ? orderIdOf(line.n) : named,
    }
  })
  return advance(context, handled)
}
