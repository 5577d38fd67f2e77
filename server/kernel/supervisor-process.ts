/**
 * A supervisor as a process: what is checked before it starts, and what its incarnations leave to each other.
 *
 * - S1: wrong flags and children are refused before anything starts.
 * - S52: an incarnation begins with the children of the definition. Only the first one of a node goes on from what is
 *   stored: the death of a node is no restart of its supervisors.
 */
import { type ChildSpec, childSpecs } from './child.ts'
import type { Envelope } from './envelope.ts'
import type { ExitReason } from './exit.ts'
import type { Kernel } from './kernel.ts'
import type { Behaviour, Process, ProcessSpec } from './process.ts'
import { Supervisor, supervisorOf } from './supervisor.ts'
import { assertFlags, INTENSITY, PERIOD_MS, refuseMessage, type SupervisorSpec } from './supervisor-spec.ts'

/** Checks flags and children before anything starts. @throws CHILD_SPEC_INVALID */
export function supervisorProcess(
  kernel: Kernel,
  input: Pick<SupervisorSpec, 'id' | 'strategy' | 'children'> & Partial<SupervisorSpec>,
): ProcessSpec {
  const spec: SupervisorSpec = {
    intensity: INTENSITY,
    periodMs: PERIOD_MS,
    autoShutdown: 'never',
    key: null,
    ...input,
  }
  assertFlags(spec)
  const children = childSpecs(spec.children, spec.autoShutdown)
  const behaviour = new SupervisorBehaviour(kernel, spec, children)
  return { id: spec.id, key: spec.key, agent: null, kind: 'supervisor', behaviour, hidden: spec.hidden ?? false }
}

class SupervisorBehaviour implements Behaviour {
  readonly durable = false
  readonly #kernel: Kernel
  readonly #spec: SupervisorSpec
  readonly #children: readonly ChildSpec[]

  constructor(kernel: Kernel, spec: SupervisorSpec, children: readonly ChildSpec[]) {
    this.#kernel = kernel
    this.#spec = spec
    this.#children = children
  }

  init(process: Process): Promise<void> {
    process.trapExit = true
    const before = supervisorOf(process)
    const history = this.#kernel.ports.treeHistory(process)
    const retired = before?.retired() ?? new Map()
    const init = { spec: this.#spec, children: this.#children, history, retired }
    const supervisor = new Supervisor(this.#kernel, process, init)
    process.supervisor = supervisor
    before?.pump() // what still waited in the loop of the earlier incarnation is cancelled
    // Children that were added at run time to an earlier incarnation do not come back; their rows must not stay.
    for (const child of before?.processes() ?? []) if (!supervisor.knows(child)) this.#kernel.lifecycle.forget(child)
    return supervisor.start()
  }

  exited(process: Process, reason: ExitReason): void {
    supervisorOf(process)?.changed('down', null, { reason })
  }

  turn(_process: Process, envelope: Envelope): void {
    refuseMessage(envelope)
  }

  terminate(process: Process): Promise<void> | void {
    return supervisorOf(process)?.terminate()
  }
}
