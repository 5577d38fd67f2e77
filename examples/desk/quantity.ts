/**
 * How many of a product a masked text asks for: a number before its token ("3 boxes of prod_0") or after it
 * ("prod_0 x3", "prod_0, 2;", "prod_0 (qty 2)").
 */
const NUMBER = String.raw`(-?\d+(?:\.\d+)?)`
const UNIT = `(?:boxes|box|packs?|packets?|bags?|bars?|pieces|pairs?|sets?|bottles?|tins?|copies|pcs|units?)`
/** A number counts only when nothing but a few describing words lies between it and the product. */
const BEFORE = new RegExp(
  `(?<![\\w.])${NUMBER}\\)?\\s*(?:x|\\*)?(?:\\s+(?!and\\b|prod_|for\\b|to\\b)[a-z][a-z-]*){0,4}\\s*$`,
)
const AFTER = new RegExp(
  `^\\s*(?:${UNIT}\\s*)?[",.:({]*\\s*(?:"?(?:qty|quantity|amount)"?\\s*[:=]?\\s*|(?:just |only )?x?\\s*)${NUMBER}` +
    `\\s*(?:x\\b)?\\s*(?:${UNIT}|of (?:them|those))?(?: please| then| each)?\\s*(?=[).;,!?}\\n]|and\\b|pl[sz]\\b|$)`,
)
const PAIRS = /\b(?:pairs? of|pair)(?:\s+[a-z-]+){0,2}\s*$/

/** The span of a product's token in the masked text. */
type Span = { at: number; end: number }

/** The number said with the product, or null. */
export function statedQuantity(masked: string, span: Span): number | null {
  const left = BEFORE.exec(leadOf(masked, span))?.[1]
  const found = left ?? AFTER.exec(masked.slice(span.end))?.[1]
  return found === undefined ? null : Number(found)
}

/** "A pair of mugs" is two, "a pair of binoculars" (`pair`: sold in twos) one; 0 when no pair is spoken of. */
export function pairQuantity(masked: string, span: Span, pair: boolean): number {
  return PAIRS.test(leadOf(masked, span)) ? (pair ? 1 : 2) : 0
}

function leadOf(masked: string, span: Span): string {
  return (
    masked
      .slice(0, span.at)
      .split(/[,;!?:+&]|prod_\d+/)
      .at(-1) ?? ''
  )
}

/** The number that stands in a text without a product: "8 then", "make it 2", "a pair of those". */
export function looseQuantity(text: string, pair: boolean): number | null {
  const numbers = [...text.replace(/[a-z]+_\d+/g, ' ').matchAll(/(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-]|\.\d)/g)]
  const corrected = text.includes(', not ') ? numbers[0] : numbers.at(-1)
  if (corrected) return Number(corrected[0])
  return /\bpair of\b/.test(text) && !pair ? 2 : null
}
