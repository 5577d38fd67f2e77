/**
 * From definitions to the kernel's specifications: the running tree of supervisors, pools and static agents.
 *
 * - Every agent of the tree that is not only a static child has a pool: keys are started there on first message.
 * - An agent that is used but has no pool of its own gets one below the root, so that whatever can be addressed is
 *   supervised.
 */
import { RuntimeError } from '../../shared/error.ts'
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
import { supervisorProcess } from '../kernel/supervisor.ts'

export type TreePorts = { kernel: Kernel; behaviour(agent: AnyAgent): Behaviour }

export class Tree {
  readonly #ports: TreePorts
  readonly #agents = new Map<string, AnyAgent>()
  /** Pool process per agent name. */
  readonly #pools = new Map<string, ProcessId>()
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
    if (root !== null) {
      for (const agent of agentsOf(root).values()) this.add(agent)
      this.root = kernel.spawn({ ...this.#spec(root), parent: null })
      await kernel.started(this.root)
    }
    for (const agent of this.#agents.values()) this.#ensurePool(agent)
  }

  #ensurePool(agent: AnyAgent): void {
    if (this.#pools.has(agent.name)) return
    const spec = this.#poolSpec({ agent, maxChildren: Number.POSITIVE_INFINITY, intensity: 3, periodMs: 5_000 })
    this.#ports.kernel.spawn({ ...spec, parent: null })
  }

  /** The process of a key: found, or started in its pool. Null when the agent is not known here.
   *  @throws CHILDREN_MAX RESTART_LIMIT CHILD_START_FAILED PROCESS_NOT_FOUND */
  ensure(id: ProcessId, agent: string, key: string): Process | null {
    const { kernel } = this.#ports
    const found = kernel.find(id)
    if (found !== undefined) return found
    const definition = this.#agents.get(agent)
    if (definition === undefined) return null
    const poolId = this.#pools.get(agent)
    const pool = poolId === undefined ? null : poolOf(kernel.find(poolId) ?? notThere(poolId))
    return pool === null ? null : pool.ensure(key)
  }

  poolOf(agent: string): Process | null {
    const id = this.#pools.get(agent)
    return id === undefined ? null : (this.#ports.kernel.find(id) ?? null)
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
      children: definition.children.map((child) => this.#child(child)),
    })
  }

  #child(child: ChildDefinition): ChildInput {
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
