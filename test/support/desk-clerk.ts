/**
 * The desk's rules once more, as plain sequential code: what must come of each intent, worked out from the
 * catalogue and the archive alone. The corpus is checked against it, so that no expectation is a guess.
 *
 * A product is refused only when more is asked than was ever there; the corpus test proves that this is enough,
 * because everything that is granted fits the shelf together. So no outcome depends on who came first.
 */
import type { ArchivedOrder, Product } from '../../examples/desk/catalogue.ts'
import { type Intent, NEW_ORDER, type Outcome, orderIdOf } from '../../examples/desk/intent.ts'

type Line = { sku: string; quantity: number }
export type ClerkOrder = {
  customer: string
  placedAt: number
  lines: Line[]
  cancelled: boolean
  lastTouchedAt: number
}

export class Clerk {
  readonly orders = new Map<string, ClerkOrder>()
  readonly #products: Map<string, Product>
  readonly #archive: Map<string, ArchivedOrder>

  constructor(products: readonly Product[], archive: readonly ArchivedOrder[]) {
    this.#products = new Map(products.map((product) => [product.sku, product]))
    this.#archive = new Map(archive.map((order) => [order.id, order]))
  }

  /** Orders come first, whatever the order of the words: "gift wrapped, please, three candles". */
  handle(n: number, customer: string, intents: readonly Intent[]): Outcome[] {
    const isOrder = (intent: Intent) => intent.kind === 'order' || intent.kind === 'order_several'
    const outcomes = new Map<Intent, Outcome>()
    for (const intent of intents.filter(isOrder)) outcomes.set(intent, this.#decide(n, customer, intent))
    for (const intent of intents.filter((i) => !isOrder(i))) outcomes.set(intent, this.#decide(n, customer, intent))
    return intents.map((intent) => outcomes.get(intent) ?? 'not_understood')
  }

  #decide(n: number, customer: string, intent: Intent): Outcome {
    switch (intent.kind) {
      case 'order':
        return this.#order(n, customer, [intent])
      case 'order_several':
        return this.#order(n, customer, intent.lines)
      case 'stock_question':
      case 'price_question':
        return intent.sku === null ? 'refused_unknown_product' : 'answered'
      case 'change_address':
        if (intent.address === null) return 'asked_back'
        return intent.orderId === null ? 'changed' : this.#onOrder(n, customer, intent, intent.orderId)
      case 'complaint':
        return intent.orderId === null ? 'noted' : this.#onOrder(n, customer, intent, intent.orderId)
      case 'cancel_order':
      case 'order_status':
      case 'change_quantity':
      case 'return_item':
      case 'refund_status':
      case 'gift_wrap':
      case 'invoice_copy':
        return intent.orderId === null ? 'asked_back' : this.#onOrder(n, customer, intent, intent.orderId)
      case 'human_handover':
        return 'handed_over'
      case 'unsubscribe':
        return 'noted'
      case 'unclear':
        return 'not_understood'
      default:
        return 'answered'
    }
  }

  #order(
    n: number,
    customer: string,
    wanted: readonly { sku: string | null; phrase: string; quantity: number }[],
  ): Outcome {
    const lines: Line[] = []
    for (const { sku, phrase, quantity } of wanted) {
      if (sku === null) return phrase === '' ? 'asked_back' : 'refused_unknown_product'
      const refusal = this.#refusal(sku, quantity)
      if (refusal) return refusal
      lines.push({ sku, quantity })
    }
    this.orders.set(orderIdOf(n), { customer, placedAt: n, lines, cancelled: false, lastTouchedAt: n })
    return 'ordered'
  }

  #refusal(sku: string, quantity: number): Outcome | null {
    const product = this.#products.get(sku)
    if (!product) return 'refused_unknown_product'
    if (!Number.isInteger(quantity) || quantity < 1) return 'refused_invalid'
    if (product.discontinued) return 'refused_discontinued'
    return quantity > product.stock ? 'refused_out_of_stock' : null
  }

  #onOrder(n: number, customer: string, intent: Intent, reference: string): Outcome {
    const orderId = reference === NEW_ORDER ? orderIdOf(n) : reference
    const archived = this.#archive.get(orderId)
    if (archived) return archived.customer === customer ? onArchived(intent, archived) : 'refused_not_yours'
    const order = this.orders.get(orderId)
    if (!order) return 'refused_unknown_order'
    if (order.customer !== customer) return 'refused_not_yours'
    return this.#onOpen(n, intent, order)
  }

  #onOpen(n: number, intent: Intent, order: ClerkOrder): Outcome {
    switch (intent.kind) {
      case 'order_status':
      case 'refund_status':
      case 'invoice_copy':
        return 'answered'
      case 'complaint':
        return 'noted'
      case 'return_item':
        return 'refused_invalid'
      default:
    }
    if (order.cancelled) return 'refused_invalid'
    order.lastTouchedAt = n
    if (intent.kind === 'cancel_order') {
      order.cancelled = true
      return 'cancelled'
    }
    if (intent.kind !== 'change_quantity') return 'changed'
    const line = order.lines.find(({ sku }) => sku === intent.sku)
    if (!line) return 'asked_back'
    const refusal = this.#refusal(line.sku, intent.quantity)
    // The larger of the two stays on the books, so that the sums hold whatever order things happen in.
    if (!refusal) line.quantity = Math.max(line.quantity, intent.quantity)
    return refusal ?? 'changed'
  }
}

function onArchived(intent: Intent, order: ArchivedOrder): Outcome {
  switch (intent.kind) {
    case 'order_status':
    case 'refund_status':
    case 'invoice_copy':
      return 'answered'
    case 'complaint':
      return 'noted'
    case 'return_item':
      return order.status === 'shipped' || order.status === 'delivered' ? 'return_opened' : 'refused_invalid'
    default:
      return 'refused_too_late'
  }
}
