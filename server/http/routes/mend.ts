/** Operator verbs over time: the state, the turn, the message at hand (E). Each is one call of Control. */
import { z } from 'zod'
import { fromPlain } from '../../../shared/plain.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { storedText } from '../input.ts'
import { actResultSchema } from '../schema.ts'
import { actBody, actOf } from './action.ts'

const version = z.int().nonnegative()
const editBody = actBody.extend({ value: z.unknown(), expectedVersion: version })
const rewindBody = actBody.extend({ version: version.min(1), expectedVersion: version.optional() })
const skipBody = actBody.extend({ message: storedText(1, 300).optional() })
const retryBody = actBody.extend({ step: z.int().min(1).optional(), turn: storedText(1, 300).optional() })

const tag = 'actions'
const acted = { status: 200, schema: actResultSchema, description: 'What was done; it is stored' }

export const mendEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'post',
    path: '/processes/{id}/state',
    summary: 'Replace its state, if it is still the version you read',
    tag,
    role: 'operator',
    query: noQuery,
    body: editBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      const { value, expectedVersion } = body
      const act = { ...actOf(caller, body), expectedVersion }
      return json(await deps.control.editState(params.id ?? '', fromPlain(value), act))
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/rewind',
    summary: 'Make the state of an earlier version the newest one; nothing else is undone',
    tag,
    role: 'operator',
    query: noQuery,
    body: rewindBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      const expected = body.expectedVersion === undefined ? {} : { expectedVersion: body.expectedVersion }
      return json(await deps.control.rewind(params.id ?? '', body.version, { ...actOf(caller, body), ...expected }))
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/skip',
    summary: 'Give a message up, the one in hand where none is named; it becomes a dead letter',
    tag,
    role: 'operator',
    query: noQuery,
    body: skipBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      const message = body.message === undefined ? {} : { message: body.message }
      return json(await deps.control.skipMessage(params.id ?? '', { ...actOf(caller, body), ...message }))
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/retry',
    summary: 'Run its open turn again, from the start or from one of its results on',
    tag,
    role: 'operator',
    query: noQuery,
    body: retryBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      const step = body.step === undefined ? {} : { step: body.step }
      const turn = body.turn === undefined ? {} : { turn: body.turn }
      return json(await deps.control.retryTurn(params.id ?? '', { ...actOf(caller, body), ...step, ...turn }))
    },
  }),
]
