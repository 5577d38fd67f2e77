/**
 * Cuts a reading into clauses that speak of products in one way: "order these", "what do those cost".
 *
 * A conjunction starts a new clause only when what follows has both a cue and a product of its own, so that
 * "two mugs and a whisk" stays one order and "have you a whisk, and what is the price?" one question about it.
 */

import type { Cue, CueKind } from './cue.ts'
import { sentencesOf } from './cue.ts'

export type ProductKind = 'order' | 'price_question' | 'stock_question'
export type Mentioned = { number: number; at: number; end: number }
export type Clause = {
  start: number
  text: string
  /** What the clause asks about products; empty when it does not say. */
  kinds: ProductKind[]
  products: Mentioned[]
  /** Everything else its sentence asks for. */
  others: CueKind[]
}

const CONJUNCTION = /,|&|\+|\b(?:and|also|plus|but|then)\b/g
const PRODUCT_KINDS: readonly string[] = ['order', 'price_question', 'stock_question']

export function clausesOf(masked: string, cues: readonly Cue[]): Clause[] {
  return sentencesOf(masked).flatMap(({ start, text }) => {
    const inSentence = cues.filter((cue) => cue.start >= start && cue.start < start + text.length)
    const others = inSentence.map((cue) => cue.kind).filter((kind) => !isProductKind(kind))
    const clauses: Clause[] = []
    for (const piece of piecesOf(start, text)) {
      const clause = { ...clauseOf(piece, inSentence), others }
      const previous = clauses.at(-1)
      if (!previous || (clause.kinds.length > 0 && clause.products.length > 0 && previous.products.length > 0)) {
        clauses.push(clause)
      } else {
        previous.text += clause.text
        previous.kinds = settle([...previous.kinds, ...clause.kinds])
        previous.products.push(...clause.products)
      }
    }
    return clauses
  })
}

function clauseOf(piece: { start: number; text: string }, cues: readonly Cue[]): Omit<Clause, 'others'> {
  const kinds = cues
    .filter((cue) => cue.start >= piece.start && cue.start < piece.start + piece.text.length)
    .map((cue) => cue.kind)
    .filter(isProductKind)
  const products = [...piece.text.matchAll(/prod_(\d+)/g)].map((found) => ({
    number: Number(found[1]),
    at: piece.start + found.index,
    end: piece.start + found.index + found[0].length,
  }))
  return { ...piece, kinds: settle(kinds), products }
}

/** "I want to know the price" is a question, not an order: questions win. */
function settle(kinds: ProductKind[]): ProductKind[] {
  const distinct = [...new Set(kinds)]
  const questions = distinct.filter((kind) => kind !== 'order')
  return questions.length > 0 ? questions : distinct
}

function piecesOf(start: number, text: string): { start: number; text: string }[] {
  const cuts = [0, ...[...text.matchAll(CONJUNCTION)].map((found) => found.index), text.length]
  return cuts.slice(0, -1).map((cut, index) => ({ start: start + cut, text: text.slice(cut, cuts[index + 1]) }))
}

function isProductKind(kind: CueKind): kind is ProductKind {
  return PRODUCT_KINDS.includes(kind)
}
