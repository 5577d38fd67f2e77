/**
 * What the desk sells, and the orders it took before today. Both are committed data, read by whoever owns the I/O.
 */
export type Product = {
  sku: string
  name: string
  /** Other names customers use, lower case, singular or plural as people say it. */
  aliases: string[]
  category: string
  /** Price of one unit in euro cents, tax included. */
  priceCents: number
  /** Units on the shelf when the desk opens. */
  stock: number
  /** No longer sold, whatever is left on the shelf. */
  discontinued?: boolean
  /** Sold in twos: "a pair of binoculars" is one unit, "a pair of mugs" is two. */
  pair?: boolean
}

/** An order from before the desk opened: it can be asked about or sent back, never cancelled or changed. */
export type ArchivedOrder = {
  id: string
  customer: string
  status: 'shipped' | 'delivered' | 'returned' | 'refunded'
  lines: { sku: string; quantity: number }[]
}
