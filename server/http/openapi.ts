/** The OpenAPI document, derived from the same endpoints and schemas that serve the requests. */
import { z } from 'zod'
import { problemSchema } from '../../shared/frame.ts'
import type { Endpoint } from './endpoint.ts'

type Json = Record<string, unknown>

export function openApi(endpoints: readonly Endpoint[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const each of endpoints) {
    const path = paths[each.path] ?? {}
    path[each.method] = operation(each)
    paths[each.path] = path
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Vivarium', version, description: 'Processes that live long, and how to see into and steer them.' },
    servers: [{ url: '.' }],
    paths,
    components: {
      schemas: { Problem: schemaOf(problemSchema, 'output') },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  }
}

function operation(each: Endpoint): Json {
  const { status, schema, description } = each.response
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
      [status]: { description, content: { 'application/json': { schema: schemaOf(schema, 'output') } } },
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

function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'input'): Json {
  const made: Json = { ...z.toJSONSchema(schema, { io, unrepresentable: 'any' }) }
  const { $schema: _, ...rest } = made
  return rest
}
