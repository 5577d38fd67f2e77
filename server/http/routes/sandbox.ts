/** Sandbox copies: made, answered, taken away (E8 to E12). Each is one call of Control. */
import { z } from 'zod'
import { RuntimeError } from '../../../shared/error.ts'
import { fromPlain } from '../../../shared/plain.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { storedText } from '../input.ts'
import { actResultSchema } from '../schema.ts'
import { actBody, actOf } from './action.ts'

/** Characters; the longest id is shorter. */
const ID_LENGTH_MAX = 400

const forkBody = actBody.extend({
  version: z.int().min(1).optional(),
  as: storedText(1, ID_LENGTH_MAX).optional(),
  state: z.unknown().optional(),
})
const answerBody = actBody.extend({
  value: z.unknown().optional(),
  error: z.unknown().optional(),
  step: storedText(1, 1_000).optional(),
})

const tag = 'actions'
const acted = (description: string) => ({ status: 200, schema: actResultSchema, description })

export const sandboxEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'post',
    path: '/processes/{id}/fork',
    summary: 'Make a sandbox copy of it, from which nothing gets out',
    tag,
    role: 'operator',
    query: noQuery,
    body: forkBody,
    response: acted('`id` is that of the copy'),
    async handle({ params, body, caller, deps }) {
      const { version, as, state } = body
      const fork = {
        ...(version === undefined ? {} : { version }),
        ...(as === undefined ? {} : { as }),
        ...(state === undefined ? {} : { state: fromPlain(state) }),
      }
      return json(await deps.control.fork(params.id ?? '', { ...actOf(caller, body), ...fork }))
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/answer',
    summary: 'Give it what it waits for, `value` or `error`: a sandbox copy, or a step from outside',
    tag,
    role: 'operator',
    query: noQuery,
    body: answerBody,
    response: acted('The answer is stored, and the process goes on with it'),
    async handle({ params, body, caller, deps }) {
      const { value, error, step } = body
      if ((value === undefined) === (error === undefined)) {
        throw new RuntimeError('REQUEST_INVALID', 'An answer is either `value` or `error`. Give one of the two.')
      }
      const outcome = error === undefined ? { value: fromPlain(value) } : { error: fromPlain(error) }
      const act = { ...actOf(caller, body), ...(step === undefined ? {} : { step }) }
      return json(await deps.control.answer(params.id ?? '', outcome, act))
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/discard',
    summary: 'Take a sandbox copy away, with everything that is stored of it',
    tag,
    role: 'operator',
    query: noQuery,
    body: actBody,
    response: acted('Nothing of it is left but its audit'),
    async handle({ params, body, caller, deps }) {
      return json(await deps.control.discard(params.id ?? '', actOf(caller, body)))
    },
  }),
]
