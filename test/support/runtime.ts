/**
 * Nodes over one store, for tests: real runtimes, a clock that only moves when the test drives it (memory) or the real
 * one (Postgres), and a store in between that fails on order.
 *
 * - `kill` is what SIGKILL is to a process: no timer, macrotask or statement of the node comes through any more, and
 *   its session on the database is gone. Whatever its code still runs reaches nothing.
 * - `until` and `run` drive the clock; the bound is on time, so a test that waits for the impossible says so.
 */
import { expect } from 'vitest'
import { realClock } from '../../server/clock.ts'
import { hostIdentity } from '../../server/cluster/host-identity.ts'
import { LEASE_MS } from '../../server/cluster/membership.ts'
import type { AnyAgent } from '../../server/definition/agent.ts'
import type { Call } from '../../server/definition/call.ts'
import type { Ref } from '../../server/definition/ref.ts'
import { pool, type SupervisorDefinition, supervisor } from '../../server/definition/supervisor.ts'
import type { Backend } from '../../server/host/backend.ts'
import type { Handle, StartOptions } from '../../server/host/handle.ts'
import type { RuntimeOptions } from '../../server/host/options.ts'
import { RuntimeControl } from '../../server/host/runtime-control.ts'
import { decodeEntries, type Entry } from '../../server/journal/entry.ts'
import type { Clock } from '../../server/kernel/clock-port.ts'
import { RuntimeCore } from '../../server/runtime.ts'
import type { ControlConnection } from '../../server/store/control.ts'
import { openMemoryControl } from '../../server/store/memory/control.ts'
import { MemoryDatabase, openMemory } from '../../server/store/memory.ts'
import { openControl } from '../../server/store/postgres/control.ts'
import { openPostgres } from '../../server/store/postgres/postgres.ts'
import type { StoreHandle } from '../../server/store/store.ts'
import type { RuntimeEvent } from '../../shared/event.ts'
import { Faults, faultyStore } from './faulty-store.ts'
import type { TestConnection } from './postgres.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Ms a test waits for something before it fails: virtual ones cost nothing, real ones are a machine under load. */
const VIRTUAL_MS_MAX = 300_000
const REAL_MS_MAX = 20_000

export type NodeOptions = Partial<RuntimeOptions> & { version?: string }

type Open = (clock: Clock) => { handle: StoreHandle; control(): ControlConnection }

export class World {
  readonly clock: Clock
  readonly nodes: TestNode[] = []
  readonly db: MemoryDatabase | null
  readonly #virtual: VirtualClock | null
  readonly #open: Open

  private constructor(init: { clock: Clock; virtual: VirtualClock | null; db: MemoryDatabase | null; open: Open }) {
    this.clock = init.clock
    this.#virtual = init.virtual
    this.db = init.db
    this.#open = init.open
  }

  /** Nodes over one memory store under virtual time. */
  static memory(): World {
    const clock = new VirtualClock(1_700_000_000_000)
    const db = new MemoryDatabase(clock)
    const open = (): ReturnType<Open> => ({ handle: openMemory(db), control: () => openMemoryControl(db) })
    return new World({ clock, virtual: clock, db, open })
  }

  /** Nodes over one database under real time. */
  static postgres(connection: TestConnection): World {
    const open = (clock: Clock): ReturnType<Open> => ({
      handle: openPostgres({ connection, clock }),
      control: () => openControl({ connection, clock }),
    })
    return new World({ clock: realClock(), virtual: null, db: null, open })
  }

  /** Nodes over one memory store under real time: for what happens on threads, which no clock of ours drives. */
  static real(): World {
    const clock = realClock()
    const db = new MemoryDatabase(clock)
    const open = (): ReturnType<Open> => ({ handle: openMemory(db), control: () => openMemoryControl(db) })
    return new World({ clock, virtual: null, db, open })
  }

