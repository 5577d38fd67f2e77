/**
 * A request with everything exchangeable taken out: two texts with one mask are one template, filled in twice.
 */
import type { Product } from '../../examples/desk/catalogue.ts'

const NUMBER_WORDS = new RegExp(
  '\\b(zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty|' +
    'thirty|forty|fifty|hundred|thousand|dozen|pair|both|a|an)\\b',
  'g',
)

export function maskedText(text: string, products: readonly Product[], customers: readonly string[]): string {
  const names = products.flatMap(({ sku, name, aliases }) => [sku, name.replace(/\(.*\)/, '').trim(), ...aliases])
  let masked = text.toLowerCase().replace(/\bd-?\d+\b/g, ' order_id ')
  for (const name of names.sort((left, right) => right.length - left.length)) {
    // Plurals are the same product.
    masked = masked.replaceAll(new RegExp(`\\b${escaped(name.toLowerCase())}(?:e?s)?\\b`, 'g'), ' product ')
  }
  for (const customer of customers)
    masked = masked.replaceAll(new RegExp(`\\b${escaped(customer)}\\b`, 'g'), ' customer ')
  const bare = masked.replace(/\d+(?:[.,]\d+)?/g, ' number ').replace(NUMBER_WORDS, ' number ')
  // A line of punctuation only keeps it: it is all it has.
  return (
    bare
      .replace(/[^\p{L}_ ]+/gu, ' ')
      .replace(/\s+/g, ' ')
      .trim() || bare
  )
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
