/**
 * The price service: somebody else's, so it is asked in a step, with retries. Under chaos it answers 503 up to three
 * times in a row before it gives a price.
 */
import { roll } from './chance.ts'
import { productOf } from './shop.ts'

/** What the caller knows of its attempt: `ctx.step` hands this to its function. */
export type Attempt = { attempt: number; idempotencyKey: string }

/** More attempts than the service ever fails in a row. */
export const PRICE_RETRY = { max: 5, initialMs: 40 }

const FAILURES_MAX = 3

/** Cents per unit, in the order of `skus`. */
export async function quote(skus: readonly string[], attempt: Attempt, chaos: boolean): Promise<number[]> {
  if (chaos && attempt.attempt <= roll(attempt.idempotencyKey, FAILURES_MAX + 1)) {
    throw new Error(`Price service: 503 Service Unavailable (attempt ${attempt.attempt})`)
  }
  return skus.map((sku) => {
    const product = productOf(sku)
    if (product === undefined) throw new Error(`Price service: no price for ${sku}`)
    return product.priceCents
  })
}
