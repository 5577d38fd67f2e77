/**
 * What a customer may still do to an order once it is placed. Functions over the order's `ctx`, called by order.ts.
 */
import type { Context } from 'vivarium'
import { courier, courierOf } from './courier.ts'
import { inventory } from './inventory.ts'
import { ledger } from './ledger.ts'
import { type OrderState, PATIENT, totalOf } from './order-state.ts'
import { type Answer, answer } from './say.ts'
import { euros, productOf } from './shop.ts'

export type NewQuantity = { sku: string | null; quantity: number }
export type Question = 'status' | 'refund' | 'invoice'

type Ctx = Context<OrderState>

/** Only an order that waits for its van can be changed. */
export function refusalOf(state: OrderState, id: string): Answer | null {
  if (state.status === 'paid') return null
  if (state.status === 'cancelled') return answer('refused_invalid', `Order ${id} was cancelled before.`)
  return answer('refused_too_late', `It is too late for that: order ${id} is ${state.status}.`)
}

export async function changeQuantity(ctx: Ctx, { sku, quantity }: NewQuantity): Promise<Answer> {
  const refusal = refusalOf(ctx.state, ctx.key)
  if (refusal !== null) return refusal
  const line = ctx.state.lines.find((one) => one.sku === sku)
  const product = sku === null ? undefined : productOf(sku)
  if (line === undefined || product === undefined) {
    return answer('asked_back', `Which product of order ${ctx.key} do you mean?`)
  }
  if (!Number.isInteger(quantity) || quantity < 1) {
    return answer('refused_invalid', `We cannot send ${quantity} of ${product.name}.`)
  }
  if (product.discontinued) return answer('refused_discontinued', `${product.name} is no longer sold.`)
  const held = await ctx.call(ctx.ref(inventory, product.sku).reserve({ order: ctx.key, quantity }), PATIENT)
  if (!held.ok) {
    return answer('refused_out_of_stock', `Of ${product.name} only ${held.stock} more are left.`)
  }
  const cents = (quantity - line.quantity) * line.cents
  if (cents !== 0) await ctx.call(ctx.ref(ledger, 'main').adjust({ order: ctx.key, cents }), PATIENT)
  line.quantity = quantity
  return answer(
    'changed',
    `Order ${ctx.key} now holds ${quantity} × ${product.name}, ${euros(totalOf(ctx.state))} in all.`,
  )
}

export function changeAddress(ctx: Ctx, address: string): Answer {
  const refusal = refusalOf(ctx.state, ctx.key)
  if (refusal !== null) return refusal
  ctx.state.address = address
  return answer('changed', `Order ${ctx.key} goes to ${address}.`)
}

export function giftWrap(ctx: Ctx): Answer {
  const refusal = refusalOf(ctx.state, ctx.key)
  if (refusal !== null) return refusal
  ctx.state.wrapped = true
  return answer('changed', `Order ${ctx.key} will be gift-wrapped.`)
}

export function complain(ctx: Ctx): Answer {
  ctx.state.complaints += 1
  return answer('noted', `We are sorry about order ${ctx.key}. A colleague looks into it today.`)
}

export function openReturn(ctx: Ctx): Answer {
  const { status } = ctx.state
  if (status !== 'shipped' && status !== 'delivered') {
    return answer('refused_invalid', `Order ${ctx.key} cannot be sent back: it is ${status}.`)
  }
  ctx.state.returnOpened = true
  return answer('return_opened', `Here is the label to send order ${ctx.key} back to us.`)
}

export async function tell(ctx: Ctx, question: Question): Promise<Answer> {
  const { status, archived } = ctx.state
  const total = euros(totalOf(ctx.state))
  switch (question) {
    case 'invoice':
      return answer('answered', `The invoice of order ${ctx.key} over ${total} is on its way to you.`)
    case 'refund':
      return answer('answered', refundText(ctx.key, status, total))
    case 'status': {
      if (status !== 'shipped' || archived) return answer('answered', `Order ${ctx.key} is ${status}.`)
      const where = await ctx.ref(courier, courierOf(ctx.key)).parcel(ctx.key)
      return answer(
        'answered',
        `Order ${ctx.key} was sent; the parcel is ${where === 'depot' ? 'at the depot' : where}.`,
      )
    }
    default:
      return question satisfies never
  }
}

function refundText(id: string, status: OrderState['status'], total: string): string {
  switch (status) {
    case 'cancelled':
    case 'refunded':
      return `${total} for order ${id} were paid back. Banks take up to three days.`
    case 'returned':
      return `Order ${id} came back to us; ${total} are paid back this week.`
    default:
      return `There is no refund for order ${id}: it is ${status}.`
  }
}
