/**
 * Child specifications: what a supervisor starts, and how it judges the end of it. Meanings and defaults as in OTP.
 *
 * - S1: a specification that is wrong in any way OTP names is refused before anything starts, with the reason.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Timer } from './clock-port.ts'
import type { Process, ProcessSpec } from './process.ts'

export const RESTART_TYPES = ['permanent', 'transient', 'temporary'] as const
export type RestartType = (typeof RESTART_TYPES)[number]

/** Ms to end by itself before it is killed; `kill` at once; `infinity` for supervisors. */
export type Shutdown = number | 'kill' | 'infinity'

export type ChildType = 'worker' | 'supervisor'

export type ChildSpec = {
  /** Unique inside its supervisor. */
  id: string
  process: ProcessSpec
  restart: RestartType
  shutdown: Shutdown
  /** Its own end may end the supervisor (auto-shutdown). */
  significant: boolean
  type: ChildType
  /** Init that takes longer is killed and fails the start; null: no limit. */
  startTimeoutMs: number | null
}

/** What may be left out. */
export type ChildInput = Pick<ChildSpec, 'id' | 'process'> & Partial<ChildSpec>

export type AutoShutdown = 'never' | 'any_significant' | 'all_significant'

/** Ms, as OTP. */
export const SHUTDOWN_MS = 5_000

/** A specification and what became of it. */
export type Child = {
  readonly spec: ChildSpec
  process: Process | null
  state: 'running' | 'restarting' | 'stopped'
  /** Restarts without a long enough life in between: the exponent of the back-off. */
  attempt: number
  /** Monotonic ms of the last restart. */
  restartedAt: number
  timer: Timer | null
  /** Started at run time (S52). */
  readonly added: boolean
  /** Taken down by a verb: a new life of the node leaves it down (S54). */
  terminated: boolean
}

export function newChild(spec: ChildSpec, added = false, terminated = false): Child {
  return { spec, process: null, state: 'stopped', attempt: 0, restartedAt: 0, timer: null, added, terminated }
}

/** Completes and checks. @throws CHILD_SPEC_INVALID with `detail.reason` in OTP's words */
export function childSpec(input: ChildInput, autoShutdown: AutoShutdown): ChildSpec {
  const type = input.type ?? (input.process?.kind === 'supervisor' ? 'supervisor' : 'worker')
  const spec: ChildSpec = {
    id: input.id,
    process: input.process,
    restart: input.restart ?? 'permanent',
    shutdown: input.shutdown ?? (type === 'supervisor' ? 'infinity' : SHUTDOWN_MS),
    significant: input.significant ?? false,
    type,
    startTimeoutMs: input.startTimeoutMs ?? null,
  }
  const fault = faultOf(spec, autoShutdown)
  if (fault !== null) throw invalid(fault.reason, `Child ${JSON.stringify(input.id)}: ${fault.text}`)
  return spec
}

export function childSpecs(inputs: readonly ChildInput[], autoShutdown: AutoShutdown): ChildSpec[] {
  const seen = new Set<string>()
  return inputs.map((input) => {
    const spec = childSpec(input, autoShutdown)
    if (seen.has(spec.id)) throw invalid('duplicate_child_name', `Two children have the id ${JSON.stringify(spec.id)}.`)
    seen.add(spec.id)
    return spec
  })
}

export function invalid(reason: string, text: string): RuntimeError {
  return new RuntimeError('CHILD_SPEC_INVALID', text, { detail: { reason } })
}

type Fault = { reason: string; text: string }

function faultOf(spec: ChildSpec, autoShutdown: AutoShutdown): Fault | null {
  if (typeof spec.id !== 'string' || spec.id.length === 0) {
    return { reason: 'missing_id', text: 'the id must be a non-empty string.' }
  }
  if (typeof spec.process?.behaviour?.init !== 'function' || typeof spec.process.id !== 'string') {
    return { reason: 'missing_start', text: 'there is nothing to start; give a process with an id and a behaviour.' }
  }
  if (!RESTART_TYPES.includes(spec.restart)) {
    return { reason: 'invalid_restart_type', text: `restart is ${spec.restart}; use ${RESTART_TYPES.join(', ')}.` }
  }
  if (!isShutdown(spec.shutdown)) {
    return { reason: 'invalid_shutdown', text: `shutdown is ${spec.shutdown}; use ms of 0 or more, kill or infinity.` }
  }
  if (spec.type !== 'worker' && spec.type !== 'supervisor') {
    return { reason: 'invalid_child_type', text: `type is ${String(spec.type)}; use worker or supervisor.` }
  }
  if (typeof spec.significant !== 'boolean') {
    return { reason: 'invalid_significant', text: 'significant must be true or false.' }
  }
  if (spec.significant && spec.restart === 'permanent') {
    return { reason: 'bad_combination', text: 'a permanent child never ends for good, so it cannot be significant.' }
  }
  if (spec.significant && autoShutdown === 'never') {
    return { reason: 'bad_combination', text: 'significant needs autoShutdown other than never.' }
  }
  return null
}

export function isShutdown(value: unknown): boolean {
  if (value === 'kill' || value === 'infinity') return true
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}
