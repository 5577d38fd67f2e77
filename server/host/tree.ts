/**
 * From definitions to the kernel's specifications: the running tree of supervisors, pools and static agents.
 *
 * - Keys of an agent with a pool are started there by their first message. An agent with static children only has no
 *   other keys; an agent that is known but not in the tree gets a pool beside it.
 * - A static child that another node owns is not stolen (PROTOCOL F4): its supervisor keeps the place, messages go
 *   through the store, and when nobody owns it any more its supervisor starts it here.
 */
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processId } from '../../shared/id.ts'
import type { AnyAgent } from '../definition/agent.ts'
import {
  agentsOf,
  type ChildDefinition,
  type PoolDefinition,
  type SupervisorDefinition,
} from '../definition/supervisor.ts'
import type { Behaviour } from '../kernel/behaviour.ts'
import type { ChildInput } from '../kernel/child.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { poolOf, poolProcess } from '../kernel/pool.ts'
import type { Process, ProcessSpec } from '../kernel/process.ts'
import { placeDown } from '../kernel/shutdown.ts'
import { supervisorOf } from '../kernel/supervisor.ts'
import { supervisorProcess } from '../kernel/supervisor-process.ts'

type TreePorts = {
  kernel: Kernel
  behaviour(agent: AnyAgent): Behaviour
  /** Finds what is stored of supervisors and pools, before they start. */
  open(places: readonly { id: ProcessId; parent: ProcessId | null }[]): Promise<void>
  /** Whether an operator stopped it in an earlier life of the node. */
  stopped(id: ProcessId): boolean
  failed(what: string, error: unknown): void
}

/** Checks a tree before anything runs. @throws CHILD_SPEC_INVALID DEFINITION_INVALID */
export function checkTree(root: SupervisorDefinition | PoolDefinition): void {
  const inert: Behaviour = { durable: false, init() {}, turn() {} }
  const kernel = {} as Kernel // specifications only hold on to it; nothing is started
  new Tree({ kernel, behaviour: () => inert, open: async () => {}, stopped: () => false, failed() {} }).check(root)
}

type Place = { id: ProcessId; parent: ProcessId | null }

export class Tree {
  readonly #ports: TreePorts
  readonly #agents = new Map<string, AnyAgent>()
  /** Pool process per agent name. */
  readonly #pools = new Map<string, ProcessId>()
  /** Supervisor per static child. */
  readonly #static = new Map<ProcessId, ProcessId>()
  /** What is above supervisors and pools. */
  readonly #above = new Map<ProcessId, ProcessId | null>()
  readonly #inTree = new Set<string>()
  root: Process | null = null

  constructor(ports: TreePorts) {
    this.#ports = ports
  }

  agent(name: string): AnyAgent | null {
    return this.#agents.get(name) ?? null
  }

  agents(): IterableIterator<AnyAgent> {
    return this.#agents.values()
  }

  /** Makes the agent known. @throws DEFINITION_INVALID when another one has its name */
  add(agent: AnyAgent): void {
    const other = this.#agents.get(agent.name)
    if (other !== undefined && other !== agent) {
      throw new RuntimeError('DEFINITION_INVALID', `Two different agents are named "${agent.name}".`)
    }
    this.#agents.set(agent.name, agent)
  }

  /** Starts the tree and one pool for each agent that has none. Resolves when all children are up. */
  async start(root: SupervisorDefinition | PoolDefinition | null): Promise<void> {
    const { kernel } = this.#ports
    if (root !== null) for (const agent of agentsOf(root).values()) this.add(agent)
    const spec = root === null ? null : this.#spec(root)
    await this.#ports.open([...this.#placesOf(root, null), ...this.#placesBeside()])
    if (spec !== null) {
      this.root = this.#top(spec)
      if (this.root.alive) await kernel.started(this.root)
    }
    for (const agent of this.#agents.values()) if (!this.#inTree.has(agent.name)) this.#ensurePool(agent)
  }

  *#placesOf(definition: ChildDefinition | null, parent: ProcessId | null): Iterable<Place> {
    if (definition === null || definition.kind === 'agent') return
    const id = processId(definition.kind, definition.name)
    this.#above.set(id, parent)
    yield { id, parent }
    if (definition.kind === 'supervisor') for (const child of definition.children) yield* this.#placesOf(child, id)
  }

