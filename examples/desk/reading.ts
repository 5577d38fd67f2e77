/**
 * A text made ready for rules: what is certain (orders, addresses, products) is cut out and stands as a token,
 * numbers are digits, the rest is lower case without apostrophes.
 *
 *   "Two gel pens to 9 Mill Row, Ely CB7 4DD, and cancel D-1042"  ->  "2 prod_0 to addr_0, and cancel ord_0"
 */
import { digitsFor } from './numeral.ts'
import type { ProductIndex } from './product-index.ts'

export type Reading = {
  masked: string
  /** What `ord_N`, `addr_N` and `prod_N` stand for, by N. */
  orderIds: string[]
  addresses: string[]
  skus: string[]
}

/** A longer text is read up to here: the rules are linear, but nobody needs more to say what they want. */
const TEXT_LENGTH_MAX = 4_000

const ROOM = String.raw`(?:(?:Flat|Unit|Apt|Berth|Room|Suite)\s+\w+,\s*)`
const NUMBER = String.raw`(?:\d+[a-zA-Z]?(?:-\d+)?\s+)`
const CAPITALS = String.raw`[A-Z\d][\p{L}\d']*(?:\s+[A-Z\d][\p{L}\d']*)*`
const ADDRESS = new RegExp(`(?<![\\w-])(?:${ROOM}${NUMBER}?|${NUMBER})${CAPITALS}(?:,\\s*${CAPITALS})+`, 'gu')
const STREET = /\b(street|st|road|rd|lane|way|row|close|drive|yard|view|terrace|avenue|ave|square|hill|place|court)\b/i
const POSTCODE = /\b[A-Z]{1,2}\d{1,2}[A-Z]?\s+[A-Z\d]{3,4}\b/
const ORDER_ID =
  /(not )?(?<![\w-])(?:D-(\d{1,6})|D(\d{4,6})|(?:order\s*(?:number|no\.?)?\s*#?|#)\s*(\d{4,6}))(?![\w-])/gi

export function read(text: string, index: ProductIndex): Reading {
  const reading: Reading = { masked: '', orderIds: [], addresses: [], skus: [] }
  let rest = plain(text.slice(0, TEXT_LENGTH_MAX))
  rest = rest.replace(ADDRESS, (found) =>
    STREET.test(found) || POSTCODE.test(found) ? ` addr_${reading.addresses.push(found) - 1} ` : found,
  )
  rest = rest.replace(ORDER_ID, (_, denied?: string, dashed?: string, glued?: string, spoken?: string) =>
    denied ? ' ' : ` ord_${reading.orderIds.push(`D-${dashed ?? glued ?? spoken}`) - 1} `,
  )
  reading.masked = maskProducts(rest, index, reading.skus)
  return reading
}

function maskProducts(text: string, index: ProductIndex, skus: string[]): string {
  let masked = ''
  let at = 0
  for (const mention of index.find(text)) {
    masked += `${text.slice(at, mention.start)} prod_${skus.push(mention.sku) - 1} `
    at = mention.end
  }
  const lower = (masked + text.slice(at)).toLowerCase().replaceAll("'", '')
  return digitsFor(lower.replace(/[ \t]+/g, ' ').trim())
}

/** One kind of quote and of space, nothing invisible. */
function plain(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/[\p{Cf}]/gu, '')
}
