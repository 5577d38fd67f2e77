/**
 * The composition root: what is started in which order, and stopped in reverse.
 *
 *   backend (database) -> node (lease, session) -> kernel + durable layer -> recovery of what waits -> tree -> surfaces
 *
 * - Two runtimes in one OS process share nothing but the process itself.
 * - A node that lost its epoch writes nothing more: its processes end as fenced, and the runtime joins again as a new
 *   node (PROTOCOL F2).
 * - Drain: nothing new is accepted, turns finish or are parked (their journal goes on elsewhere), claims are released.
 */
import { RuntimeError } from '../shared/error.ts'
import type { ProcessId } from '../shared/id.ts'
import { realClock } from './clock.ts'
import { hostIdentity } from './cluster/host-identity.ts'
import { LEASE_MS, Membership } from './cluster/membership.ts'
import { Recovery } from './cluster/recovery.ts'
import { computePlan } from './compute/option.ts'
import { ComputePool } from './compute/pool.ts'
import { readConfig } from './config.ts'
import { type CrashPoints, NO_CRASH } from './crash-point.ts'
import type { AnyAgent } from './definition/agent.ts'
import { makeRef, type Ref } from './definition/ref.ts'
import { agentEntry } from './host/agent-code.ts'
import type { Backend } from './host/backend.ts'
import { complaint } from './host/complaint.ts'
import { Drain } from './host/drain.ts'
import { EphemeralContext, type EphemeralPorts } from './host/ephemeral-context.ts'
import { BLACK_BOX_EVENTS, eventLine } from './host/event-line.ts'
import { LostHints } from './host/lost-hint.ts'
import { Messenger } from './host/messenger.ts'
import { DRAIN_MS, type RuntimeOptions } from './host/options.ts'
import { watchErrors } from './host/owner.ts'
import { Passivator } from './host/passivator.ts'
import { countProcesses } from './host/process-count.ts'
import { QueryReader } from './host/query-reader.ts'
import { RequestWaits } from './host/request-wait.ts'
import { rethrow } from './host/store-border.ts'
import { streamHubOf } from './host/stream-hub.ts'
import type { Watching } from './host/thread-watch.ts'
import { Tree } from './host/tree.ts'
import { recordOf } from './journal/durable.ts'
import { DurableLayer } from './journal/layer.ts'
import type { LayerPorts } from './journal/layer-port.ts'
import type { AgentEntry } from './journal/port.ts'
import type { Behaviour } from './kernel/behaviour.ts'
import type { Clock, Random } from './kernel/clock-port.ts'
import { NO_LINEAGE } from './kernel/envelope.ts'
import { EphemeralBehaviour } from './kernel/ephemeral.ts'
import { Kernel } from './kernel/kernel.ts'
import { ExitUnwind } from './kernel/outcome.ts'
import { poolOf } from './kernel/pool.ts'
import type { Process } from './kernel/process.ts'
import { renew } from './kernel/renewal.ts'
import { Bus } from './observe/bus.ts'
import { type Exporting, startExport } from './observe/export.ts'
import { LogRecords } from './observe/log-record.ts'
import { Metrics } from './observe/metrics.ts'
import { Ring } from './observe/ring.ts'
import { Telemetry } from './observe/telemetry.ts'
import { realRandom } from './random.ts'
import type { NodeIdentity } from './store/store.ts'

/** Ms between measurements of the store's clock. */
const CLOCK_OFFSET_MS = 30_000
/** Ms at the end to send what telemetry is left: with the drain before it still within the ten seconds of a SIGTERM. */
const EXPORT_MS = 1_500