  /** Pools beside the tree. */
  *#placesBeside(): Iterable<Place> {
    for (const { name } of this.#agents.values()) {
      if (!this.#inTree.has(name) && !this.#pools.has(name)) yield { id: processId('pool', name), parent: null }
    }
  }

  #ensurePool(agent: AnyAgent): void {
    if (this.#pools.has(agent.name)) return
    const spec = this.#poolSpec({ agent, maxChildren: Number.POSITIVE_INFINITY, intensity: 3, periodMs: 5_000 })
    this.#top(spec)
  }

  /** F7: what an operator stopped is there, but down. */
  #top(spec: ProcessSpec): Process {
    const { kernel, stopped } = this.#ports
    const top = { ...spec, parent: null }
    return stopped(spec.id) ? placeDown(kernel, top) : kernel.spawn(top)
  }

  /** The process whose stop by an operator keeps this one down: itself, or what is above it. Null when none does. */
  stopper(id: ProcessId): ProcessId | null {
    const { kernel } = this.#ports
    const first = kernel.find(id)?.parent?.id ?? this.#static.get(id) ?? this.#above.get(id)
    const above = first ?? this.#pools.get(id.slice(0, id.indexOf('/'))) ?? null
    for (let at: ProcessId | null = id; at !== null; at = at === id ? above : (this.#above.get(at) ?? null)) {
      if (kernel.find(at)?.ties?.retired === true || (at === id && this.isTerminated(id))) return at
    }
    return null
  }

  /** Whether the id is a static child of the tree, wherever it runs. */
  isStatic(id: ProcessId): boolean {
    return this.#static.has(id)
  }

  /** Whether the id is a static child that a verb took down. */
  isTerminated(id: ProcessId): boolean {
    const supervisorId = this.#static.get(id)
    const process = supervisorId === undefined ? undefined : this.#ports.kernel.find(supervisorId)
    return process !== undefined && supervisorOf(process)?.isTerminated(id) === true
  }

  /** How to run an agent's process; null for an agent this tree does not know. */
  childSpec(agent: string, key: string): ProcessSpec | null {
    const definition = this.#agents.get(agent)
    return definition === undefined ? null : this.#agentSpec(definition, key)
  }

  /** Asks the supervisor of a static child to start it, should nobody own it any more. */
  adopt(id: ProcessId): void {
    const supervisorId = this.#static.get(id)
    const process = supervisorId === undefined ? undefined : this.#ports.kernel.find(supervisorId)
    const supervisor = process === undefined ? null : supervisorOf(process)
    if (supervisor?.isTerminated(id) === true) return
    supervisor?.restartChild(id).catch((error: unknown) => {
      // Running or being restarted already: that is what was wanted.
      if (isRuntimeError(error, 'CHILD_RUNNING') || isRuntimeError(error, 'CHILD_RESTARTING')) return
      this.#ports.failed(`adopting ${id}`, error)
    })
  }

  /** The process of a key: found, or started in its pool. Null when the agent has no such key here, and for a static
   *  child that is not here. With `spawned`, an agent without a pool gets one beside the tree.
   *  @throws CHILDREN_MAX RESTART_LIMIT CHILD_START_FAILED PROCESS_NOT_FOUND */
  ensure(id: ProcessId, agent: string, key: string, options: { spawned?: boolean } = {}): Process | null {
    const { kernel } = this.#ports
    const found = kernel.find(id)
    if (found !== undefined && (found.alive || !found.elsewhere)) return found
    const definition = this.#agents.get(agent)
    if (definition === undefined || this.#static.has(id)) return null
    if (options.spawned === true) this.#ensurePool(definition)
    const poolId = this.#pools.get(agent)
    const pool = poolId === undefined ? null : poolOf(kernel.find(poolId) ?? notThere(poolId))
    return pool === null ? null : pool.ensure(key)
  }

  poolOf(agent: string): Process | null {
    const id = this.#pools.get(agent)
    return id === undefined ? null : (this.#ports.kernel.find(id) ?? null)
  }

  /** @throws CHILD_SPEC_INVALID DEFINITION_INVALID */
  check(root: SupervisorDefinition | PoolDefinition): void {
    for (const agent of agentsOf(root).values()) this.add(agent)
    this.#spec(root)
  }

  #spec(definition: SupervisorDefinition | PoolDefinition): ProcessSpec {
    if (definition.kind === 'pool') return this.#poolSpec(definition)
    const { name, strategy, intensity, periodMs, autoShutdown } = definition
    return supervisorProcess(this.#ports.kernel, {
      id: processId('supervisor', name),
      key: name,
      strategy,
      intensity,
      periodMs,
      autoShutdown,
      children: definition.children.map((child) => this.#child(child, processId('supervisor', name))),
    })
  }

  #child(child: ChildDefinition, supervisor: ProcessId): ChildInput {
    const { restart, shutdown, significant } = child
    const options = {
      ...(restart === undefined ? {} : { restart }),
      ...(shutdown === undefined ? {} : { shutdown: shutdown === 'brutal_kill' ? ('kill' as const) : shutdown }),
      ...(significant === undefined ? {} : { significant }),
    }
    if (child.kind !== 'agent') {
      const process = this.#spec(child)
      // A pool's own restart type and shutdown are those of its members.
      return child.kind === 'pool' ? { id: process.id, process } : { id: process.id, process, ...options }
    }
    const id = processId(child.agent.name, child.key)
    this.#static.set(id, supervisor)
    this.#inTree.add(child.agent.name)
    return { id, process: this.#agentSpec(child.agent, child.key), ...options }
  }

  #agentSpec(agent: AnyAgent, key: string): ProcessSpec {
    const { name, mailboxLimit } = agent
    const id = processId(name, key)
    return { id, key, agent: name, kind: 'agent', behaviour: this.#ports.behaviour(agent), mailboxLimit }
  }

  #poolSpec(
    pool: Pick<PoolDefinition, 'agent' | 'maxChildren' | 'intensity' | 'periodMs'> & Partial<PoolDefinition>,
  ): ProcessSpec {
    const { agent, maxChildren, intensity, periodMs, restart, shutdown } = pool
    const id = processId('pool', agent.name)
    this.#pools.set(agent.name, id)
    return poolProcess(this.#ports.kernel, {
      id,
      key: agent.name,
      agent: agent.name,
      behaviour: this.#ports.behaviour(agent),
      maxChildren,
      intensity,
      periodMs,
      mailboxLimit: agent.mailboxLimit,
      ...(restart === undefined ? {} : { restart }),
      ...(shutdown === undefined ? {} : { shutdown: shutdown === 'brutal_kill' ? ('kill' as const) : shutdown }),
    })
  }
}

function notThere(id: ProcessId): never {
  throw new RuntimeError('PROCESS_NOT_FOUND', `The pool ${id} is not up; its supervisor may be restarting it.`)
}

/** An operator's stop of the process, or of what is above it, keeps it down (F7). */
export function stoppedError(id: ProcessId, stopper: ProcessId = id): RuntimeError {
  const text =
    stopper === id
      ? `${id} was stopped by an operator. Restart it to use it again.`
      : `${id} is down: ${stopper} above it was stopped by an operator. Restart that first.`
  return new RuntimeError('PROCESS_EXITED', text, { detail: { id, stopped: stopper } })
}
