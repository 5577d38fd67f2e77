/**
 * `ctx.task`: a function that runs as a process of its own below its owner, visible in the tree while it runs.
 *
 * - Its result is recorded like a step's; a replay hands it over without starting anything.
 * - The task dies with the turn that started it; its crash is the turn's to handle, it does not take the owner along.
 */

import { RuntimeError } from '../../shared/error.ts'
import { assertLabel, type ProcessId } from '../../shared/id.ts'
import type { WaitKind } from '../../shared/snapshot.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { Compute, ComputeModule, ComputeOptions } from '../definition/compute.ts'
import type { StepInfo } from '../definition/step.ts'
import { CALL_TIMEOUT_MS_MAX } from '../kernel/call.ts'
import type { Clock } from '../kernel/clock-port.ts'
import { exitText } from '../kernel/exit.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { Task } from '../kernel/task.ts'
import { planOf } from './step-option.ts'
import type { Turn } from './turn.ts'
import { requestStep } from './turn-step.ts'

/** Task names become part of a process id. */
const NAME_CHARACTERS_MAX = 100

export type TaskFn = (info: StepInfo) => unknown

/** What runs in a task process: told of its process, aborted with it. */
export type TaskWork = (info: StepInfo, task: Process, signal: AbortSignal) => unknown

/** The arguments of `ctx.task` in its two forms. */
export type TaskAsked =
  | { kind: 'here'; name: string; fn: TaskFn }
  | { kind: 'thread'; name: string; url: string; args: readonly Value[]; options: ComputeOptions }

type AskedOfThread = Extract<TaskAsked, { kind: 'thread' }>

const COMPUTE_OPTIONS: ReadonlySet<string> = new Set(['retry', 'timeoutMs', 'totalMs', 'key'])

/** @throws REQUEST_INVALID VALUE_UNSUPPORTED */
export function taskAsked(
  what: string | ComputeModule<unknown>,
  given: unknown,
  args: readonly unknown[] = [],
  options: ComputeOptions = {},
): TaskAsked {
  if (typeof what === 'string') {
    assertLabel('Task name', what)
    return { kind: 'here', name: what, fn: given as TaskFn } // of the overload that takes a name
  }
  const name = String(given)
  assertLabel('Function name', name)
  if (!Array.isArray(args)) throw new RuntimeError('REQUEST_INVALID', `The arguments of ${name} are no array.`)
  assertTaskOptions(name, options)
  // Copied at once: what the caller changes later is not the function's.
  return { kind: 'thread', name, url: what.url, args: copy(args) as readonly Value[], options }
}

/** @throws REQUEST_INVALID for options of steps that code on a thread knows nothing of */
export function assertTaskOptions(name: string, options: ComputeOptions): void {
  for (const option in options) {
    if (COMPUTE_OPTIONS.has(option)) continue
    const text = `Option ${option} of task ${name} does not exist; use ${[...COMPUTE_OPTIONS].join(', ')}.`
    throw new RuntimeError('REQUEST_INVALID', text, { detail: { option } })
  }
}

export function taskInTurn(turn: Turn, asked: TaskAsked): Promise<unknown> {
  turn.assertOpen()
  const { process, ports } = turn
  const run = taskRun(ports, process, asked)
  const step = `task:${asked.name}`
  const options = stepOptions(asked)
  return requestStep(turn, { name: step, key: turn.key(step, options.key), plan: planOf(asked.name, options), fn: run })
}

/** A task is not repeated unless it is asked for: what failed by itself fails again. */
export function stepOptions(asked: TaskAsked): ComputeOptions {
  return { retry: { max: 1 }, ...(asked.kind === 'thread' ? asked.options : {}) }
}

export type TaskPorts = { readonly kernel: Kernel; readonly clock: Clock; readonly compute: Compute }

/** The function of the step that a task is. */
export function taskRun(ports: TaskPorts, owner: Process, asked: TaskAsked): TaskFn {
  const work: TaskWork = asked.kind === 'here' ? asked.fn : onThread(ports, owner.id, asked)
  return (info) => runTask(ports.kernel, owner, asked, { work, info })
}

function onThread({ clock, compute }: TaskPorts, owner: ProcessId, asked: AskedOfThread): TaskWork {
  const { name, url, args } = asked
  const target = `${url.slice(url.lastIndexOf('/') + 1)} ${name}`
  return (_info, task, signal) => {
    const show = (kind: WaitKind): void => {
      task.wait = { kind, target, since: clock.now(), deadline: null, attempt: 1 }
    }
    show('thread')
    return compute.run({ owner, url, name, args, signal, started: () => show('compute') })
  }
}

/** Runs `work` in a task process and resolves with its result. @throws TASK_FAILED, or what came from a thread */
async function runTask(
  kernel: Kernel,
  owner: Process,
  { kind, name }: TaskAsked,
  { work, info }: { work: TaskWork; info: StepInfo },
): Promise<unknown> {
  let thrown: { error: unknown } | null = null
  const run = async (signal: AbortSignal): Promise<unknown> => {
    try {
      return await work(info, task.process, signal)
    } catch (error) {
      thrown = { error }
      throw error
    }
  }
  const task = new Task(kernel, owner, run, { link: false, name: name.slice(0, NAME_CHARACTERS_MAX) })
  const end = (): void => kernel.kill(task.process, { redeliver: false })
  info.signal.addEventListener('abort', end, { once: true })
  try {
    for (;;) {
      const result = await task.yield(CALL_TIMEOUT_MS_MAX)
      if (result === null) continue // a task has no time limit of its own; the step may set one
      if (result.kind === 'ok') return result.value
      if (kind === 'thread' && result.reason.kind === 'crash') throwAgain(thrown)
      throw new RuntimeError('TASK_FAILED', `Task ${name} of ${owner.id} failed: ${exitText(result.reason)}`)
    }
  } finally {
    info.signal.removeEventListener('abort', end)
  }
}

/** The step's policy and its failure see the error itself, not the end of the process. */
function throwAgain(thrown: { error: unknown } | null): void {
  if (thrown !== null) throw thrown.error
}