  /** Starts a node with these agents, each in a pool of its own unless a tree is given. */
  async node(name: string, agents: readonly AnyAgent[], options: NodeOptions = {}): Promise<TestNode> {
    const clock = new NodeClock(this.clock)
    const { handle, control } = this.#open(this.clock)
    const faults = new Faults()
    let session = control()
    const backend: Backend = {
      handle: { ...handle, store: faultyStore(handle.store, faults) },
      place: 'test',
      join: async (node, onHint) => {
        await session.close()
        session = control()
        await session.join(node, onHint)
      },
      hint: (node, target) => void (faults.dead || session.hint(node, target)),
      sessionGone: (node) => session.sessionGone(node),
      close: async () => {
        await session.close()
        await handle.close()
      },
    }
    const capabilities = Object.fromEntries(agents.map((agent) => [agent.name, agent.version]))
    const start = { ...hostIdentity(), name, capabilities, leaseMs: LEASE_MS }
    const identity = await handle.store.registerNode('default', start)
    const root = options.root ?? tree(agents)
    const core = new RuntimeCore({ drainMs: 2_000, ...options, root, clock }, backend, identity)
    const node = new TestNode({ world: this, name, core, faults, clock, endSession: () => session.close() })
    this.nodes.push(node)
    await this.run(core.start())
    return node
  }

