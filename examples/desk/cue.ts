/**
 * Where a masked text gives an intent away, and where its sentences end.
 */
import { type CueKind, WORDINGS } from './wording.ts'

export type { CueKind } from './wording.ts'
export type Cue = { kind: CueKind; start: number; end: number }

const SENTENCE = /(?:[^.!?;\n]|\.(?=\d))+/g

/** All cues of a masked text, in the order of their place. */
export function cuesIn(masked: string): Cue[] {
  const cues: Cue[] = []
  for (const { start, text } of sentencesOf(masked)) {
    for (const rule of WORDINGS) {
      if (rule.unless?.test(text)) continue
      for (const found of text.matchAll(rule.pattern)) {
        cues.push({ kind: rule.kind, start: start + found.index, end: start + found.index + found[0].length })
      }
    }
  }
  return cues.sort((left, right) => left.start - right.start)
}

export type Sentence = { start: number; text: string }

/** A point inside a number ends no sentence. */
export function sentencesOf(masked: string): Sentence[] {
  return [...masked.matchAll(SENTENCE)].flatMap((found) => {
    const text = found[0].trimStart()
    return text === '' ? [] : [{ start: found.index + found[0].length - text.length, text: text.trimEnd() }]
  })
}
