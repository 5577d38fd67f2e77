/**
 * `ctx.infer`: a step whose function asks the thread of a model.
 *
 * - Its result is recorded like any step's; so a replay, and an attempt after a crash, never pay for it twice.
 * - Its policy is that of a step: a thread that dies with a batch costs each of its inputs an attempt.
 */
import { copy, type Value } from '../../shared/value.ts'
import type { Inference, InferOptions, ModelDefinition } from '../definition/model.ts'
import type { StepInfo } from '../definition/step.ts'
import { planOf } from './step-option.ts'
import { assertTaskOptions } from './task-step.ts'
import type { Turn } from './turn.ts'
import { requestStep } from './turn-step.ts'

export type InferAsked = {
  readonly model: ModelDefinition<unknown>
  readonly input: Value
  readonly options: InferOptions
}

/** @throws REQUEST_INVALID VALUE_UNSUPPORTED */
export function inferAsked(model: ModelDefinition<unknown>, input: unknown, options: InferOptions = {}): InferAsked {
  assertTaskOptions(model.name, options)
  return { model, input: copy(input), options }
}

export function inferInTurn(turn: Turn, { model, input, options }: InferAsked): Promise<unknown> {
  turn.assertOpen()
  const name = inferStep(model)
  const plan = planOf(name, options)
  return requestStep(turn, {
    name,
    key: turn.key(name, options.key),
    plan,
    fn: inferRun(turn.ports.compute, model, input),
  })
}

export function inferStep({ name }: ModelDefinition<unknown>): string {
  return `infer:${name}`
}

/** The function of the step. */
export function inferRun(
  inference: Inference,
  model: ModelDefinition<unknown>,
  input: Value,
): (info: StepInfo) => Promise<Value> {
  return ({ signal }) => inference.infer({ model, input, signal })
}
