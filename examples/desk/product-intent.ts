/**
 * The product side of a message: orders, price and stock questions, with their products and quantities.
 *
 * Where a clause names no product it means one of the message, else one of the conversation, else it names
 * something the catalogue does not know.
 */
import type { Clause, Mentioned, ProductKind } from './clause.ts'
import type { CueKind } from './cue.ts'
import type { ConversationContext, Intent, OrderLine } from './intent.ts'
import type { ProductIndex } from './product-index.ts'
import { looseQuantity, pairQuantity, statedQuantity } from './quantity.ts'
import type { Reading } from './reading.ts'

export type Scene = { reading: Reading; context: ConversationContext; index: ProductIndex }

/** A product beside one of these is what the talk is about, not something to buy. */
const TALK: readonly CueKind[] = [
  'complaint',
  'return_item',
  'cancel_order',
  'order_status',
  'refund_status',
  'recommendation',
  'thanks',
]
const POINTING = new RegExp(
  [
    String.raw`\b(it|them|those|these|that 1|that thing|1 anyway|ones?|both|each|this|go ahead|then|yes|yeah|`,
    String.raw`yh|ok|some|more|thing|another)\b`,
  ].join(''),
)
/** Takes something that was talked about, without a verb: "two of them", "one each then". */
const PICK = new RegExp(
  [
    String.raw`\b(\d+|pair) (?:(?:boxes|packs?|bags?|bars|bottles|sets?) )?(of (them|those|these|the)|then|`,
    String.raw`each|anyway)\b|\bboth\b.*\b(please|each)\b`,
  ].join(''),
)
const PACKED = /\b(\d+)(?: more)? (?:boxes|packs?|packets?|bags?|bars|bottles)\b/
const QUESTION = /^(is|are|do|does|did|what|whats|how|why|which|who|has|have|would|will|was|were|any)\b/
const PRAISE = /\b(loved|adores?|bought)\b/
const FILLER = new Set(
  `a an the some any of for to from with in on at by it them those these that this one ones thing things you
  your u me my we i id
  ill im is are was be do does have has had got get can could may would should will please pls plz thanks thank
  ta cheers hi hello
  hey then so and or also just only order orders place buy purchase send want need like love take give ship add
  put down up now
  today very much more another piece pieces box boxes pack packs bag bags set sets bars bar bottle bottles
  packet packets pair pairs size medium small large each both sorry actually
  make say x qty yes no not something anything us mine want wish procure stock available left still again what
  which how many
  about wait know if there back sell know tell fine okay hmm well right instead`.split(/\s+/),
)

export function productIntents(clauses: readonly Clause[], scene: Scene): Intent[] {
  const questions: Intent[] = []
  const lines: OrderLine[] = []
  const emptyHanded: OrderLine[] = []
  let kinds: ProductKind[] = []
  let products: Mentioned[] = []
  for (const [place, clause] of clauses.entries()) {
    const own = clause.products.length > 0
    const known = own || products.length > 0 || scene.context.lastSkus.length > 0
    // "I'd like to send it back" wants a return, not a purchase of what was talked about.
    if (!own && talks(clause) && clause.kinds.every((kind) => kind === 'order')) continue
    if (clause.kinds.length > 0) kinds = clause.kinds
    else if (!own && known && PICK.test(clause.text) && !talks(clause)) kinds = ['order']
    else if (!own) continue
    else if (isTopic(clause, clauses, place, scene.reading.masked)) {
      products = clause.products
      continue
    } else if (kinds.length === 0) kinds = asks(clause, scene.reading.masked) ? ['stock_question'] : ['order']
    if (own) products = clause.products
    // "Do you stock replacements? Rope leads, I mean.": the products of a question may come one clause later.
    const next = clauses[place + 1]
    if (products.length === 0 && kinds[0] !== 'order' && next?.kinds.length === 0 && next.products.length > 0) continue
    for (const kind of kinds) {
      if (kind !== 'order') questions.push(...questionsOf(kind, clause, products, scene))
      else if (products.length > 0) lines.push(...namedLines(clause, products, scene))
      else emptyHanded.push(...unnamedLines(clause, scene))
    }
  }
  const pointed = emptyHanded.filter((line) => line.sku !== null)
  // "Do I have to buy?" beside a real wish or question is a figure of speech.
  const alone =
    lines.length + questions.length + pointed.length === 0 && clauses.every((clause) => clause.others.length === 0)
  const order = orderOf([...pointed, ...lines, ...(alone ? emptyHanded : [])])
  return [...questions, ...(order ? [order] : [])]
}

function talks(clause: Clause): boolean {
  return clause.others.some((kind) => TALK.includes(kind))
}

/** Whether a clause that asks nothing only introduces what the message is about. */
function isTopic(clause: Clause, clauses: readonly Clause[], place: number, masked: string): boolean {
  if (talks(clause) || PRAISE.test(clause.text)) return true
  const counted = clause.products.some((product) => statedQuantity(masked, product) !== null)
  if (counted) return false
  const asked = clauses
    .slice(place + 1)
    .some((later) => later.products.length === 0 && later.kinds.some((k) => k !== 'order'))
  return asked || clauses.some(talks)
}