export class RuntimeCore {
  readonly bus: Bus
  readonly ring: Ring
  readonly kernel: Kernel
  readonly layer: DurableLayer
  readonly tree: Tree
  readonly backend: Backend
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry<Process>
  readonly metrics: Metrics
  readonly namespace: string
  readonly queries: QueryReader
  readonly waits: RequestWaits
  readonly streams = streamHubOf(this)
  readonly messenger: Messenger
  readonly compute: ComputePool
  readonly startedAt: number
  state: 'starting' | 'running' | 'draining' | 'stopped' = 'starting'
  watch: Watching | null = null
  #node: NodeIdentity
  #clockOffset = 0
  readonly #options: RuntimeOptions
  readonly #entries = new Map<string, AgentEntry>()
  readonly #ephemeral = new Map<string, EphemeralBehaviour>()
  membership: Membership
  recovery: Recovery
  readonly #passivator: Passivator
  readonly #hints: LostHints
  /** Started for rows that wait, not for whoever asked here. */
  readonly #begunForRows = new WeakSet<Process>()
  #unwatch: (() => void) | null = null
  #exporting: Exporting | null = null
  readonly #logRecords: LogRecords
  #ids = 0
  #idPrefix = ''

  constructor(options: RuntimeOptions, backend: Backend, node: NodeIdentity) {
    this.#options = options
    this.backend = backend
    this.#node = node
    this.clock = options.clock ?? realClock()
    this.namespace = node.namespace
    this.startedAt = this.clock.now()
    this.bus = new Bus(() => this.clock.now())
    this.ring = new Ring(this.bus)
    this.telemetry =
      options.telemetry ?? new Telemetry<Process>({ bus: this.bus, isExit: (thrown) => thrown instanceof ExitUnwind })
    this.#logRecords = new LogRecords(this.bus)
    this.metrics = new Metrics({
      bus: this.bus,
      scan: (visit) => countProcesses(this.kernel, visit),
      ...{ droppedEvents: () => this.bus.stats.dropped, tasks: () => this.compute.stats },
    })
    this.random = options.random ?? realRandom()
    const { random } = this
    const { emit, watching } = this.bus
    this.kernel = new Kernel({
      ...{ clock: this.clock, random, emit, watching },
      around: (process, envelope, fn) => this.telemetry.around(process, envelope, fn),
      tracing: () => this.telemetry.enabled,
      missing: (id, envelope) => this.messenger.missing(id, envelope),
      treeChanged: (process, change) => this.layer.book.changed(process, change),
      treeHistory: (process) => this.layer.book.history(process),
    })
    const crash = options.crash ?? NO_CRASH
    const { store } = backend.handle
    this.waits = new RequestWaits({ store, clock: this.clock, kernel: this.kernel, node: () => this.#node })
    this.compute = new ComputePool(computePlan(options.compute), this.clock, (what, error) =>
      this.complain(what, error),
    )
    this.layer = new DurableLayer(this.#layerPorts(random, crash))
    this.tree = new Tree({
      kernel: this.kernel,
      behaviour: (agent) => this.#behaviour(agent),
      open: (places) => this.layer.book.open(places),
      stopped: (id) => this.layer.book.stopped(id),
      failed: (what, error) => this.complain(what, error),
    })
    this.queries = new QueryReader({
      kernel: this.kernel,
      layer: this.layer,
      archive: backend.handle.archive,
      namespace: this.namespace,
      agent: (name) => this.#entries.get(name) ?? null,
      ephemeral: (name) => this.#ephemeral.get(name) ?? null,
    })
    this.messenger = new Messenger({
      kernel: this.kernel,
      layer: this.layer,
      tree: this.tree,
      store,
      queries: this.queries,
      waits: this.waits,
      node: () => this.#node,
      rejoin: () => this.rejoin(),
      entry: (name) => this.entry(name),
      inside: () => this.telemetry.currentProcess() !== null,
      assertAccepting: () => this.assertAccepting(),
      storeNow: () => this.storeNow(),
      newId: () => this.newId(),
      produce: (target, op) => this.telemetry.produce(target, op),
      complain: (what, error) => this.complain(what, error),
    })
    this.#passivator = new Passivator({
      kernel: this.kernel,
      clock: this.clock,
      layer: this.layer,
      limitMs: (agent) => this.tree.agent(agent)?.passivateAfterMs ?? null,
    })
    this.#hints = this.#newHints()
    this.membership = this.#newMembership()
    this.recovery = this.#newRecovery()
    this.#setIdPrefix()
  }

  #layerPorts(random: Random, crash: CrashPoints): LayerPorts {
    const { emit, watching } = this.bus
    return {
      ...{ namespace: this.namespace, store: this.backend.handle.store },
      ...{ kernel: this.kernel, clock: this.clock, random, emit, crash, watching },
      tracing: this.telemetry,
      codeVersion: this.#options.codeVersion ?? 'dev',
      node: () => this.#node,
      clockOffset: () => this.#clockOffset,
      leaseHeld: () => this.membership.held(),
      agent: (name) => this.#entries.get(name) ?? null,
      start: (id, agent, key) => this.#startProcess(id, agent, key),
      isHinted: (process) => this.#begunForRows.has(process),
      agents: () => this.tree.agents(),
      childSpec: (agent, key) => this.tree.childSpec(agent, key),
      callInMemory: (from, call, timeoutMs, chain) =>
        this.kernel.call(from, call.target, call.op, call.message, { timeoutMs, lineage: { ...NO_LINEAGE, chain } }),
      begin: async (call, options, lineage) => (await this.messenger.beginInside(call, options, lineage)).created,
      started: (id, key, signal) => this.waits.result(id, key, signal),
      endStarted: (id, key, by) => this.messenger.endStarted(id, key, by),
      query: (id, op, args) => this.queries.query(id, op, args),
      whereis: (name) => this.messenger.whereis(name),
      draining: () => this.state === 'draining',
      newId: () => this.newId(),
      stopped: () => this.state === 'stopped',
      nodeFenced: () => void this.rejoin(),
      mayHaveLost: () => this.#hints.look(),
      hintNode: (id, target) => this.backend.hint(id, target),
      ownerOf: async (id) => (await this.backend.handle.archive.process(this.namespace, id))?.owner ?? null,
      lastEvents: (id) => this.ring.recent(BLACK_BOX_EVENTS, id).map(eventLine),
      ...{ streams: this.streams.writer, compute: this.compute },
      requestsStored: (results) => this.waits.stored(results),
      answered: (call) => this.waits.answered(call),
      failed: (what, error) => this.complain(what, error),
    }
  }

