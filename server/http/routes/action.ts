/** Operator verbs and messages. Each is one call of Control, which audits it. */
import { z } from 'zod'
import { VERBS } from '../../../shared/frame.ts'
import { fromPlain, toPlain } from '../../../shared/plain.ts'
import type { Caller } from '../../../shared/role.ts'

import type { Act, Control } from '../../control.ts'
import { FILE_BYTES_MAX } from '../body.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { storedText } from '../input.ts'
import { actResultSchema, record } from '../schema.ts'

const reason = storedText(0, 2_000).optional()
const incarnation = z.int().nonnegative().optional()
export const actBody = z.strictObject({ reason, incarnation })
const killBody = actBody.extend({ message: z.enum(['redeliver', 'drop']).optional() })
const opSchema = storedText(1, 200)
/** Milliseconds; an hour is what a call may wait at the most. */
const timeoutSchema = z.int().min(1).max(3_600_000).optional()
const sendBody = actBody.extend({
  op: opSchema,
  args: z.unknown().optional(),
  idempotencyKey: storedText(1, 128).optional(),
})
const callBody = sendBody.extend({ timeoutMs: timeoutSchema })

const importBody = z.strictObject({
  file: z.unknown(),
  as: z.string().min(1).max(400).optional(),
  replace: z.boolean().optional(),
  reason,
})

const tag = 'actions'
const acted = { status: 200, schema: actResultSchema, description: 'What was done' }

const SIMPLE = ['stop', 'restart', 'suspend', 'resume'] as const
const SUMMARY: Readonly<Record<(typeof SIMPLE)[number], string>> = {
  stop: 'End it gracefully and keep it stopped',
  restart: 'End it and start it anew; a supervisor with all its children',
  suspend: 'Begin no new turn until resumed',
  resume: 'Go on after suspend',
}

export const actionEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'post',
    path: '/processes/{id}/kill',
    summary: 'End it at once; its supervisor decides on a restart',
    tag,
    role: 'operator',
    query: noQuery,
    body: killBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      const message = body.message === undefined ? {} : { message: body.message }
      return json(await deps.control.kill(params.id ?? '', { ...actOf(caller, body), ...message }))
    },
  }),
  ...SIMPLE.map((verb) => simple(verb)),
  endpoint({
    method: 'post',
    path: '/processes/{id}/send',
    summary: 'Put a message into its mailbox; activates a key of a known pool',
    tag,
    role: 'operator',
    query: noQuery,
    body: sendBody,
    response: { status: 202, schema: z.object({ messageId: z.string() }), description: 'Accepted' },
    async handle({ params, body, caller, deps }) {
      const { messageId } = await deps.control.send(params.id ?? '', body.op, fromPlain(body.args), actOf(caller, body))
      return json({ messageId }, 202)
    },
  }),
  endpoint({
    method: 'post',
    path: '/processes/{id}/call',
    summary: 'Send a message and wait for its reply; activates a key of a known pool',
    tag,
    role: 'operator',
    query: noQuery,
    body: callBody,
    response: { status: 200, schema: z.object({ reply: z.unknown() }), description: 'The reply, null when none' },
    async handle({ params, body, caller, deps }) {
      const timeout = body.timeoutMs === undefined ? {} : { timeoutMs: body.timeoutMs }
      const act = { ...actOf(caller, body), ...timeout }
      const { reply } = await deps.control.call(params.id ?? '', body.op, fromPlain(body.args), act)
      return json({ reply: toPlain(reply) })
    },
  }),
  message('drop', 'Remove a waiting message; it becomes a dead letter', (control) => control.dropMessage.bind(control)),
  message('redeliver', 'Move a waiting message to the front, its attempts cleared', (control) =>
    control.redeliverMessage.bind(control),
  ),
  message('cancel', 'End its operation: taken back, or its code hears CANCELLED', (control) =>
    control.cancel.bind(control),
  ),
  endpoint({
    method: 'post',
    path: '/dead-letters/{id}/redeliver',
    summary: 'Put a dead letter back into the mailbox of its process, once',
    tag,
    role: 'operator',
    query: noQuery,
    body: actBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      return json(await deps.control.redeliverDeadLetter(params.id ?? '', actOf(caller, body)))
    },
  }),
  endpoint({
    method: 'post',
    path: '/import',
    summary: 'Store an exported process, owned by nobody; recovery looks at it',
    tag,
    role: 'operator',
    query: noQuery,
    body: importBody,
    bodyBytesMax: FILE_BYTES_MAX,
    response: acted,
    async handle({ body, caller, deps }) {
      const { file, as, replace = false } = body
      const place = as === undefined ? { replace } : { replace, as }
      return json(await deps.control.importProcess(file, { ...actOf(caller, body), ...place }))
    },
  }),
  endpoint({
    method: 'post',
    path: '/plan',
    summary: 'What a verb would do now, without doing it',
    tag,
    role: 'viewer',
    query: noQuery,
    body: z.strictObject({ verb: z.enum(VERBS), target: storedText(1, 400) }),
    response: { status: 200, schema: record, description: 'The blast radius' },
    async handle({ body, deps }) {
      return json(await deps.inspect.plan(body.verb, body.target))
    },
  }),
]

function simple(verb: (typeof SIMPLE)[number]): Endpoint {
  return endpoint({
    method: 'post',
    path: `/processes/{id}/${verb}`,
    summary: SUMMARY[verb],
    tag,
    role: 'operator',
    query: noQuery,
    body: actBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      return json(await deps.control[verb](params.id ?? '', actOf(caller, body)))
    },
  })
}

type MessageVerb = (control: Control) => Control['dropMessage']

function message(verb: 'drop' | 'redeliver' | 'cancel', summary: string, pick: MessageVerb): Endpoint {
  return endpoint({
    method: 'post',
    path: `/processes/{id}/messages/{message}/${verb}`,
    summary,
    tag,
    role: 'operator',
    query: noQuery,
    body: actBody,
    response: acted,
    async handle({ params, body, caller, deps }) {
      return json(await pick(deps.control)(params.id ?? '', params.message ?? '', actOf(caller, body)))
    },
  })
}

type Asked = { reason?: string | undefined; incarnation?: number | undefined; idempotencyKey?: string | undefined }

export function actOf(caller: Caller, asked: Asked): Act {
  const act: Act = { actor: caller.actor }
  if (asked.reason !== undefined) act.reason = asked.reason
  if (asked.incarnation !== undefined) act.incarnation = asked.incarnation
  if (asked.idempotencyKey !== undefined) act.idempotencyKey = asked.idempotencyKey
  return act
}
