/**
 * `ctx.task`: a function that runs as a process of its own below its owner, visible in the tree while it runs.
 *
 * - Its result is recorded like a step's; a replay hands it over without starting anything.
 * - The task dies with the turn that started it; its crash is the turn's to handle, it does not take the owner along.
 */

import { RuntimeError } from '../../shared/error.ts'
import { assertLabel } from '../../shared/id.ts'
import type { StepInfo } from '../definition/context.ts'
import { CALL_TIMEOUT_MS_MAX } from '../kernel/call.ts'
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

export function taskInTurn(turn: Turn, name: string, fn: TaskFn): Promise<unknown> {
  turn.assertOpen()
  assertLabel('Task name', name)
  const plan = planOf(name, { retry: { max: 1 } })
  const { process, ports } = turn
  const run = (info: StepInfo): Promise<unknown> => runTask(ports.kernel, process, name, { fn, info })
  const step = `task:${name}`
  return requestStep(turn, { name: step, key: turn.key(step), plan, fn: run })
}

/** Runs `fn` in a task process and resolves with its result. @throws TASK_FAILED */
export async function runTask(
  kernel: Kernel,
  owner: Process,
  name: string,
  run: { fn: TaskFn; info: StepInfo },
): Promise<unknown> {
  const { fn, info } = run
  const task = new Task(kernel, owner, () => fn(info), { link: false, name: name.slice(0, NAME_CHARACTERS_MAX) })
  const end = (): void => kernel.kill(task.process, { redeliver: false })
  info.signal.addEventListener('abort', end, { once: true })
  try {
    for (;;) {
      const result = await task.yield(CALL_TIMEOUT_MS_MAX)
      if (result === null) continue // a task has no time limit of its own; the step may set one
      if (result.kind === 'ok') return result.value
      throw new RuntimeError('TASK_FAILED', `Task ${name} of ${owner.id} failed: ${exitText(result.reason)}`)
    }
  } finally {
    info.signal.removeEventListener('abort', end)
  }
}
