/** The OpenAPI document, derived from the same endpoints and schemas that serve the requests. */
import { z } from 'zod'
import { problemSchema } from '../../shared/frame.ts'
import type { Endpoint } from './endpoint.ts'

type Json = Record<string, unknown>
/** Named schemas, met while the operations are written. */
type Shared = Record<string, unknown>

export function openApi(endpoints: readonly Endpoint[], version: string): Json {
  const paths: Record<string, Json> = {}
  const shared: Shared = { Problem: schemaOf(problemSchema, 'output') }
  for (const each of endpoints) {
    const path = paths[each.path] ?? {}
    path[each.method] = operation(each, shared)
    paths[each.path] = path
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Vivarium', version, description: 'Processes that live long, and how to see into and steer them.' },
    servers: [{ url: '.' }],
    paths,
    components: {
      schemas: shared,
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  }
}

function operation(each: Endpoint, shared: Shared): Json {
  const answers = each.otherwise === undefined ? [each.response] : [each.response, each.otherwise]
  const problem = { content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } }
  return {
    operationId: `${each.method}${each.path.replace(/[^A-Za-z]+(.)?/g, (_, next: string = '') => next.toUpperCase())}`,
    summary: each.summary,
    tags: [each.tag],
    ...(each.role === null ? {} : { security: [{}, { token: [] }], 'x-role': each.role }),
    parameters: [...pathParameters(each.path), ...queryParameters(each.query)],
    ...(each.body === null
      ? {}
      : { requestBody: { content: { 'application/json': { schema: schemaOf(each.body) } } } }),
    responses: {
      ...Object.fromEntries(
        answers.map(({ status, schema, description }) => {
          const content = { 'application/json': { schema: schemaOf(schema, 'output', shared) } }
          return [status, { description, content }]
        }),
      ),
      default: { description: 'A problem document with a code of docs/errors.md', ...problem },
    },
  }
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    description: 'Percent-encoded, slashes too: order%2F17',
    schema: { type: 'string' },
  }))
}

function queryParameters(query: z.ZodType): Json[] {
  const { properties = {} } = schemaOf(query) as { properties?: Json } // always an object schema
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }))
}

/** What a schema names goes to the components of the document: a reference is resolved against its root. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'input', shared: Shared = {}): Json {
  const made: Json = { ...z.toJSONSchema(schema, { io, unrepresentable: 'any' }) }
  const text = JSON.stringify(made).replaceAll('"$ref":"#/$defs/', '"$ref":"#/components/schemas/')
  const { $schema: _, $defs, ...rest } = JSON.parse(text) as Json // an object went in
  for (const [name, { id: _id, ...each }] of Object.entries(($defs ?? {}) as Record<string, Json>)) shared[name] = each
  return rest
}
