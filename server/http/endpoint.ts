/**
 * One operation of the HTTP interface as data: from it come the route, the checks, and its part of the OpenAPI
 * document.
 *
 * - Input that does not fit its schema is refused before the handler runs, with the path of what is wrong.
 * - Schemas are strict: a misspelt option is an error, never silently without effect.
 */
import { z } from 'zod'
import { RuntimeError } from '../../shared/error.ts'
import type { Caller, Role } from '../../shared/role.ts'
import type { Control } from '../control.ts'
import type { Inspect } from '../observe/inspect.ts'

export type Deps = { readonly inspect: Inspect; readonly control: Control }
type Params = Readonly<Record<string, string>>

export type Call<Q, B> = { params: Params; query: Q; body: B; caller: Caller; deps: Deps }

export type Answer = { kind: 'json'; value: unknown; status?: number } | { kind: 'text'; text: string; type: string }

type ResponseOf = { status: number; schema: z.ZodType; description: string }

type EndpointOf<Q extends z.ZodType, B extends z.ZodType> = {
  method: 'get' | 'post'
  /** OpenAPI form, relative to /api/v1: `/processes/{id}/state`. */
  path: string
  summary: string
  tag: string
  /** Null needs no caller at all: probes of load balancers. */
  role: Role | null
  query: Q
  body: B | null
  /** Larger than the default (body.ts), for files. */
  bodyBytesMax?: number
  response: ResponseOf
  /** Another answer in the form of the operation itself; refusals are problem documents and need none. */
  otherwise?: ResponseOf
  handle(call: Call<z.output<Q>, z.output<B>>): Promise<Answer> | Answer
}

/** With the types of its input erased: they were checked where it was written. */
export type Endpoint = EndpointOf<z.ZodType, z.ZodType>

export const noQuery = z.strictObject({})

export function endpoint<Q extends z.ZodType, B extends z.ZodType>(written: EndpointOf<Q, B>): Endpoint {
  return written as unknown as Endpoint // `check` below hands the handler exactly what its schemas give
}

export const json = (value: unknown, status = 200): Answer => ({ kind: 'json', value, status })

/** @throws REQUEST_INVALID with the path of the first thing that is wrong */
export function check<T extends z.ZodType>(schema: T, value: unknown, where: 'query' | 'body'): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const path = issue === undefined || issue.path.length === 0 ? where : `${where}.${issue.path.map(String).join('.')}`
  const more = result.error.issues.length - 1
  const rest = more > 0 ? ` (and ${more} more)` : ''
  throw new RuntimeError('REQUEST_INVALID', `${path}: ${issue?.message ?? 'does not fit'}${rest}.`, {
    detail: { path },
  })
}
