/**
 * Supervision trees as data: `supervisor(...)`, `pool(...)` and the children they may hold.
 *
 * Semantics of every word are OTP's (docs/otp.md); what is checked here is what OTP checks when it starts a supervisor.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertAgentName } from '../../shared/id.ts'
import { type AgentChild, type AnyAgent, type ChildOptions, isAgent } from './agent.ts'

export const SUPERVISOR: unique symbol = Symbol.for('vivarium.supervisor')

export type Strategy = 'one_for_one' | 'one_for_all' | 'rest_for_one'

export type SupervisorOptions = {
  strategy: Strategy
  /** Restarts allowed inside `periodMs`; one more and the supervisor gives up. Default 3. */
  intensity?: number
  /** Milliseconds, default 5_000; the window is inclusive. */
  periodMs?: number
  /** Ends the supervisor when significant children end. Default never. */
  autoShutdown?: 'never' | 'any_significant' | 'all_significant'
  children: readonly ChildDefinition[]
} & ChildOptions

export type PoolOptions = {
  /** Processes in memory at once, default no limit. */
  maxChildren?: number
  /** Default 3. */
  intensity?: number
  /** Milliseconds, default 5_000. */
  periodMs?: number
} & ChildOptions

export type SupervisorDefinition = {
  readonly [SUPERVISOR]: true
  readonly kind: 'supervisor'
  readonly name: string
  readonly strategy: Strategy
  readonly intensity: number
  readonly periodMs: number
  readonly autoShutdown: 'never' | 'any_significant' | 'all_significant'
  readonly children: readonly ChildDefinition[]
} & ChildOptions

export type PoolDefinition = {
  readonly [SUPERVISOR]: true
  readonly kind: 'pool'
  readonly name: string
  readonly agent: AnyAgent
  readonly maxChildren: number
  readonly intensity: number
  readonly periodMs: number
} & ChildOptions

export type ChildDefinition = AgentChild | SupervisorDefinition | PoolDefinition

export const INTENSITY = 3
export const PERIOD_MS = 5_000

/** @throws ID_INVALID  the name  @throws CHILD_SPEC_INVALID  something among the children is no child; flags and the
 *  rest of what OTP's supervisor:check_childspecs refuses are refused by createRuntime, before anything runs */
export function supervisor(name: string, options: SupervisorOptions): SupervisorDefinition {
  assertAgentName(name)
  const { strategy, children, autoShutdown, intensity, periodMs, ...rest } = options
  assertChildren(name, children)
  return Object.freeze({
    [SUPERVISOR]: true as const,
    kind: 'supervisor' as const,
    name,
    strategy,
    intensity: intensity ?? INTENSITY,
    periodMs: periodMs ?? PERIOD_MS,
    autoShutdown: autoShutdown ?? 'never',
    children: Object.freeze([...children]),
    ...rest,
  })
}

/** Callers without types: what is not even a child is refused where it is written down. */
function assertChildren(name: string, children: unknown): void {
  if (!Array.isArray(children)) throw invalid('invalid_child_spec', `Children of "${name}" must be a list.`)
  for (const child of children as unknown[]) {
    if (isSupervisor(child)) continue
    const isChild = typeof child === 'object' && child !== null && Reflect.get(child, 'kind') === 'agent'
    if (!isChild) {
      const hint = isAgent(child)
        ? `use ${child.name}.spec({ key }) or pool(${child.name})`
        : 'use agent.spec(...), pool(...) or supervisor(...)'
      throw invalid('invalid_child_spec', `A child of "${name}" is none: ${hint}.`)
    }
    if (!isAgent(Reflect.get(child, 'agent')))
      throw invalid('missing_start', `A child of "${name}" has no agent to start.`)
    if (typeof Reflect.get(child, 'key') !== 'string') throw invalid('missing_id', `A child of "${name}" has no key.`)
  }
}

function invalid(reason: string, text: string): RuntimeError {
  return new RuntimeError('CHILD_SPEC_INVALID', text, { detail: { reason } })
}

/** A dynamic set of processes of one agent, by key; started by the first message to a key. Children are transient
 *  by default. */
export function pool(agent: AnyAgent, options: PoolOptions = {}): PoolDefinition {
  const { maxChildren, intensity, periodMs, ...rest } = options
  return Object.freeze({
    [SUPERVISOR]: true as const,
    kind: 'pool' as const,
    name: agent.name,
    agent,
    maxChildren: maxChildren ?? Number.POSITIVE_INFINITY,
    intensity: intensity ?? INTENSITY,
    periodMs: periodMs ?? PERIOD_MS,
    ...rest,
  })
}

export function isSupervisor(value: unknown): value is SupervisorDefinition | PoolDefinition {
  return typeof value === 'object' && value !== null && Reflect.get(value, SUPERVISOR) === true
}

/** Every agent definition of a tree, once. @throws DEFINITION_INVALID when two different agents share a name */
export function agentsOf(root: ChildDefinition): Map<string, AnyAgent> {
  const found = new Map<string, AnyAgent>()
  const add = (agent: AnyAgent): void => {
    const other = found.get(agent.name)
    if (other !== undefined && other !== agent) {
      throw new RuntimeError('DEFINITION_INVALID', `Two different agents of the tree are named "${agent.name}".`)
    }
    found.set(agent.name, agent)
  }
  const visit = (child: ChildDefinition): void => {
    if (child.kind === 'supervisor') child.children.forEach(visit)
    else add(child.agent)
  }
  visit(root)
  return found
}
