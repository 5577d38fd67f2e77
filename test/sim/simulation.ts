/**
 * One seed: programs on a few real nodes over one store, things that go wrong, an end of that, and what is left.
 *
 * - Everything comes from the seed: order, faults, programs, time. The same seed gives the same trace.
 * - After the faults stop, all must come to its end by itself within SETTLE_MS; then the checkers look.
 */
import { MemoryDatabase } from '../../server/store/memory/database.ts'
import { Chaos } from './chaos.ts'
import { checkCancels } from './checker-cancel.ts'
import { checkEffects } from './checker-effect.ts'
import { checkExternals } from './checker-external.ts'
import { checkKeys } from './checker-key.ts'
import { checkOrder } from './checker-order.ts'
import { checkSagas } from './checker-saga.ts'
import { checkStates } from './checker-state.ts'
import { checkStreams } from './checker-stream.ts'
import { checkTies } from './checker-tie.ts'
import { Client } from './client.ts'
import { Dice } from './dice.ts'
import { Faults } from './fault.ts'
import type { Machine, Site } from './machine.ts'
import type { Mutation } from './mutation.ts'
import { Observed } from './observed.ts'
import { Program, type Request } from './order.ts'
import { Outsider } from './outsider.ts'
import { SagaClient } from './saga-client.ts'
import { SagaEvidence } from './saga-evidence.ts'
import { SagaProgram, type SagaRequest } from './saga-plan.ts'
import { type Place, Schedule } from './schedule.ts'
import { ScribeClient } from './scribe-client.ts'
import { type ScribeRequest, scribeRequests } from './scribe-order.ts'
import { StoreWatch } from './store-watch.ts'
import { TiedClient } from './tied-client.ts'
import { type TiedRequest, tiedRequests } from './tied-order.ts'
import { Trace } from './trace.ts'

/** Ms of virtual time after the faults: some leases, looks for lost hints, deadlines of calls. */
const SETTLE_MS = 240_000
/** Ms of virtual time of a whole seed, after which it hangs. */
const SEED_MS_MAX = 900_000
/** Ms: more than the slowest statement takes there and back. */
const ANSWER_MS_MAX = 8_000
/** Ms between looks whether all is done. */
const LOOK_MS = 100

/** Parts of a seed that have dice of their own; nodes come after. */
const PART = {
  schedule: 0,
  program: 1,
  faults: 2,
  client: 3,
  chaos: 4,
  sagas: 5,
  sagaClient: 6,
  tied: 7,
  tiedClient: 8,
  scribes: 9,
  node: 20,
} as const

export type Report = {
  readonly seed: number
  readonly violations: readonly string[]
  readonly hash: string
  readonly items: number
  readonly virtualMs: number
  readonly nodes: number
  readonly deaths: number
  readonly faults: ReadonlyMap<string, number>
  readonly statements: number
  readonly requests: number
  readonly turns: number
  readonly steps: number
  /** Attempts of orders after their first. */
  readonly replays: number
  readonly claims: number
  readonly snapshots: number
}

export type SimulationOptions = { print?: (line: string) => void; mutation?: Mutation }

