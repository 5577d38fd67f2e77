/**
 * The rule-based recogniser: reads a message into intents by wording, catalogue and conversation.
 *
 * Order of work: mask what is certain (reading), find cues, read the product side clause by clause, then attach
 * orders and addresses to the other cues by nearness. Deterministic and without I/O.
 */
import type { Product } from './catalogue.ts'
import type { Clause } from './clause.ts'
import { clausesOf } from './clause.ts'
import type { Cue } from './cue.ts'
import { cuesIn, sentencesOf } from './cue.ts'
import type { ConversationContext, Intent, IntentKind, OrderReference } from './intent.ts'
import { NEW_ORDER } from './intent.ts'
import { ProductIndex } from './product-index.ts'
import type { Scene } from './product-intent.ts'
import { productIntents, unknownPhrase } from './product-intent.ts'
import { looseQuantity } from './quantity.ts'
import { quantityChange } from './quantity-change.ts'
import { read } from './reading.ts'
import { budgetIn, categoryIn } from './wish.ts'

type OrderKind =
  | 'cancel_order'
  | 'order_status'
  | 'return_item'
  | 'refund_status'
  | 'complaint'
  | 'gift_wrap'
  | 'invoice_copy'

const ORDER_KINDS: readonly string[] = [
  'cancel_order',
  'order_status',
  'return_item',
  'refund_status',
  'complaint',
  'gift_wrap',
  'invoice_copy',
]
const GREETING = /^\W*(hi|hello|hullo|hallo|hey|hiya|yo|howdy|greetings|good (morning|afternoon|evening|day)|morning)\b/
const THANKS = /\b(thanks|thank you|thx|cheers|ta|much obliged)\b/
/** "1 ticket to the moon": a number and a thing, though not one of ours. */
const COUNTED = /^\W*-?\d+(\.\d+)?x? [a-z]{3,}/
/** An address "on file" is the account's, whatever order was talked about before. */
const ACCOUNT_ADDRESS = /\b(on file|account|moved|moving|my old (street|address))\b/
const REFUND_QUESTION = /\b(when|where|has|yet|status|update|processed|news|did i)\b/

/** Synchronous, and so narrower than the `Recognizer` it stands in for. */
export function createRecognizer(
  products: readonly Product[],
): (text: string, context: ConversationContext) => Intent[] {
  const index = new ProductIndex(products)
  return (text, context) => recognize({ reading: read(text, index), context, index })
}

function recognize(scene: Scene): Intent[] {
  const { masked } = scene.reading
  const cues = withoutEchoes(cuesIn(masked), masked)
  const change = quantityChange(cues, scene)
  const bought = change ? [] : productIntents(clausesOf(masked, cues), scene)
  const continued = bought.length > 0 || change ? bought : followUp(cues, scene)
  const ordered = continued.some((intent) => intent.kind === 'order' || intent.kind === 'order_several')
  const rest = cues.flatMap((cue) => otherIntent(cue, cues, scene, ordered))
  const found = distinct([...(change ? [change] : []), ...continued, ...rest])
  if (found.length > 0) return found
  if (GREETING.test(masked) && !THANKS.test(masked)) return [{ kind: 'greeting' }]
  if (THANKS.test(masked)) return [{ kind: 'thanks' }]
  const phrase = COUNTED.test(masked) ? unknownPhrase(masked) : ''
  if (phrase !== '') return [{ kind: 'order', sku: null, phrase, quantity: looseQuantity(masked, false) ?? 1 }]
  return [{ kind: 'unclear' }]
}

/** Cues that only repeat or colour another one. */
function withoutEchoes(cues: Cue[], masked: string): Cue[] {
  const has = (kind: IntentKind) => cues.some((cue) => cue.kind === kind)
  return cues.filter((cue) => {
    if (cue.kind === 'refund_status') return !has('return_item') || REFUND_QUESTION.test(masked)
    // "I was promised a refund. Where is it?" asks about the money, "where do I send this back?" about a return.
    if (cue.kind === 'order_status' && /\b(it|that)$/.test(masked.slice(cue.start, cue.end))) {
      return !cues.some((other) => other.kind === 'refund_status' && other.start < cue.start)
    }
    return true
  })
}

