/** What scribes are told to write: streams from handlers and steps, with crashes between. Made from dice. */
import type { Dice } from './dice.ts'

export const SCRIBES = 2

export type ScribeOrder = {
  /** Name of the stream. */
  readonly id: string
  readonly chunks: number
  /** The step fails so often after having written some of it. */
  readonly way: { readonly kind: 'handler' } | { readonly kind: 'step'; readonly fails: number }
  /** Before which chunk the turn rests: a sleep, a step, or a crash the first time that it comes there. */
  readonly pauses: readonly { readonly before: number; readonly how: 'sleep' | 'step' | 'crash'; readonly ms: number }[]
}

export type ScribeRequest = { readonly to: string; readonly order: ScribeOrder; readonly afterMs: number }

export function scribeKey(index: number): string {
  return `w${index}`
}

export function scribeRequests(dice: Dice): ScribeRequest[] {
  return Array.from({ length: dice.below(4) }, (_, i) => {
    const chunks = dice.between(1, 8)
    const pauses = Array.from({ length: dice.below(3) }, () => ({
      before: dice.below(chunks),
      how: dice.pick(['sleep', 'step', 'crash'] as const),
      ms: dice.pick([1, 60, 1_200]),
    }))
    const isStep = dice.permille(500)
    const way = isStep
      ? { kind: 'step' as const, fails: dice.permille(500) ? dice.between(1, 2) : 0 }
      : { kind: 'handler' as const }
    const order = { id: `w${i + 1}`, chunks, way, pauses: isStep ? [] : pauses }
    return { to: scribeKey(dice.below(SCRIBES)), order, afterMs: dice.pick([0, 40, 400]) }
  })
}