  /** For rows that wait, spawned processes and recovery. */
  #startProcess(id: ProcessId, agent: string, key: string): Process | null {
    if (this.state === 'draining' || this.tree.stopper(id) !== null) return null
    const known = this.kernel.find(id)
    const process = this.tree.ensure(id, agent, key, { spawned: true })
    if (process === null) this.tree.adopt(id)
    else if (process !== known) this.#begunForRows.add(process)
    return process
  }

  get node(): NodeIdentity {
    return this.#node
  }

  get clockOffset(): number {
    return this.#clockOffset
  }

  // Start

  async start(): Promise<void> {
    const { root = null, agents = [], exportTelemetry = false } = this.#options
    this.#exporting = exportTelemetry ? await startExport(readConfig().otel) : null
    this.metrics.attach()
    for (const agent of agents) this.#know(agent)
    await this.#measureClock()
    await this.backend.join(this.#node, (targets) => this.#hinted(targets))
    this.bus.emit({ kind: 'node:join', at: this.clock.now(), node: this.#node.name, epoch: this.#node.epoch })
    this.membership.start()
    this.#unwatch = watchErrors({ claim: (error) => this.#claimError(error) })
    // Dead nodes first: their static children must be claimable when the tree starts.
    await this.membership.buryTheDead(this.clock.now() + this.#clockOffset)
    await this.tree.start(root)
    for (const agent of this.tree.agents()) this.#know(agent)
    this.state = 'running'
    await this.recovery.start()
    this.layer.timers.start()
    this.#passivator.start()
    this.layer.startChores()
    this.#hints.start()
    this.bus.emit({ kind: 'runtime:start', at: this.clock.now(), durationMs: this.clock.now() - this.startedAt })
  }

  #know(agent: AnyAgent): void {
    this.tree.add(agent)
    if (!this.#entries.has(agent.name)) this.#entries.set(agent.name, agentEntry(agent))
  }

  #behaviour(agent: AnyAgent): Behaviour {
    this.#know(agent)
    const entry = this.entry(agent.name)
    if (agent.durable) return this.layer.behaviour(entry)
    let behaviour = this.#ephemeral.get(agent.name)
    if (behaviour === undefined) {
      behaviour = new EphemeralBehaviour(entry.code, (process) => this.#ephemeralContext(process))
      this.#ephemeral.set(agent.name, behaviour)
    }
    return behaviour
  }

  #ephemeralPorts: EphemeralPorts | null = null

  #ephemeralContext(process: Process): EphemeralContext {
    this.#ephemeralPorts ??= {
      ...this.layer.ports,
      call: (from, call, options) => this.messenger.route(from, call, options).catch(rethrow),
      send: (from, call, lineage) => this.messenger.sendFrom(from, call, lineage),
    }
    return new EphemeralContext(this.#ephemeralPorts, process)
  }

  // Agents and messages

  entry(name: string): AgentEntry {
    const entry = this.#entries.get(name)
    if (entry !== undefined) return entry
    const known = [...this.#entries.keys()].join(', ')
    throw new RuntimeError('PROCESS_NOT_FOUND', `No agent "${name}" is part of this runtime. It has: ${known}.`)
  }

  ref<D extends AnyAgent>(definition: D, key: string): Ref<D> {
    return makeRef(definition, key, this.messenger)
  }

  assertAccepting(): void {
    if (this.state === 'running' || this.state === 'starting') return
    const code = this.state === 'draining' ? 'NODE_DRAINING' : 'RUNTIME_STOPPED'
    throw new RuntimeError(code, `Node ${this.#node.name} is ${this.state}; it accepts nothing new.`)
  }

  storeNow(): number {
    return Math.floor(this.clock.now() + this.#clockOffset)
  }

  newId(): string {
    return this.#idPrefix + (++this.#ids).toString(36).padStart(6, '0')
  }

  /** Ids sort by the start of the node, then by count; the epoch makes them unique. */
  #setIdPrefix(): void {
    this.#idPrefix = `${Math.floor(this.clock.now() / 1_000).toString(36)}${this.#node.epoch.toString(36)}-`
  }

  // Cluster

  #newHints(): LostHints {
    const { kernel, layer, backend, clock, namespace } = this
    const { archive } = backend.handle
    const failed = (what: string, error: unknown): void => this.complain(what, error)
    this.bus.listen(['store:up'], () => this.#hints.look(), 'search for lost hints')
    return new LostHints({ kernel, layer, archive, clock, namespace, failed })
  }

  #newMembership(): Membership {
    return new Membership({
      store: this.backend.handle.store,
      clock: this.clock,
      emit: this.bus.emit,
      node: () => this.#node,
      self: hostIdentity(),
      sessionGone: (row) => this.backend.sessionGone(row),
      lost: () => void this.rejoin(),
      nodesChanged: () => this.#hints.look(),
      failed: (what, error) => this.complain(what, error),
    })
  }

  #newRecovery(): Recovery {
    return new Recovery({
      store: this.backend.handle.store,
      clock: this.clock,
      emit: this.bus.emit,
      node: () => this.#node,
      clockOffset: () => this.#clockOffset,
      membership: this.membership,
      start: ({ id, agent }) => this.layer.recover(id, agent),
      failed: (what, error) => this.complain(what, error),
    })
  }

  #hinted(targets: readonly string[]): void {
    for (const target of targets) {
      if (target.startsWith('node/'))
        this.layer.takeReplies().catch((error: unknown) => this.complain('taking replies', error))
      else this.layer.reread(target)
    }
  }

  #rejoining: Promise<void> | null = null

  /** The epoch is over: what runs here is void; the node joins anew. */
  rejoin(): Promise<void> {
    this.#rejoining ??= this.#joinAgain().finally(() => {
      this.#rejoining = null
    })
    return this.#rejoining
  }

  async #joinAgain(): Promise<void> {
    // Late refusals of an earlier epoch come when the next one has begun. What cannot be asked counts as over.
    const alive = await this.backend.handle.store.epochAlive(this.#node).catch(() => false)
    if (alive || this.state !== 'running') return
    this.layer.book.fence()
    const supervised: Process[] = []
    for (const process of [...this.kernel.all()]) {
      const record = recordOf(process)
      if (record === null) continue
      if (process.parent !== null && poolOf(process.parent) === null) supervised.push(process)
      this.layer.fence(record)
    }
    try {
      this.#node = await this.backend.handle.store.registerNode(this.namespace, this.#nodeStart())
      this.#setIdPrefix()
      await this.backend.join(this.#node, (targets) => this.#hinted(targets))
      this.bus.emit({ kind: 'node:join', at: this.clock.now(), node: this.#node.name, epoch: this.#node.epoch })
    } catch (error) {
      this.complain('joining again after the lease was lost', error)
    }
    this.membership.close()
    this.membership = this.#newMembership()
    this.membership.start()
    // Members of pools come back with their messages; nobody but their supervisor starts a static child.
    for (const process of supervised) {
      renew(this.kernel, process).catch((error: unknown) => this.complain(`starting ${process.id} again`, error))
    }
  }

  #nodeStart(): Parameters<Backend['handle']['store']['registerNode']>[1] {
    const { name } = this.#node
    const capabilities = Object.fromEntries([...this.tree.agents()].map((agent) => [agent.name, agent.version]))
    return { name, ...hostIdentity(), capabilities, leaseMs: LEASE_MS }
  }

  async #measureClock(): Promise<void> {
    try {
      this.#clockOffset = await this.backend.handle.store.clockOffset()
    } catch (error) {
      this.complain('measuring the clock of the store', error)
    }
    if (this.state !== 'stopped') this.clock.after(CLOCK_OFFSET_MS, () => void this.#measureClock()).keepAlive(false)
  }

  // Errors nobody caught

  #claimError(error: unknown): boolean {
    const process = this.telemetry.currentProcess()
    if (process === null || this.kernel.find(process.id) !== process) return false
    this.kernel.crashProcess(process, error)
    return true
  }

  complain(what: string, error: unknown): void {
    this.bus.emit(complaint(this.clock.now(), what, error))
  }

  // End

  /** Stops accepting, lets turns finish or parks them, releases everything. Safe to call twice. */
  async stop(reason = 'stop'): Promise<void> {
    if (this.state === 'stopped' || this.state === 'draining') return
    this.state = 'draining'
    this.bus.emit({ kind: 'runtime:drain', at: this.clock.now(), reason })
    this.layer.timers.close()
    this.recovery.close()
    this.#passivator.close()
    this.#hints.close()
    const drain = new Drain(this, this.#options.drainMs ?? DRAIN_MS)
    await drain.turns()
    for (const process of [...this.kernel.all()]) if (process.parent === null) await drain.root(process)
    await drain.bounded(this.compute.close())
    await drain.bounded(this.layer.committer.idle())
    this.#options.crash?.hit('shutdown:drained')
    this.membership.close()
    this.layer.close()
    this.streams.close()
    this.#unwatch?.()
    await drain
      .bounded(this.backend.handle.store.leave(this.#node))
      .catch((error: unknown) => this.complain('leaving', error))
    this.state = 'stopped'
    this.waits.close()
    this.bus.emit({ kind: 'runtime:stop', at: this.clock.now() })
    this.kernel.close()
    this.ring.close()
    this.telemetry.close()
    await this.backend.close()
    // Last, so that what ended above is exported as well. A backend of telemetry that is away spoils no clean end.
    if (this.#exporting !== null) {
      const sent = drain.bounded(this.#exporting.shutdown(), EXPORT_MS)
      await sent.catch((error: unknown) => this.complain('exporting', error))
    }
    this.#logRecords.close()
    this.metrics.close()
  }
}
