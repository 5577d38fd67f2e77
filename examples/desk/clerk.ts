/**
 * Gets one intent done and says what came of it, by asking the order, the shelf or the catalogue. Decides whether
 * something is allowed; what was asked for is the recogniser's business.
 */
import { type Context, RuntimeError } from 'vivarium'
import { buy } from './clerk-order.ts'
import type { Conversation } from './conversation.ts'
import { type Intent, NEW_ORDER } from './intent.ts'
import { inventory } from './inventory.ts'
import { order } from './order.ts'
import { PATIENT } from './order-state.ts'
import { PRICE_RETRY, quote } from './price-service.ts'
import { type Answer, answer, type Conditions } from './say.ts'
import { archivedOrder, euros, productOf, products } from './shop.ts'

export type Ctx = Context<Conversation>
export type Done = Answer & { intent: Intent; orderId: string | null }
/** The message in hand; `placed` is the order it placed so far. */
export type Errand = { request: string; conditions: Conditions; placed: string | null }

type OrderIntent = Extract<Intent, { orderId: unknown }>

const RECOMMENDED_MAX = 3

export function isOrder(intent: Intent): boolean {
  return intent.kind === 'order' || intent.kind === 'order_several'
}

export async function carryOut(ctx: Ctx, intent: Intent, errand: Errand): Promise<Done> {
  if (intent.kind === 'order' || intent.kind === 'order_several') {
    const bought = await buy(ctx, intent.kind === 'order' ? [intent] : intent.lines, errand)
    if (bought.outcome === 'ordered') errand.placed = bought.orderId
    return { intent, ...bought }
  }
  if (!('orderId' in intent)) return { intent, orderId: null, ...(await reply(ctx, intent, errand)) }
  const orderId = intent.orderId === NEW_ORDER ? errand.placed : intent.orderId
  if (intent.orderId === NEW_ORDER && orderId === null) {
    return { intent, orderId, ...answer('refused_unknown_order', 'As there is no order, nothing can be done to it.') }
  }
  return { intent, orderId, ...(await onOrder(ctx, intent, orderId)) }
}

async function reply(ctx: Ctx, intent: Exclude<Intent, OrderIntent>, errand: Errand): Promise<Answer> {
  switch (intent.kind) {
    case 'stock_question':
    case 'price_question': {
      const product = intent.sku === null ? undefined : productOf(intent.sku)
      if (product === undefined) return answer('refused_unknown_product', `We do not know "${intent.phrase}".`)
      if (intent.kind === 'stock_question') {
        const stock = await ctx.call(ctx.ref(inventory, product.sku).look(), PATIENT)
        return answer('answered', `${product.name}: ${stock === 0 ? 'sold out' : `${stock} in stock`}.`)
      }
      const ask = (info: { attempt: number; idempotencyKey: string }) =>
        quote([product.sku], info, errand.conditions.chaos)
      const [cents = 0] = await ctx.step('price', ask, { retry: PRICE_RETRY })
      return answer('answered', `${product.name} is ${euros(cents)}.`)
    }
    case 'recommendation':
      return answer('answered', recommended(intent.category, intent.maxCents))
    case 'shipping_question':
      return answer('answered', 'We ship all over Europe; two to four days, free from €50.')
    case 'payment_question':
      return answer('answered', 'You can pay by card, bank transfer or on invoice.')
    case 'human_handover':
      ctx.state.waitsForHuman = true
      return answer('handed_over', 'A colleague of flesh and blood will write to you.')
    case 'unsubscribe':
      ctx.state.newsletter = false
      return answer('noted', 'You will get no more newsletters.')
    case 'greeting':
      return answer('answered', 'Hello! What can we do for you?')
    case 'thanks':
      return answer('answered', 'You are welcome.')
    case 'unclear':
      return answer('not_understood', 'Sorry, that was not clear to me. Could you say it in other words?')
    case 'order':
    case 'order_several':
      return answer('asked_back', 'What would you like to order?')
    default:
      return intent satisfies never
  }
}

async function onOrder(ctx: Ctx, intent: OrderIntent, id: string | null): Promise<Answer> {
  if (intent.kind === 'change_address') {
    if (intent.address === null) return answer('asked_back', 'What is the new address?')
    if (id === null) {
      ctx.state.address = intent.address
      return answer('changed', `Your account has the address ${intent.address} now.`)
    }
  }
  if (intent.kind === 'complaint' && id === null) return answer('noted', 'We are sorry, and look into it today.')
  if (id === null) return answer('asked_back', 'Which order is it about?')
  const owner = ctx.state.orders.includes(id) ? ctx.key : await ownerOf(ctx, id)
  if (owner === null) return answer('refused_unknown_order', `There is no order ${id}.`)
  if (owner !== ctx.key) return answer('refused_not_yours', `Order ${id} is not on your account.`)
  return ctx.call(requestOf(ctx, intent, id), PATIENT)
}

function requestOf(ctx: Ctx, intent: OrderIntent, id: string) {
  const target = ctx.ref(order, id)
  switch (intent.kind) {
    case 'cancel_order':
      return target.cancel()
    case 'change_quantity':
      return target.changeQuantity({ sku: intent.sku, quantity: intent.quantity })
    case 'change_address':
      return target.changeAddress(intent.address ?? '')
    case 'gift_wrap':
      return target.giftWrap()
    case 'complaint':
      return target.complain()
    case 'return_item':
      return target.openReturn()
    case 'order_status':
      return target.tell('status')
    case 'refund_status':
      return target.tell('refund')
    case 'invoice_copy':
      return target.tell('invoice')
    default:
      return intent satisfies never
  }
}

/** A query reads what is stored and wakes nobody: asking for an order that never was leaves no trace. */
async function ownerOf(ctx: Ctx, id: string): Promise<string | null> {
  const archived = archivedOrder(id)
  if (archived !== undefined) return archived.customer
  try {
    return await ctx.ref(order, id).owner()
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'PROCESS_NOT_FOUND') return null
    throw error
  }
}

function recommended(category: string | null, maxCents: number | null): string {
  const fitting = products.filter(
    (product) =>
      product.stock > 0 &&
      product.discontinued !== true &&
      (category === null || product.category === category) &&
      (maxCents === null || product.priceCents <= maxCents),
  )
  const best = fitting.slice(0, RECOMMENDED_MAX).map(({ name, priceCents }) => `${name} (${euros(priceCents)})`)
  return best.length === 0 ? 'We have nothing like that just now.' : `How about ${best.join(', ')}?`
}