/** Runs one seed to its end. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Report> {
  const simulation = new Simulation(seed, options)
  await simulation.run()
  return simulation.report()
}

class Simulation {
  readonly #seed: number
  readonly #schedule: Schedule
  readonly #outside: Place
  readonly #site: Site
  readonly #chaos: Chaos
  readonly #client: Client
  readonly #requests: readonly Request[]
  readonly #sagas: readonly SagaRequest[]
  readonly #sagaClient: SagaClient
  readonly #tied: readonly TiedRequest[]
  readonly #tiedClient: TiedClient
  readonly #scribes: readonly ScribeRequest[]
  readonly #scribeClient: ScribeClient
  #asking = 0
  #over = false

  constructor(seed: number, { print, mutation }: SimulationOptions) {
    this.#seed = seed
    const dice = (part: number): Dice => new Dice(seed, part)
    const trace = new Trace(print ?? null)
    const schedule = new Schedule(dice(PART.schedule), trace)
    this.#schedule = schedule
    this.#outside = schedule.place('outside')
    const database = schedule.place('store')
    const observed = new Observed((where, what) => trace.add(schedule.now, where, what))
    const watch = new StoreWatch(new MemoryDatabase(schedule.clock(database)), observed)
    const faults = new Faults(dice(PART.faults), () => schedule.now)
    const nodeDice = (n: number): Dice => dice(PART.node + n)
    this.#site = { schedule, faults, observed, watch, database, mutation: mutation ?? null, nodeDice }
    this.#chaos = new Chaos(this.#site, { place: this.#outside, dice: dice(PART.chaos) })
    const machines = (): readonly Machine[] => this.#chaos.machines
    const outsider = (part: number): Outsider =>
      new Outsider(this.#site, { place: this.#outside, dice: dice(part), machines })
    this.#client = new Client(outsider(PART.client))
    this.#requests = new Program(dice(PART.program)).requests()
    this.#sagaClient = new SagaClient(outsider(PART.sagaClient))
    this.#tiedClient = new TiedClient(outsider(PART.tiedClient))
    this.#tied = tiedRequests(dice(PART.tied))
    this.#scribeClient = new ScribeClient(outsider(PART.scribes))
    this.#scribes = scribeRequests(dice(PART.scribes))
    this.#sagas = new SagaProgram(dice(PART.sagas)).requests()
  }

  async run(): Promise<void> {
    const { observed } = this.#site
    const story = this.#story().catch((error: unknown) => {
      observed.violation(`the simulation failed: ${error instanceof Error ? error.stack : String(error)}`)
    })
    void story.then(() => {
      this.#over = true
    })
    const ended = await this.#schedule.run(() => this.#over, SEED_MS_MAX)
    if (!ended) observed.violation('the simulation hangs')
  }

  async #story(): Promise<void> {
    const { faults, observed } = this.#site
    for (const { kind, to, order } of this.#requests)
      observed.note('program', `${kind} a${to} ${JSON.stringify(order)}`)
    for (const request of [...this.#sagas, ...this.#tied, ...this.#scribes])
      observed.note('program', JSON.stringify(request))
    await this.#chaos.populate()
    faults.calm = false
    const raging = this.#chaos.rage()
    await this.#ask()
    await this.#pause(this.#site.nodeDice(-1).between(200, 2_000))
    await this.#chaos.end()
    await raging
    await this.#chaos.populate()
    const settled = await this.#settled()
    if (!settled) for (const left of this.#left()) observed.violation(`left: ${left}`)
    await this.#check(settled)
    await this.#end()
  }

  /** Asks for everything, each thing in its time; does not wait for the answers. */
  async #ask(): Promise<void> {
    await Promise.all([
      this.#each(this.#requests, (request) => this.#client.ask(request)),
      this.#each(this.#sagas, (request) => this.#sagaClient.ask(request)),
      this.#each(this.#tied, (request) => this.#tiedClient.ask(request)),
      this.#each(this.#scribes, (request) => this.#scribeClient.ask(request)),
    ])
  }

  async #each<T extends { afterMs: number }>(all: readonly T[], ask: (one: T) => Promise<void>): Promise<void> {
    for (const one of all) {
      await this.#pause(one.afterMs)
      this.#asking += 1
      const asked = ask(one).catch((error: unknown) => {
        this.#site.observed.violation(`client: ${JSON.stringify(one).slice(0, 200)}: ${String(error)}`)
      })
      void asked.then(() => {
        this.#asking -= 1
      })
    }
  }

  #pause(ms: number): Promise<void> {
    return this.#schedule.pause(this.#outside, ms)
  }

  #left(): string[] {
    const asking = this.#asking === 0 ? [] : [`${this.#asking} clients wait`]
    const { watch } = this.#site
    const fenced = this.#chaos.machines.flatMap(({ alive, core, place }) =>
      alive && !watch.db.alive(core.node) ? [`${place.name} does not know that it was declared dead`] : [],
    )
    return [...asking, ...fenced, ...watch.left()]
  }

  async #settled(): Promise<boolean> {
    const end = this.#schedule.now + SETTLE_MS
    while (this.#left().length > 0) {
      if (this.#schedule.now > end) return false
      await this.#pause(LOOK_MS)
    }
    return true
  }

  async #check(settled: boolean): Promise<void> {
    const { observed, watch } = this.#site
    // What was stored last is known to its node when the answer is there.
    await this.#pause(ANSWER_MS_MAX)
    const states = new Map([...watch.actors()].map(({ id, state }) => [id, state]))
    const stored = new Map([...watch.processes()].map(({ id, state }) => [id, state]))
    const live = await this.#live([...stored.keys()])
    const found = [...checkOrder(states), ...checkKeys(observed), ...checkStates(stored, live)]
    // What is not over yet has no outcome to judge.
    if (settled) {
      const evidence = new SagaEvidence(this.#sagas, { watch, observed })
      found.push(...checkEffects(this.#requests, { observed, watch, states }), ...checkSagas(evidence))
      found.push(...checkCancels(evidence), ...checkExternals(evidence))
      found.push(...checkTies(this.#tied, { watch, observed }), ...checkStreams(this.#scribes, { watch, observed }))
    }
    for (const text of found) observed.violation(text)
  }

  /** What the nodes say that the states are. */
  async #live(ids: readonly string[]): Promise<Map<string, unknown>> {
    const live = new Map<string, unknown>()
    for (const machine of this.#chaos.machines) {
      if (!machine.alive) continue
      for (const id of ids) {
        const state = await machine.ask(`read ${id}`, () => machine.state(id))
        live.set(`${id} on ${machine.place.name}`, state)
      }
    }
    return live
  }

  async #end(): Promise<void> {
    const { machines } = this.#chaos
    for (const machine of machines) {
      if (machine.alive) await machine.stop()
      else if (machine.core.state !== 'stopped') await machine.bury()
    }
  }

  report(): Report {
    const { observed, faults } = this.#site
    const { machines } = this.#chaos
    const { turns, again, claims, snapshots } = observed.counts
    return {
      ...{ seed: this.#seed, violations: observed.violations, hash: this.#schedule.trace.hash },
      ...{ items: this.#schedule.items, virtualMs: this.#schedule.now, nodes: machines.length, deaths: faults.deaths },
      ...{ faults: faults.counts, statements: machines.reduce((sum, { wire }) => sum + wire.statements, 0) },
      ...{ requests: this.#requests.length, turns, steps: observed.runs.length, replays: again, claims, snapshots },
    }
  }
}