  /** Lets everything that is due happen. */
  async settle(): Promise<void> {
    if (this.#virtual !== null) return this.#virtual.settle()
    await new Promise<void>((resolve) => void this.clock.macrotask(resolve))
  }

  /** Time passes. */
  async advance(ms: number): Promise<void> {
    if (this.#virtual !== null) return this.#virtual.advance(ms)
    await new Promise<void>((resolve) => void this.clock.after(ms, resolve))
  }

  /** The clock is set forward: nothing that was due meanwhile happens on the way. Virtual time only. */
  jump(ms: number): void {
    if (this.#virtual === null) throw new Error('Real time cannot jump. Use World.memory().')
    this.#virtual.jump(ms)
  }

  /** Drives time until the condition holds. */
  async until(holds: () => boolean | Promise<boolean>, what = 'the condition'): Promise<void> {
    const limit = this.#virtual === null ? REAL_MS_MAX : VIRTUAL_MS_MAX
    const deadline = this.clock.monotonic() + limit
    while (!(await holds())) {
      if (this.clock.monotonic() > deadline) throw new Error(`${what} did not come true in ${limit} ms.`)
      await this.advance(this.#virtual === null ? 5 : 10)
    }
  }

  /** Drives time until the promise is settled. */
  async run<T>(promise: PromiseLike<T>): Promise<T> {
    let settled = false
    const done = (): void => {
      settled = true
    }
    const both = Promise.resolve(promise)
    both.then(done, done)
    await this.settle()
    if (!settled) await this.until(() => settled, 'the promise')
    return both
  }

  /** The error with which the promise is rejected. */
  async refusal(
    promise: PromiseLike<unknown>,
  ): Promise<{ code: string; message: string; detail: Record<string, unknown> }> {
    const outcome = this.run(promise).then(
      (value) => expect.fail(`resolved with ${JSON.stringify(value)}`),
      (error: unknown) => error,
    )
    return (await outcome) as { code: string; message: string; detail: Record<string, unknown> } // runtime errors only
  }

  async close(): Promise<void> {
    for (const node of this.nodes) if (!node.dead) await this.run(node.core.stop())
    for (const node of this.nodes) await node.release()
  }
}

export class TestNode {
  readonly world: World
  readonly name: string
  readonly core: RuntimeCore
  readonly faults: Faults
  readonly control: RuntimeControl
  readonly events: RuntimeEvent[] = []
  dead = false
  readonly #clock: NodeClock
  readonly #endSession: () => Promise<void>

  constructor(init: {
    world: World
    name: string
    core: RuntimeCore
    faults: Faults
    clock: NodeClock
    endSession: () => Promise<void>
  }) {
    this.world = init.world
    this.name = init.name
    this.core = init.core
    this.faults = init.faults
    this.#clock = init.clock
    this.#endSession = init.endSession
    this.control = new RuntimeControl(init.core)
    init.faults.onDeath = () => this.kill()
    init.core.bus.listen('all', (event) => void this.events.push(event))
  }

  /** What agents of this node wrote into their journals. */
  written(): Entry[] {
    return this.faults.committed.flatMap((row) => decodeEntries(row.payload))
  }

  /** The last hundred rows of a process's journal, oldest first. */
  async journal(id: string): Promise<Entry[]> {
    const { archive } = this.core.backend.handle
    const record = await archive.process('default', id)
    const rows = await archive.journal(record?.pid ?? 0, { limit: 100 })
    return rows.reverse().flatMap((row) => decodeEntries(row.payload))
  }

  /** SIGKILL: nothing of this node comes through any more. */
  kill(): void {
    if (this.dead) return
    this.dead = true
    this.#clock.dead = true
    this.faults.die()
    void this.#endSession()
  }

  /** Drains and stops. */
  async stop(): Promise<void> {
    let over = false
    const stopped = this.core.stop().finally(() => {
      over = true
    })
    // A node that is killed while it drains never says that it stopped.
    await this.world.until(() => over || this.dead, `the stop of ${this.name}`)
    if (over) await stopped
    this.dead = true
  }

  /** A killed node never stopped: its listeners must not outlive the test. */
  async release(): Promise<void> {
    await this.core.backend.close()
  }

  ref<D extends AnyAgent>(definition: D, key: string): Ref<D> {
    return this.core.ref(definition, key)
  }

  /** Stores a message; resolves with its id. */
  send(call: PromiseLike<unknown>): Promise<string> {
    return this.core.messenger.send(call as Call<unknown>) // made by a reference: nothing else is awaited like this
  }

  /** Starts an operation that survives its caller. */
  start(call: PromiseLike<unknown>, options: StartOptions = {}): Promise<Handle> {
    return this.world.run(this.core.messenger.begin(call as Call<unknown>, options)) // as above
  }

  /** Calls and drives time until the answer is here. */
  call<T>(call: PromiseLike<T>): Promise<T> {
    return this.world.run(call)
  }

  seen<K extends RuntimeEvent['kind']>(kind: K): Extract<RuntimeEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<RuntimeEvent, { kind: K }> => event.kind === kind)
  }

  /** Committed state from the store, as a new owner would load it. */
  async stored(id: string): Promise<unknown> {
    const record = await this.core.backend.handle.archive.process('default', id)
    if (record === null) return undefined
    const { fold } = await import('../../server/journal/fold.ts')
    return fold(await this.core.backend.handle.archive.stateRows(record.pid)).state
  }
}

/** A node's view of the common clock: after its death nothing it asked for happens. */
class NodeClock implements Clock {
  dead = false
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  after(ms: number, fn: () => void): ReturnType<Clock['after']> {
    return this.#clock.after(ms, () => this.#alive(fn))
  }

  microtask(fn: () => void): void {
    this.#clock.microtask(() => this.#alive(fn))
  }

  macrotask(fn: () => void): void {
    this.#clock.macrotask(() => this.#alive(fn))
  }

  #alive(fn: () => void): void {
    if (!this.dead) fn()
  }
}

function tree(agents: readonly AnyAgent[]): SupervisorDefinition {
  return supervisor('app', { strategy: 'one_for_one', children: agents.map((agent) => pool(agent)) })
}

/** What happened in the outside world, by name: effects are counted here because state is what is under test. */
export class Oracle {
  readonly #counts = new Map<string, number>()
  readonly log: string[] = []

  hit(name: string): number {
    const n = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, n)
    this.log.push(name)
    return n
  }

  count(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  /** `oracle.expectStep('charge').once()` */
  expectStep(name: string): { once(): void; times(n: number): void } {
    const times = (n: number): void => {
      expect(this.count(name), `runs of ${name}`).toBe(n)
    }
    return { once: () => times(1), times }
  }
}

/** A gate that code under test waits at. */
export function gate(): { readonly promise: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { promise, open: resolve }
}
