/**
 * What happens to nodes and to the people behind them while the programs run: nodes are killed, drained, frozen, cut
 * off, started; clocks are set; operators kill, stop, suspend and let go. All of it ends when it is called off.
 */
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { key } from './actor.ts'
import type { Dice } from './dice.ts'
import type { Disruption } from './fault.ts'
import { Machine, type Site } from './machine.ts'
import { ACTORS } from './order.ts'
import { sagaKey } from './saga.ts'
import { SAGAS } from './saga-plan.ts'
import type { Place } from './schedule.ts'
import { TIED, tiedKey } from './tied-order.ts'

const NODES = 2
/** All nodes of a seed: enough to replace those that die. */
const NODES_MAX = 10
/** Kills of an operator: below what makes a message a dead letter together with its own crashes. */
const KILLS_MAX = 2
const WALL_MS_MAX = 4_000
/** Ms an operator waits for a verb before doing something else. */
const VERB_MS = 2_000
const ACT = { actor: 'operator:simulation' }

export class Chaos {
  readonly machines: Machine[] = []
  kills = 0
  readonly #site: Site
  readonly #place: Place
  readonly #dice: Dice
  readonly #touched = new Set<string>()
  /** Verbs that were asked for. */
  readonly #acting: Promise<void>[] = []
  #on = true
  #operatorKills = 0

  constructor(site: Site, init: { place: Place; dice: Dice }) {
    this.#site = site
    this.#place = init.place
    this.#dice = init.dice
  }

  get #alive(): Machine[] {
    return this.machines.filter((machine) => machine.alive)
  }

  /** As many nodes as there should be. */
  async populate(): Promise<void> {
    while (this.#alive.length < NODES && this.machines.length < NODES_MAX) {
      const n = this.machines.length
      const dice = this.#site.nodeDice(n)
      const machine = await Machine.make(this.#site, `n${n + 1}`, dice)
      this.machines.push(machine)
      await machine.start()
    }
  }

  /** One thing after the other until it is called off. */
  async rage(): Promise<void> {
    const { schedule, faults } = this.#site
    while (this.#on) {
      await schedule.pause(this.#place, this.#dice.pick([20, 80, 300, 900]))
      if (!this.#on) return
      if (faults.disruptions.length > 0) await this.#disrupt(this.#dice.pick(faults.disruptions))
      // Who starts a node waits for it in calm weather: a start that fails is told to whoever started it.
      if (this.#alive.length < NODES) await this.#calmly(() => this.populate())
    }
  }

  async #calmly(work: () => Promise<void>): Promise<void> {
    const { faults } = this.#site
    const before = faults.calm
    faults.calm = true
    await work()
    faults.calm = before || !this.#on
  }

  async #disrupt(what: Disruption): Promise<void> {
    const { faults, schedule } = this.#site
    const alive = this.#alive
    if (alive.length === 0) return
    const dice = this.#dice
    const machine = dice.pick(alive)
    const deadly = what === 'kill' || what === 'freeze' || what === 'cut'
    if (deadly && !faults.mayDie()) return
    if (what !== 'verb') faults.count(what)
    schedule.trace.add(schedule.now, machine.place.name, `disruption: ${what}`)
    switch (what) {
      case 'kill':
        this.kills += 1
        return machine.die('any moment', dice)
      case 'drain':
        return this.#drain(machine)
      case 'freeze':
        // Longer than its lease: another node takes over what it has, and then it goes on.
        machine.place.frozenUntil = schedule.now + LEASE_MS + dice.between(2_000, 12_000)
        return
      case 'sleep':
        machine.place.frozenUntil = schedule.now + dice.pick([30, 400, 3_000])
        return
      case 'outage':
        faults.outageUntil = schedule.now + dice.pick([100, 900, 5_000])
        return
      case 'cut':
        return machine.cut()
      case 'wall':
        machine.place.wall += dice.between(-WALL_MS_MAX, WALL_MS_MAX)
        return
      case 'verb':
        return this.#verb(machine)
      case 'hint':
        return this.#hint()
      default:
        return what satisfies never
    }
  }

  async #drain(machine: Machine): Promise<void> {
    if (this.machines.length >= NODES_MAX) return
    await machine.stop()
  }

  async #verb(machine: Machine): Promise<void> {
    const dice = this.#dice
    const id = this.#anyone()
    const { control } = machine
    const verb = dice.pick(['kill', 'kill', 'restart', 'suspend', 'stop', 'resume', 'resume'] as const)
    if (verb === 'kill' && ++this.#operatorKills > KILLS_MAX) return
    this.#touched.add(id)
    this.#site.faults.count(verb)
    const acted = machine.ask(`${verb} ${id}`, () => control[verb](id, ACT))
    // Refused where the process is not, or not any more: an operator would look again.
    const over = Promise.race([acted.then(() => {}).catch(() => {}), machine.died])
    this.#acting.push(over)
    await Promise.race([over, this.#site.schedule.pause(this.#place, VERB_MS)])
  }

  #anyone(): string {
    const n = this.#dice.below(ACTORS + SAGAS + TIED)
    if (n < ACTORS) return `actor/${key(n)}`
    return n < ACTORS + SAGAS ? `saga/${sagaKey(n - ACTORS)}` : `tied/${tiedKey(n - ACTORS - SAGAS)}`
  }

  /** About nothing. */
  #hint(): void {
    const { database, schedule, watch } = this.#site
    const id = this.#anyone()
    for (const { onHint } of watch.db.sessions.values()) schedule.at(database, 0, `hint ${id}`, () => onHint([id]))
  }

  /** Everything that was broken is mended; what remains is up to the runtime. */
  async end(): Promise<void> {
    const { faults, schedule } = this.#site
    this.#on = false
    faults.calm = true
    faults.outageUntil = 0
    schedule.trace.add(schedule.now, 'outside', 'calm')
    for (const { place } of this.machines) place.frozenUntil = Math.min(place.frozenUntil, schedule.now + LEASE_MS)
    await this.populate()
    await Promise.all(this.#acting)
    for (const id of this.#touched) await this.#letGo(id)
  }

  /** Whoever has it is asked until it runs again. */
  async #letGo(id: string): Promise<void> {
    const { schedule, watch } = this.#site
    const wanted = (): boolean => (watch.db.find('default', id)?.desired ?? 'running') === 'running'
    for (let round = 0; round < 100; round++) {
      for (const machine of this.#alive) {
        const resumed = machine
          .ask(`resume ${id}`, () => machine.control.resume(id, ACT))
          .then(
            () => true,
            () => false,
          )
        const late = schedule.pause(this.#place, 12_000).then(() => false)
        const done = await Promise.race([resumed, machine.died.then(() => false), late])
        if (done && wanted()) return
      }
      if (wanted()) return
      await schedule.pause(this.#place, 300)
    }
    this.#site.observed.violation(`operator: ${id} cannot be resumed`)
  }
}
