/** Somebody outside of the runtime: asks nodes that are up for things, and hears nothing of one that dies. */
import type { Dice } from './dice.ts'
import type { Machine, Site } from './machine.ts'
import type { Place } from './schedule.ts'

/** Ms after which a client gives up a call of which it heard nothing, on a node that may be frozen. */
const DEAF_MS = 90_000
/** Ms before something is tried again. */
const AGAIN_MS = 60

export type OutsiderInit = { place: Place; dice: Dice; machines: () => readonly Machine[] }

export class Outsider {
  readonly site: Site
  readonly dice: Dice
  readonly #place: Place
  readonly #machines: () => readonly Machine[]

  constructor(site: Site, { place, dice, machines }: OutsiderInit) {
    this.site = site
    this.dice = dice
    this.#place = place
    this.#machines = machines
  }

  async machine(): Promise<Machine> {
    for (;;) {
      const open = this.#machines().filter((machine) => machine.alive)
      if (open.length > 0) return this.dice.pick(open)
      await this.again()
    }
  }

  pause(ms: number): Promise<void> {
    return this.site.schedule.pause(this.#place, ms)
  }

  /** The time before something is tried again. */
  again(): Promise<void> {
    return this.pause(AGAIN_MS)
  }

  /** Null when the machine dies, or is silent for too long. */
  asked<T>(machine: Machine, what: string, work: () => PromiseLike<T>): Promise<{ value: T } | null> {
    return Promise.race([
      machine.ask(what, work).then((value) => ({ value })),
      machine.died.then(() => null),
      this.pause(DEAF_MS).then(() => null),
    ])
  }
}