/** A question about a product in words we do not know is not a purchase. */
function asks(clause: Clause, masked: string): boolean {
  return QUESTION.test(clause.text) && clause.products.every((product) => statedQuantity(masked, product) === null)
}

function namedLines(clause: Clause, products: readonly Mentioned[], scene: Scene): OrderLine[] {
  const { reading, index } = scene
  const own = clause.products.length > 0
  const lines = products.map((product) => {
    const sku = reading.skus[product.number] ?? null
    const pair = isPair(sku, index)
    const packed = products.length === 1 ? Number(PACKED.exec(clause.text)?.[1] ?? 1) : 1
    const near = statedQuantity(reading.masked, product) ?? (pairQuantity(reading.masked, product, pair) || packed)
    return { sku, phrase: '', quantity: own ? near : (looseQuantity(clause.text, pair) ?? near) }
  })
  return own ? [...lines, ...besideLines(clause, scene)] : lines
}

/** What stands in a list between known products: "one of those", a thing of the conversation, or an unknown one. */
function besideLines(clause: Clause, { context, index }: Scene): OrderLine[] {
  const pieces = clause.text.split(/,|&|\+|\band\b/).filter((piece) => !piece.includes('prod_'))
  return pieces.flatMap((piece) => {
    const quantity = Number(
      /^\s*(?:then )?(-?\d+(?:\.\d+)?)(?!\w*\))/.exec(piece)?.[1] ?? /\((\d+)\)\s*$/.exec(piece)?.[1],
    )
    if (Number.isNaN(quantity)) return []
    if (/\bof (those|them|these)\b/.test(piece)) return context.lastSkus.map((sku) => ({ sku, phrase: '', quantity }))
    const sku = index.among(context.lastSkus, piece)
    const phrase = sku === null ? unknownPhrase(piece) : ''
    return sku === null && phrase === '' ? [] : [{ sku, phrase, quantity }]
  })
}

function unnamedLines(clause: Clause, { context, index }: Scene): OrderLine[] {
  if (clause.others.length > 0 && !PICK.test(clause.text)) return []
  const named = index.among(context.lastSkus, clause.text)
  const phrase = unknownPhrase(clause.text)
  const skus = named !== null ? [named] : POINTING.test(clause.text) || phrase === '' ? context.lastSkus : []
  if (skus.length > 0) {
    return skus.map((sku) => ({ sku, phrase: '', quantity: looseQuantity(clause.text, isPair(sku, index)) ?? 1 }))
  }
  return phrase.split(/\band\b/).map((part) => ({
    sku: null,
    phrase: part.trim(),
    quantity: looseQuantity(part, false) ?? 1,
  }))
}

function isPair(sku: string | null, index: ProductIndex): boolean {
  return sku !== null && index.product(sku)?.pair === true
}

function questionsOf(
  kind: Exclude<ProductKind, 'order'>,
  clause: Clause,
  products: readonly Mentioned[],
  scene: Scene,
): Intent[] {
  const { reading, context, index } = scene
  if (products.length > 0) {
    return products.map(({ number }) => ({ kind, sku: reading.skus[number] ?? null, phrase: '' }))
  }
  const named = /\b(the|that|those|these|your)\b/.test(clause.text) ? index.among(context.lastSkus, clause.text) : null
  const phrase = unknownPhrase(clause.text)
  const skus = named !== null ? [named] : phrase === '' || POINTING.test(clause.text) ? context.lastSkus : []
  if (skus.length > 0) return skus.map((sku) => ({ kind, sku, phrase: '' }))
  // A question that names nothing and points at nothing is about something else.
  return phrase === '' || clause.others.length > 0 ? [] : [{ kind, sku: null, phrase }]
}

/** The customer's words for a thing the catalogue does not know; '' when nothing is named. */
export function unknownPhrase(text: string): string {
  const words = text.replace(/\b(?:prod|ord|addr)_\d+/g, ' ').match(/[\p{L}]+|-?\d+(?:\.\d+)?/gu) ?? []
  const content = words.filter((word) => !FILLER.has(word) && !/\d/.test(word))
  return content.length === 0
    ? ''
    : words
        .filter((word) => !FILLER.has(word) || word === 'and')
        .join(' ')
        .replace(/^(and )+|( and)+$/g, '')
}

function orderOf(lines: readonly OrderLine[]): Intent | null {
  const distinct = new Map<string, OrderLine>()
  for (const line of lines) {
    const key = line.sku ?? `?${line.phrase}`
    const before = distinct.get(key)
    if (!before || before.quantity === 1) distinct.set(key, line)
  }
  const [first, ...more] = [...distinct.values()]
  if (!first) return null
  if (more.length > 0) return { kind: 'order_several', lines: [first, ...more] }
  return { kind: 'order', ...first }
}
