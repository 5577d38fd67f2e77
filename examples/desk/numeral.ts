/**
 * Turns numbers in words into digits ("a couple of" -> "2", "minus three" -> "-3", "two and a half" -> "2.5").
 */
const UNITS = 'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen'
  .concat(' seventeen eighteen nineteen')
  .split(' ')
const TENS = ['', '', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety']
const VALUES = new Map<string, number>([
  ...UNITS.map((word, value): [string, number] => [word, value]),
  ...TENS.flatMap((word, ten): [string, number][] => (word ? [[word, ten * 10]] : [])),
])
const SMALL = [...VALUES.keys()].sort((left, right) => right.length - left.length).join('|')
const COMPOUND = new RegExp(`\\b(${SMALL})(?:[- ](${UNITS.slice(1, 10).join('|')}))?\\b`, 'g')

/** After these words "one" stands for a thing, not for a number. */
const PRONOUN_ONE = /\b(the|that|this|which|nice|any|each|every|other|living|\w+ing) one\b/g

/** `text` is lower case. */
export function digitsFor(text: string): string {
  return text
    .replace(PRONOUN_ONE, '$1 thing')
    .replace(/\bhalf a dozen\b/g, '6')
    .replace(/\b(a|one) dozen\b|\bdozen\b/g, '12')
    .replace(/\b(a )?couple( of)?\b/g, '2')
    .replace(COMPOUND, (_, first: string, second?: string) =>
      String((VALUES.get(first) ?? 0) + (second ? (VALUES.get(second) ?? 0) : 0)),
    )
    .replace(/\b(?:(\d+)|a) (hundred|thousand)\b/g, (_, count: string | undefined, scale: string) =>
      String(Number(count ?? 1) * (scale === 'hundred' ? 100 : 1000)),
    )
    .replace(/\b(\d+) and a half\b/g, '$1.5')
    .replace(/\b(?:minus|negative) (\d)/g, '-$1')
}