/** A bare answer to what was said before: an order number after "which order?", "8 then" after a question. */
function followUp(cues: readonly Cue[], { reading, context, index }: Scene): Intent[] {
  const [orderId] = reading.orderIds
  const last = context.lastIntent
  if (cues.length === 0 && orderId !== undefined && last !== null && isOrderKind(last)) return [{ kind: last, orderId }]
  if (cues.length > 0 && !cues.every((cue) => cue.kind === 'gift_wrap')) return []
  if (!/\b(\d+|pair|both|yes|yh|each)\b/.test(reading.masked) || context.lastSkus.length === 0) return []
  if (last !== 'stock_question' && last !== 'price_question' && last !== 'order') return []
  const clause: Clause = { start: 0, text: reading.masked, kinds: ['order'], products: [], others: [] }
  return productIntents([clause], { reading, context, index })
}

function otherIntent(cue: Cue, cues: readonly Cue[], scene: Scene, ordered: boolean): Intent[] {
  const { reading, context } = scene
  switch (cue.kind) {
    case 'order':
    case 'price_question':
    case 'stock_question':
    case 'greeting':
    case 'thanks':
      return []
    case 'recommendation':
      return ordered && !cues.some((other) => other.kind === 'price_question') && reading.skus.length === 0
        ? []
        : [{ kind: 'recommendation', category: categoryIn(reading.masked), maxCents: budgetIn(reading.masked) }]
    case 'change_address': {
      const orderId = nearestOrder(cue, cues, reading.masked, reading.orderIds)
      const known = ordered ? NEW_ORDER : ACCOUNT_ADDRESS.test(reading.masked) ? null : context.lastOrderId
      return [{ kind: cue.kind, orderId: orderId ?? known, address: reading.addresses[0] ?? null }]
    }
    case 'human_handover':
    case 'unsubscribe':
    case 'payment_question':
    case 'shipping_question':
      return [{ kind: cue.kind }]
    case 'complaint':
    case 'cancel_order':
    case 'order_status':
    case 'return_item':
    case 'refund_status':
    case 'gift_wrap':
    case 'invoice_copy': {
      const orderId = nearestOrder(cue, cues, reading.masked, reading.orderIds)
      const fresh = ordered && (cue.kind === 'gift_wrap' || cue.kind === 'invoice_copy')
      return [{ kind: cue.kind, orderId: orderId ?? (fresh ? NEW_ORDER : context.lastOrderId) }]
    }
    default:
      return cue.kind satisfies never
  }
}

/** The order a cue speaks of: in its sentence the next one before another order cue, else the last one; else any. */
function nearestOrder(cue: Cue, cues: readonly Cue[], masked: string, orderIds: readonly string[]): OrderReference {
  const places = [...masked.matchAll(/ord_(\d+)/g)].map((found) => ({
    at: found.index,
    id: orderIds[Number(found[1])],
  }))
  const sentence = sentencesOf(masked).find(({ start, text }) => cue.start >= start && cue.start < start + text.length)
  const from = sentence?.start ?? 0
  const to = from + (sentence?.text.length ?? masked.length)
  const near = places.filter(({ at }) => at >= from && at < to)
  const next = cues.find((other) => other.start >= cue.end && isOrderKind(other.kind))
  const after = near.find(({ at }) => at >= cue.start && (next === undefined || at < next.start))
  const before = near.filter(({ at }) => at < cue.start).at(-1)
  const earlier = places.filter(({ at }) => at < cue.start).at(-1)
  return after?.id ?? before?.id ?? near[0]?.id ?? earlier?.id ?? places[0]?.id ?? null
}

function isOrderKind(kind: IntentKind): kind is OrderKind {
  return ORDER_KINDS.includes(kind)
}

function distinct(intents: readonly Intent[]): Intent[] {
  const seen = new Map(intents.map((intent): [string, Intent] => [keyOf(intent), intent]))
  return [...seen.values()]
}

function keyOf(intent: Intent): string {
  if (intent.kind === 'stock_question' || intent.kind === 'price_question')
    return `${intent.kind} ${intent.sku ?? intent.phrase}`
  return `${intent.kind} ${'orderId' in intent ? intent.orderId : ''}`
}
