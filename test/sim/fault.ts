/**
 * What goes wrong, and how often. Each seed has a weather of its own: some faults often, most of them never, because
 * rare pairs of faults are found where others do not drown them.
 *
 * - When it is calm nothing goes wrong any more, and answers take their ordinary time.
 * - Nodes die a bounded number of times: a message whose nodes die again and again is buried on purpose (P2).
 */
import type { StoreFailureKind } from '../../server/store/store.ts'
import type { Dice } from './dice.ts'

/** One less than what makes a message suspected poison: nobody here loses a message by it. */
const DEATHS_MAX = 4
/** Ms that a statement travels, each way, and that a slow one does. */
const TRAVEL_MS = 4
const SLOW_MS = [40, 200, 900, 3_000] as const
const FAILURES: readonly StoreFailureKind[] = ['unavailable', 'unavailable', 'unavailable', 'full']

export type Disruption = 'kill' | 'drain' | 'freeze' | 'sleep' | 'outage' | 'cut' | 'wall' | 'verb' | 'hint'
const DISRUPTIONS: readonly Disruption[] = [
  ...(['kill', 'drain', 'freeze', 'sleep', 'outage', 'cut', 'wall', 'verb', 'hint'] as const),
]

/** What becomes of a statement. `out` and `back`: ms until it is carried out, and until its answer is here. */
export type Passage = { readonly out: number; readonly back: number } & (
  | { readonly kind: 'ok' | 'lost' | 'die-before' | 'die-after' }
  | { readonly kind: 'fail'; readonly failure: StoreFailureKind }
)

/** In thousandths of statements or hints. */
type Weather = { fail: number; lost: number; slow: number; die: number; hintLost: number; hintTwice: number }

export class Faults {
  calm = true
  /** Time of the simulation until which the store answers nobody. */
  outageUntil = 0
  deaths = 0
  /** Faults so far, by kind. */
  readonly counts = new Map<string, number>()
  readonly disruptions: readonly Disruption[]
  readonly #dice: Dice
  readonly #weather: Weather
  readonly #now: () => number

  constructor(dice: Dice, now: () => number) {
    this.#dice = dice
    this.#now = now
    const some = (most: number): number => (dice.permille(450) ? dice.between(1, most) : 0)
    this.#weather = {
      ...{ fail: some(120), lost: some(120), slow: some(200), die: some(8) },
      ...{ hintLost: some(900), hintTwice: some(500) },
    }
    this.disruptions = DISRUPTIONS.filter(() => dice.permille(350))
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  get sum(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  /** True when one more node may die. */
  mayDie(): boolean {
    if (this.deaths >= DEATHS_MAX) return false
    this.deaths += 1
    return true
  }

  passage(method: string): Passage {
    const dice = this.#dice
    const out = dice.below(TRAVEL_MS)
    const back = dice.below(TRAVEL_MS)
    if (this.calm) return { kind: 'ok', out, back }
    if (this.#now() < this.outageUntil) return this.#failed('outage', { out, back }, 'unavailable')
    const { fail, lost, slow, die } = this.#weather
    const at = { out: out + this.#slow(slow), back: back + this.#slow(slow) }
    if (dice.permille(fail)) {
      const contended = method === 'commit' && dice.permille(250)
      return this.#failed('fail', at, contended ? 'contended' : dice.pick(FAILURES))
    }
    if (dice.permille(lost)) {
      this.count('lost answer')
      return { kind: 'lost', ...at }
    }
    // What writes is more often at a boundary that matters.
    if (dice.permille(method === 'commit' ? die * 3 : die) && this.mayDie()) {
      const kind = dice.pick(['die-before', 'die-after'] as const)
      this.count(kind)
      return { kind, ...at }
    }
    return { kind: 'ok', ...at }
  }

  #failed(what: string, at: { out: number; back: number }, failure: StoreFailureKind): Passage {
    this.count(what)
    return { kind: 'fail', failure, ...at }
  }

  #slow(permille: number): number {
    if (!this.#dice.permille(permille)) return 0
    this.count('slow')
    return this.#dice.pick(SLOW_MS)
  }

  /** Ms after which a hint arrives, for each time it does. */
  hint(): number[] {
    const dice = this.#dice
    const once = dice.below(TRAVEL_MS)
    if (this.calm) return [once]
    if (dice.permille(this.#weather.hintLost)) {
      this.count('lost hint')
      return []
    }
    if (!dice.permille(this.#weather.hintTwice)) return [once]
    this.count('hint twice')
    return [once, dice.pick(SLOW_MS)]
  }
}
