/**
 * Finds the products a text talks about, by SKU, by name or by alias, forgiving typing slips.
 *
 * The longest phrase wins, an exact one before a misspelt one; found spans never overlap.
 */
import type { Product } from './catalogue.ts'
import { isSlipOf } from './edit-distance.ts'

export type Mention = { sku: string; start: number; end: number }

type Word = { stem: string; start: number; end: number }
type Phrase = { sku: string; words: string[] }

const WORD = /[\p{L}\d]+(?:['’]\p{L}+)?/gu

export class ProductIndex {
  readonly #phrases: Phrase[]
  readonly #products: Map<string, Product>

  constructor(products: readonly Product[]) {
    this.#products = new Map(products.map((product) => [product.sku, product]))
    this.#phrases = products
      .flatMap((product) => phrasesOf(product))
      .sort((left, right) => right.words.length - left.words.length || weight(right) - weight(left))
  }

  product(sku: string): Product | undefined {
    return this.#products.get(sku)
  }

  find(text: string): Mention[] {
    const mentions = [...this.#bySku(text)]
    const words = wordsOf(text).filter((word) => !mentions.some((m) => word.start < m.end && word.end > m.start))
    let at = 0
    while (at < words.length) {
      const phrase = this.#longestAt(words, at)
      const first = words[at]
      const last = words[at + (phrase?.words.length ?? 1) - 1]
      if (phrase && first && last) mentions.push({ sku: phrase.sku, start: first.start, end: last.end })
      at += phrase?.words.length ?? 1
    }
    return mentions.sort((left, right) => left.start - right.start)
  }

  /** The one product among `skus` whose name or alias holds a word of `text`: "the gloves" after an order of gloves. */
  among(skus: readonly string[], text: string): string | null {
    const words = wordsOf(text).filter((word) => word.stem.length >= 3)
    const hits = skus.filter((sku) => {
      const product = this.#products.get(sku)
      return (
        product !== undefined && phrasesOf(product).some((p) => p.words.some((w) => words.some((t) => t.stem === w)))
      )
    })
    return hits.length === 1 ? (hits[0] ?? null) : null
  }

  *#bySku(text: string): Generator<Mention> {
    for (const found of text.matchAll(/\b[A-Z]+-[A-Z\d]+\b/g)) {
      if (this.#products.has(found[0])) yield { sku: found[0], start: found.index, end: found.index + found[0].length }
    }
  }

  #longestAt(words: Word[], at: number): Phrase | undefined {
    const fits = (same: (typed: string, known: string) => boolean) => (phrase: Phrase) =>
      phrase.words.every((known, offset) => {
        const word = words[at + offset]
        return word !== undefined && same(word.stem, known)
      })
    const exact = this.#phrases.find(fits((typed, known) => typed === known))
    const loose = this.#phrases.find(fits(isSlipOf))
    if (!exact || !loose) return exact ?? loose
    return loose.words.length > exact.words.length ? loose : exact
  }
}

/** Singular, without accents or apostrophes; crude on purpose, both sides go through it. */
export function stem(word: string): string {
  const bare = word
    .toLowerCase()
    .normalize('NFD')
    .replace(/[\p{M}'’]/gu, '')
  if (bare.length <= 3 || bare.endsWith('ss')) return bare
  if (bare.endsWith('ies')) return `${bare.slice(0, -3)}y`
  return bare.replace(/(?<=sh|ch|x|ss)es$|s$/, '')
}

function wordsOf(text: string): Word[] {
  return [...text.matchAll(WORD)].map((m) => ({ stem: stem(m[0]), start: m.index, end: m.index + m[0].length }))
}

function phrasesOf(product: Product): Phrase[] {
  const name = product.name.replace(/\(.*\)/, '')
  const short = name.split(',')[0] ?? name
  return [name, short, ...product.aliases].map((phrase) => ({
    sku: product.sku,
    words: wordsOf(phrase).map((word) => word.stem),
  }))
}

function weight(phrase: Phrase): number {
  return phrase.words.join('').length
}
