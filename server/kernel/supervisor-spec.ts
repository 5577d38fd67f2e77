/**
 * What a supervisor is told: its flags with their defaults and checks, and the words in which it answers.
 *
 * - S1: wrong flags are refused before anything starts, with OTP's reason.
 * - S4-S6: permanent children always restart, transient ones after an abnormal end, temporary ones never.
 */
import { type ErrorData, isRuntimeError, RuntimeError } from '../../shared/error.ts'
import type { SupervisorDetail } from '../../shared/snapshot.ts'
import { type AutoShutdown, type Child, type ChildInput, type ChildSpec, invalid } from './child.ts'
import type { Envelope } from './envelope.ts'
import { type ExitReason, exitText, isNormalish } from './exit.ts'
import type { Process } from './process.ts'
import { STRATEGIES, type Strategy } from './strategy.ts'
import type { AddedChild, ChildFact, TreeHistory } from './tree-change.ts'

export type SupervisorSpec = {
  id: string
  key: string | null
  strategy: Strategy
  /** Restarts allowed within the period. */
  intensity: number
  periodMs: number
  autoShutdown: AutoShutdown
  children: readonly ChildInput[]
  hidden?: boolean
}

/** What an incarnation begins with. */
export type SupervisorInit = {
  spec: SupervisorSpec
  children: readonly ChildSpec[]
  history: TreeHistory | null
  /** Children that an operator stopped in the incarnation before, with their own incarnations. */
  retired: ReadonlyMap<string, number>
}

/** As Elixir's Supervisor. */
export const INTENSITY = 3
export const PERIOD_MS = 5_000

export type WhichChild = { id: string; process: Process | null; state: Child['state']; type: ChildSpec['type'] }
export type ChildCount = { specs: number; active: number; supervisors: number; workers: number }

export function assertFlags(flags: {
  strategy?: string
  intensity: number
  periodMs: number
  autoShutdown?: string
}): void {
  const { strategy, intensity, periodMs, autoShutdown } = flags
  if (strategy !== undefined && !STRATEGIES.some((item) => item === strategy)) {
    throw invalid('invalid_strategy', `strategy is ${strategy}; use ${STRATEGIES.join(', ')}.`)
  }
  if (!Number.isInteger(intensity) || intensity < 0) {
    throw invalid('invalid_intensity', `intensity is ${intensity}; use a whole number of 0 or more.`)
  }
  if (!Number.isFinite(periodMs) || periodMs < 1) {
    throw invalid('invalid_period', `periodMs is ${periodMs}; use 1 or more.`)
  }
  if (autoShutdown !== undefined && !['never', 'any_significant', 'all_significant'].includes(autoShutdown)) {
    throw invalid(
      'invalid_auto_shutdown',
      `autoShutdown is ${autoShutdown}; use never, any_significant or all_significant.`,
    )
  }
}

/** S4-S6 */
export function restarts(spec: Pick<ChildSpec, 'restart'>, reason: ExitReason): boolean {
  if (reason.kind === 'fenced' || spec.restart === 'temporary') return false
  return spec.restart === 'permanent' || !isNormalish(reason)
}

export function reasonData(reason: ExitReason): ErrorData {
  return reason.kind === 'crash' ? reason.error : { code: reason.kind, message: exitText(reason) }
}

type RefusalCode = 'CHILD_ALREADY_STARTED' | 'CHILD_ALREADY_PRESENT' | 'CHILD_RUNNING' | 'CHILD_RESTARTING'

export function refusal(code: RefusalCode, id: string, what: string): RuntimeError {
  return new RuntimeError(code, `Child ${JSON.stringify(id)} ${what}.`, { detail: { child: id } })
}

export function startFailed(error: unknown, id: string): RuntimeError {
  if (isRuntimeError(error, 'CHILD_START_FAILED') || isRuntimeError(error, 'CHILD_ALREADY_STARTED')) return error
  return new RuntimeError('CHILD_START_FAILED', `Child ${JSON.stringify(id)} did not start.`, { cause: error })
}

/** Supervisors have no operations of their own; trapped exits of strangers are ignored. */
export function refuseMessage(envelope: Envelope): void {
  const text = `Supervisors have no operation ${envelope.op}; use the supervisor verbs of the runtime.`
  envelope.reply?.reject(new RuntimeError('OPERATION_UNKNOWN', text))
}

/** F7: an operator stopped it, and only an operator starts it again. */
export function isRetired({ process }: Child): boolean {
  return process?.ties?.retired === true
}

export function which({ spec, process, state }: Child): WhichChild {
  return { id: spec.id, process: state === 'running' ? process : null, state, type: spec.type }
}

export function countOf(children: readonly Child[]): ChildCount {
  const specs = children.length
  const active = children.filter((child) => child.state === 'running').length
  const supervisors = children.filter((child) => child.spec.type === 'supervisor').length
  return { specs, active, supervisors, workers: specs - supervisors }
}

export function assertDown(child: Child): void {
  if (child.state === 'running') throw refusal('CHILD_RUNNING', child.spec.id, 'is running')
  if (child.state === 'restarting') throw refusal('CHILD_RESTARTING', child.spec.id, 'is being restarted')
}

export function childRow({ spec, process, state }: Child): SupervisorDetail['children'][number] {
  const status = state === 'restarting' ? 'restarting' : (process?.status ?? 'undefined')
  return { id: spec.id, process: process?.id ?? null, restart: spec.restart, status }
}

export function childFact(child: Child): ChildFact {
  const { spec, process, terminated } = child
  return {
    id: spec.id,
    process: spec.process.id,
    incarnation: process?.incarnation ?? 0,
    state: factState(child),
    terminated,
    added: child.added ? addedChild(spec) : null,
  }
}

function factState({ state, process }: Child): ChildFact['state'] {
  if (state !== 'running') return state === 'stopped' && process?.elsewhere === true ? 'elsewhere' : state
  return process?.alive === true ? 'running' : 'stopped'
}

/** Only what has an agent can be made again from its definition. An ephemeral temporary child died with its node. */
function addedChild({ process, restart, shutdown, significant }: ChildSpec): AddedChild | null {
  const { agent, key, behaviour } = process
  if (agent === null || key === null || (restart === 'temporary' && !behaviour.durable)) return null
  return { agent, key, restart, shutdown, significant }
}
