/** Outcomes of steps that wait for somebody outside. The token in the address is the right to give one. */
import { z } from 'zod'
import { fromPlain } from '../../../shared/plain.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { storedText } from '../input.ts'
import { actResultSchema } from '../schema.ts'
import { actOf } from './action.ts'

const reason = storedText(0, 2_000).optional()
const completeBody = z.strictObject({ value: z.unknown().optional(), reason })
const errorSchema = z.union([
  z.string().max(10_000),
  z.strictObject({ code: z.string().max(200).optional(), message: z.string().max(10_000) }),
])
const failBody = z.strictObject({ error: errorSchema, reason })

const tag = 'steps'

export const stepEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'post',
    path: '/steps/{token}/complete',
    summary: 'Give an external step its result, once',
    tag,
    role: 'operator',
    query: noQuery,
    body: completeBody,
    response: { status: 200, schema: actResultSchema, description: 'The process whose step it was' },
    async handle({ params, body, caller, deps }) {
      const value = fromPlain(body.value ?? null)
      return json(await deps.control.completeStep(params.token ?? '', value, actOf(caller, body)))
    },
  }),
  endpoint({
    method: 'post',
    path: '/steps/{token}/fail',
    summary: 'Fail an external step, once and for good',
    tag,
    role: 'operator',
    query: noQuery,
    body: failBody,
    response: { status: 200, schema: actResultSchema, description: 'The process whose step it was' },
    async handle({ params, body, caller, deps }) {
      return json(await deps.control.failStep(params.token ?? '', body.error, actOf(caller, body)))
    },
  }),
]
