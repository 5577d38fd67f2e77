/** What tied actors are told to do: who watches whom, who holds which name, who spawns, who ends. Made from dice. */
import type { Dice } from './dice.ts'

export const TIED = 5
const NAMES = ['north', 'south'] as const

export type TiedOrder = { readonly id: string } & (
  | { readonly kind: 'monitor' | 'link' | 'unlink'; readonly peer: string }
  /** The oldest monitor that was not heard of. */
  | { readonly kind: 'demonitor' }
  | { readonly kind: 'take' | 'free'; readonly name: string }
  | { readonly kind: 'spawn'; readonly monitor: boolean; readonly link: boolean }
  | { readonly kind: 'leave'; readonly how: 'normal' | 'shutdown' | 'error' }
  /** Throws at its first delivery. */
  | { readonly kind: 'crash' }
  /** Ties, and throws at its first delivery: that attempt tied nothing. */
  | { readonly kind: 'vain'; readonly peer: string }
  | { readonly kind: 'step' | 'nap'; readonly ms: number }
)

/** What a client tells one of them. */
export type TiedRequest = { readonly to: string; readonly order: TiedOrder; readonly afterMs: number }

/** Even ones trap exits. */
export function tiedKey(index: number): string {
  return `t${index}`
}

/** Nobody is ever started under it by its own: what watches it hears `noproc`, or of the life that a client began. */
const STRANGER = 'stranger'

export function tiedRequests(dice: Dice): TiedRequest[] {
  let ids = 0
  return Array.from({ length: dice.between(6, 22) }, () => {
    ids += 1
    const to = tiedKey(dice.below(TIED))
    return { to, order: orderOf(dice, `t${ids}`, to), afterMs: dice.pick([0, 0, 5, 40, 150, 400]) }
  })
}

function orderOf(dice: Dice, id: string, to: string): TiedOrder {
  const others = Array.from({ length: TIED }, (_, i) => tiedKey(i)).filter((key) => key !== to)
  const peer = `tied/${dice.permille(100) ? STRANGER : dice.pick(others)}`
  switch (dice.below(14)) {
    case 0:
    case 1:
    case 2:
      return { id, kind: 'monitor', peer }
    case 3:
    case 4:
      return { id, kind: 'link', peer }
    case 5:
      return dice.permille(500) ? { id, kind: 'unlink', peer } : { id, kind: 'demonitor' }
    case 6:
    case 7:
      return { id, kind: 'take', name: dice.pick(NAMES) }
    case 8:
      return { id, kind: 'free', name: dice.pick(NAMES) }
    case 9:
      return { id, kind: 'spawn', monitor: dice.permille(500), link: dice.permille(300) }
    case 10:
    case 11:
      return { id, kind: 'leave', how: dice.pick(['normal', 'shutdown', 'error'] as const) }
    case 12:
      return dice.permille(500) ? { id, kind: 'crash' } : { id, kind: 'vain', peer }
    default:
      return { id, kind: dice.pick(['step', 'nap'] as const), ms: dice.pick([1, 30, 300, 1_500]) }
  }
}
