/**
 * "Actually make it four", "the gloves, make those two pairs": a new quantity for something already ordered.
 */
import type { Cue } from './cue.ts'
import type { Intent } from './intent.ts'
import type { Scene } from './product-intent.ts'
import { looseQuantity, statedQuantity } from './quantity.ts'

const CHANGE = new RegExp(
  [
    String.raw`\b(make (it|that|the|those|them)|change|increase|reduce|lower|cut|bump|up the|double|adjust|`,
    String.raw`amend|set ord_\d+|swap the quantity|says? only)\b`,
  ].join(''),
)
/** Words that correct an order only when one was just placed; otherwise they begin a new one. */
const CORRECTION = /\b(actually|sorry|not 1|i mean|says? only|on second thoughts?|plenty|turns out)\b/

export function quantityChange(cues: readonly Cue[], { reading, context, index }: Scene): Intent | null {
  const { masked, skus, orderIds, addresses } = reading
  if (addresses.length > 0 || cues.some((cue) => cue.kind === 'cancel_order' || cue.kind === 'change_address'))
    return null
  const explicit = orderIds[0] ?? null
  const open = explicit === null && context.lastOrderSkus.length > 0
  if (!CHANGE.test(masked) && !(open && CORRECTION.test(masked))) return null
  const number = skus.findIndex((sku) => context.lastOrderSkus.includes(sku))
  // A product that was not in that order is a new wish.
  if (skus.length > 0 && number < 0) return null
  const named = skus[number] ?? index.among(context.lastOrderSkus, masked)
  const only = context.lastOrderSkus.length === 1 ? (context.lastOrderSkus[0] ?? null) : null
  const sku = explicit === null ? (named ?? only) : null
  const pair = sku !== null && index.product(sku)?.pair === true
  const at = masked.indexOf(`prod_${number}`)
  const near = at < 0 ? null : statedQuantity(masked, { at, end: at + `prod_${number}`.length })
  const quantity = near !== null && near !== 1 ? near : looseQuantity(masked, pair)
  if (quantity === null) return null
  return { kind: 'change_quantity', orderId: explicit ?? context.lastOrderId, sku, quantity }
}
