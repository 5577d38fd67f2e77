/**
 * What a customer who asks for a suggestion has in mind: a category of the catalogue, and a limit.
 */
const CATEGORIES: readonly (readonly [string, RegExp])[] = [
  ['kitchen', /\b(kitchen|cook(ing|s)?|baking)\b/],
  ['coffee', /\b(coffee|espresso)\b/],
  ['tea', /\bteas?\b/],
  ['lighting', /\b(lighting|lamps?|lights?)\b/],
  ['garden', /\b(gardene?r?s?|gardening)\b/],
  ['outdoor', /\b(outdoors?|camp(s|ing|er)?|hik(es?|ing))\b/],
  ['toys', /\b(toys?|games?)\b/],
  ['books', /\bbooks?\b/],
  ['stationery', /\b(stationery|writing)\b/],
  ['bath', /\b(bath|soaps?)\b/],
  ['pets', /\b(pets?|dogs?|cats?)\b/],
  ['electronics', /\b(electronics|gadgets?)\b/],
  ['tools', /\b(tools?|diy)\b/],
  ['bags', /\b(bags?|luggage)\b/],
  ['plants', /\b(houseplants?|plants)\b/],
  ['textiles', /\b(textiles|linen)\b/],
]

const BUDGET = new RegExp(
  [
    String.raw`\b(?:under|below|max(?:imum)?|less than|above|about|around|roughly|budget|for|up to)(?: of| at|`,
    String.raw` about)?\s+[€£$]?\s?(\d+(?:\.\d+)?)|(\d+) or less`,
  ].join(''),
)

export function categoryIn(masked: string): string | null {
  return CATEGORIES.find(([, pattern]) => pattern.test(masked))?.[0] ?? null
}

export function budgetIn(masked: string): number | null {
  const found = BUDGET.exec(masked)
  const amount = found?.[1] ?? found?.[2]
  return amount === undefined ? null : Math.round(Number(amount) * 100)
}
