/**
 * A node of the simulation: a real runtime on a clock, a chance and a store of its own, behind wires.
 *
 * - `die` is what SIGKILL is. Its session on the database ends some time later, or never: then only its lease tells.
 * - Whoever asks it for something hears nothing when it dies.
 */
import { hostIdentity } from '../../server/cluster/host-identity.ts'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import { pool, supervisor } from '../../server/definition/supervisor.ts'
import type { Backend } from '../../server/host/backend.ts'
import { RuntimeControl } from '../../server/host/runtime-control.ts'
import { RuntimeCore } from '../../server/runtime.ts'
import type { ControlConnection } from '../../server/store/control.ts'
import { openMemoryControl } from '../../server/store/memory/control.ts'
import { openMemory } from '../../server/store/memory.ts'
import type { Store } from '../../server/store/store.ts'
import { type Actor, actorOf } from './actor.ts'
import type { Dice } from './dice.ts'
import type { Faults } from './fault.ts'
import type { Mutation } from './mutation.ts'
import type { Observed } from './observed.ts'
import { type SagaAgent, sagaOf } from './saga.ts'
import type { Place, Schedule } from './schedule.ts'
import { type ScribeAgent, scribeOf } from './scribe.ts'
import type { StoreWatch } from './store-watch.ts'
import { type TiedAgent, tiedOf } from './tied.ts'
import { Wire } from './wire.ts'
import { Witness } from './witness.ts'

/** Ms of a drain: shorter than some waits of the programs, so that turns are parked too. */
const DRAIN_MS = 600
/** Ms until the session of a dead node is gone. */
const SESSION_MS_MAX = 1_500

/** What all machines share. */
export type Site = {
  readonly schedule: Schedule
  readonly faults: Faults
  readonly observed: Observed
  readonly watch: StoreWatch
  readonly database: Place
  readonly mutation: Mutation | null
  nodeDice(n: number): Dice
}

type Agents = { actor: Actor; saga: SagaAgent; tied: TiedAgent; scribe: ScribeAgent }
type Parts = Agents & { place: Place; wire: Wire; core: RuntimeCore; end(): void }

export class Machine {
  readonly place: Place
  readonly actor: Actor
  readonly saga: SagaAgent
  readonly tied: TiedAgent
  readonly scribe: ScribeAgent
  readonly wire: Wire
  readonly core: RuntimeCore
  readonly control: RuntimeControl
  /** Resolves when it is dead, or has stopped. */
  readonly died: Promise<void>
  /** It takes requests. */
  open = false
  readonly #site: Site
  readonly #session: { end(): void }
  readonly #dead: () => void

  private constructor(site: Site, parts: Parts) {
    this.#site = site
    this.place = parts.place
    this.wire = parts.wire
    this.core = parts.core
    this.actor = parts.actor
    this.saga = parts.saga
    this.tied = parts.tied
    this.scribe = parts.scribe
    this.#session = parts
    this.control = new RuntimeControl(parts.core)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.died = promise
    this.#dead = resolve
  }

  /** Made, but not started. */
  static async make(site: Site, name: string, dice: Dice): Promise<Machine> {
    const { schedule, watch, faults, database } = site
    const place = schedule.place(name)
    const clock = schedule.clock(place)
    let machine: Machine | null = null
    const wire = new Wire({
      schedule,
      faults,
      dice,
      watch,
      database,
      node: place,
      die: (why) => machine?.die(why, dice),
    })
    const { handle, backend, end } = connect(site, { place, wire })
    const identity = await handle.store.registerNode('default', {
      ...hostIdentity(),
      name,
      capabilities: {},
      leaseMs: LEASE_MS,
    })
    let core: RuntimeCore | null = null
    const witness = new Witness(site.observed, watch, {
      identity: () => `${core?.node.id}.${core?.node.epoch}`,
      pause: (ms) => schedule.pause(place, ms),
    })
    const actor = actorOf(witness)
    const saga = sagaOf(witness)
    const tied = tiedOf(witness)
    const scribe = scribeOf(witness)
    const root = supervisor('app', {
      strategy: 'one_for_one',
      children: [pool(actor), pool(saga), pool(tied), pool(scribe)],
    })
    core = new RuntimeCore({ name, root, clock, random: dice.random(), drainMs: DRAIN_MS }, backend, identity)
    machine = new Machine(site, { place, wire, core, actor, saga, tied, scribe, end })
    return machine
  }

  async start(): Promise<void> {
    await Promise.race([this.core.start(), this.died])
    this.open = !this.place.dead
  }

  /** What it says that the state of a process is. */
  state(id: string): PromiseLike<unknown> {
    const [agent, key = ''] = id.split('/')
    const { core } = this
    switch (agent) {
      case 'saga':
        return core.messenger.call(core.ref(this.saga, key).all())
      case 'tied':
        return core.messenger.call(core.ref(this.tied, key).all())
      case 'scribe':
        return core.messenger.call(core.ref(this.scribe, key).all())
      default:
        return core.messenger.call(core.ref(this.actor, key).all())
    }
  }

  get alive(): boolean {
    return this.open && !this.place.dead
  }

  die(why: string, dice: Dice): void {
    const { schedule, database } = this.#site
    if (this.place.dead) return
    this.place.dead = true
    this.open = false
    schedule.trace.add(schedule.now, this.place.name, `dies at ${why}`)
    if (dice.permille(700)) schedule.at(database, dice.below(SESSION_MS_MAX), 'session ends', () => this.#session.end())
    this.#dead()
  }

  /** The session is gone, and nobody told the node. */
  cut(): void {
    this.#session.end()
  }

  /** Drains and stops; or dies while it does. */
  async stop(): Promise<void> {
    this.open = false
    await Promise.race([this.ask('stop', () => this.core.stop()), this.died])
    this.place.dead = true
    // Whoever asked it for something beside hears no more.
    this.#dead()
  }

  /** Asks when the machine is awake. Never answered when it dies before. */
  ask<T>(what: string, work: () => PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#site.schedule.at(this.place, 0, what, () => void Promise.resolve().then(work).then(resolve, reject))
    })
  }

  /** Ends what is left of a dead machine, for what the runtime holds of the OS process. */
  async bury(): Promise<void> {
    this.wire.closed = true
    this.place.frozenUntil = 0
    this.place.dead = false
    await this.core.stop()
  }
}

function connect(site: Site, { place, wire }: { place: Place; wire: Wire }) {
  const { watch, schedule, faults, database, mutation } = site
  const { db } = watch
  const handle = openMemory(db)
  let session: ControlConnection = openMemoryControl(db)
  const raw = { ...handle.store, clockOffset: async () => -place.wall }
  const inner: Store = mutation?.behind?.(raw, site) ?? raw
  const wired = wire.before(inner)
  const store: Store = mutation?.before?.(wired, site) ?? wired
  const backend: Backend = {
    handle: { store, archive: wire.before(handle.archive), close: handle.close },
    place: 'simulation',
    join: (node, onHint) =>
      wire.send('join', [], async () => {
        await session.close()
        session = openMemoryControl(db)
        await session.join(node, (targets) => schedule.at(place, 0, `hint ${targets.join(' ')}`, () => onHint(targets)))
      }),
    hint: (node, target) => {
      if (place.dead) return
      for (const ms of faults.hint()) schedule.at(database, ms, `hint to ${node}`, () => session.hint(node, target))
    },
    sessionGone: (node) => wire.send('sessionGone', [], () => session.sessionGone(node)),
    close: async () => {
      await session.close()
      await handle.close()
    },
  }
  return { handle, backend, end: () => void session.close() }
}
