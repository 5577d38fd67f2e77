/** What happened and what is: failures, dead letters, audit, nodes, needs, vital signs. */
import { z } from 'zod'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { cursorSchema, diagnosisSchema, limitSchema, pageOf, record } from '../schema.ts'
import { withoutUndefined } from './process.ts'

const processId = z.string().min(1).max(400).optional()
const tag = 'records'
const page = { status: 200, schema: pageOf(record), description: 'A page, newest first' }

export const recordEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'get',
    path: '/failures',
    summary: 'Failure records with their black boxes',
    tag,
    role: 'viewer',
    query: z.strictObject({
      process: processId,
      before: cursorSchema.optional(),
      limit: limitSchema,
    }),
    body: null,
    response: page,
    handle: async ({ query, deps }) => json(await deps.inspect.failures(withoutUndefined(query))),
  }),
  endpoint({
    method: 'get',
    path: '/dead-letters',
    summary: 'Messages that were given up',
    tag,
    role: 'viewer',
    query: z.strictObject({ process: processId, limit: limitSchema }),
    body: null,
    response: page,
    handle: async ({ query, deps }) => json(await deps.inspect.deadLetters(withoutUndefined(query))),
  }),
  endpoint({
    method: 'get',
    path: '/audit',
    summary: 'Who did what, why, and what came of it',
    tag,
    role: 'viewer',
    query: z.strictObject({ target: processId, limit: limitSchema }),
    body: null,
    response: page,
    handle: async ({ query, deps }) => json(await deps.inspect.audit(withoutUndefined(query))),
  }),
  endpoint({
    method: 'get',
    path: '/nodes',
    summary: 'Nodes that share the store',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: z.object({ items: z.array(record) }), description: 'All nodes' },
    handle: async ({ deps }) => json({ items: await deps.inspect.nodes() }),
  }),
  endpoint({
    method: 'get',
    path: '/needs',
    summary: 'What a person should look at, worst first',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: z.object({ items: z.array(record) }), description: 'All needs' },
    handle: async ({ deps }) => json({ items: await deps.inspect.needs() }),
  }),
  endpoint({
    method: 'get',
    path: '/doctor',
    summary: 'Work that does not go on by itself, why, and what to do; worst first',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: diagnosisSchema, description: 'The diagnosis' },
    handle: async ({ deps }) => json(await deps.inspect.doctor()),
  }),
  endpoint({
    method: 'get',
    path: '/vitals',
    summary: 'Vital signs of this node now',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: record, description: 'Vital signs' },
    async handle({ deps }) {
      await deps.inspect.counted()
      return json(deps.inspect.vitals())
    },
  }),
]
