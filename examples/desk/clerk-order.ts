/**
 * Turns the lines a customer asked for into an order: refuses what no shelf can answer, finds a number, places it.
 */
import type { Context } from 'vivarium'
import type { Conversation } from './conversation.ts'
import { type OrderLine, orderIdOf } from './intent.ts'
import { order } from './order.ts'
import { PATIENT } from './order-state.ts'
import { type Answer, answer, type Conditions } from './say.ts'
import { productOf } from './shop.ts'

/** Requests of the inbox say which order they place, so that a customer can be expected to name it later. */
const INBOX_REQUEST = /^inbox-(\d+)$/
/** Numbers of orders placed by messages from elsewhere. */
const NUMBER_FIRST = 200_000
const NUMBERS = 700_000
/** Numbers tried until a free one is found. With half of them taken, one in a million orders would fail. */
const TRIES_MAX = 20

type Bought = Answer & { orderId: string | null }

export async function buy(
  ctx: Context<Conversation>,
  wanted: readonly OrderLine[],
  { request, conditions }: { request: string; conditions: Conditions },
): Promise<Bought> {
  for (const line of wanted) {
    const refusal = refusalOf(line)
    if (refusal !== null) return { ...refusal, orderId: null }
  }
  const placing = { customer: ctx.key, request, lines: merged(wanted), address: ctx.state.address, conditions }
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const orderId = tries === 0 ? firstNumber(request) : null
    const id = orderId ?? `D-${NUMBER_FIRST + Math.floor(ctx.random() * NUMBERS)}`
    const placed = await ctx.call(ctx.ref(order, id).place(placing), PATIENT)
    if (placed.kind === 'taken') continue
    if (placed.answer.outcome === 'ordered') ctx.state.orders.push(id)
    return { ...placed.answer, orderId: placed.answer.outcome === 'ordered' ? id : null }
  }
  throw new Error(`No free order number in ${TRIES_MAX} tries`)
}

function refusalOf({ sku, phrase, quantity }: OrderLine): Answer | null {
  if (sku === null && phrase === '') return answer('asked_back', 'What would you like to order?')
  const product = sku === null ? undefined : productOf(sku)
  if (product === undefined) return answer('refused_unknown_product', `We do not sell "${phrase}".`)
  if (!Number.isInteger(quantity) || quantity < 1) {
    return answer('refused_invalid', `We cannot send ${quantity} of ${product.name}.`)
  }
  return product.discontinued ? answer('refused_discontinued', `${product.name} is no longer sold.`) : null
}

function firstNumber(request: string): string | null {
  const found = INBOX_REQUEST.exec(request)
  return found === null ? null : orderIdOf(Number(found[1]))
}

/** One line per product. */
function merged(wanted: readonly OrderLine[]): { sku: string; quantity: number }[] {
  const lines = new Map<string, number>()
  for (const { sku, quantity } of wanted) if (sku !== null) lines.set(sku, (lines.get(sku) ?? 0) + quantity)
  return [...lines].map(([sku, quantity]) => ({ sku, quantity }))
}
