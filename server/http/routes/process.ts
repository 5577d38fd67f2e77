/** Processes: lists and details. Reading never wakes or waits for a process. */
import { z } from 'zod'
import { processNotFound } from '../../../shared/id.ts'
import { toPlain } from '../../../shared/plain.ts'
import { recordedSchema } from '../../../shared/recorded.ts'
import { PROCESS_SORTS } from '../../../shared/snapshot.ts'
import { type Endpoint, endpoint, json, noQuery } from '../endpoint.ts'
import { wholeNumber } from '../input.ts'
import {
  countedPageOf,
  cursorSchema,
  flagSchema,
  limitSchema,
  pageOf,
  processSchema,
  record,
  statusSchema,
} from '../schema.ts'

const listQuery = z.strictObject({
  q: z.string().max(1_000).optional(),
  under: z.string().min(1).max(400).optional(),
  agent: z.string().min(1).max(64).optional(),
  status: statusSchema.optional(),
  sort: z.enum(PROCESS_SORTS).optional(),
  dir: z.enum(['asc', 'desc']).optional(),
  limit: limitSchema,
  cursor: cursorSchema.optional(),
  hidden: flagSchema.optional(),
})

const versionQuery = z.strictObject({ version: wholeNumber(0).optional() })
const afterQuery = z.strictObject({ after: wholeNumber(0).transform(String).optional(), limit: limitSchema })
const beforeQuery = z.strictObject({ before: wholeNumber(0).optional(), limit: limitSchema })
const failureQuery = z.strictObject({ before: cursorSchema.optional(), limit: limitSchema })

const tag = 'processes'

export const processEndpoints: readonly Endpoint[] = [
  endpoint({
    method: 'get',
    path: '/processes',
    summary: 'Processes that live now; passive ones only with status=passive or q=status:passive',
    tag,
    role: 'viewer',
    query: listQuery,
    body: null,
    response: { status: 200, schema: countedPageOf(processSchema), description: 'A page of processes' },
    async handle({ query, deps }) {
      const { items, total, cursor } = await deps.inspect.processes(withoutUndefined(query))
      return json({ items, total, cursor })
    },
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}',
    summary: 'One process with links, monitors, supervisor and operations',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: processSchema, description: 'The process' },
    async handle({ params, deps }) {
      const id = params.id ?? ''
      const found = await deps.inspect.process(id)
      if (found === null) throw processNotFound(id)
      return json(found)
    },
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/state',
    summary: 'The last committed state, or that of a version; dates, maps, sets, bytes in the form of docs/http.md',
    tag,
    role: 'viewer',
    query: versionQuery,
    body: null,
    response: {
      status: 200,
      schema: z.object({ version: z.int(), value: z.unknown() }),
      description: 'Version and value',
    },
    async handle({ params, query, deps }) {
      const { version, value } = await deps.inspect.state(params.id ?? '', withoutUndefined(query))
      return json({ version, value: toPlain(value) })
    },
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/export',
    summary: 'Everything stored of it but ties and names, as a file for POST /import',
    tag,
    role: 'operator',
    query: noQuery,
    body: null,
    response: { status: 200, schema: record, description: 'The file' },
    handle: async ({ params, deps }) => json(await deps.inspect.exportProcess(params.id ?? '')),
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/mailbox',
    summary: 'Messages that wait, first first',
    tag,
    role: 'viewer',
    query: afterQuery,
    body: null,
    response: { status: 200, schema: countedPageOf(record), description: 'A page of messages' },
    async handle({ params, query, deps }) {
      return json(await deps.inspect.mailbox(params.id ?? '', withoutUndefined(query)))
    },
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/journal',
    summary: 'Journal entries, newest first',
    tag,
    role: 'viewer',
    query: beforeQuery,
    body: null,
    response: { status: 200, schema: pageOf(record), description: 'A page of entries' },
    async handle({ params, query, deps }) {
      const page = await deps.inspect.journal(params.id ?? '', withoutUndefined(query))
      return json({ ...page, items: page.items.map((item) => ({ ...item, payload: toPlain(item.payload) })) })
    },
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/recorded',
    summary: 'Its recorded turns as stored, for viv replay',
    tag,
    role: 'viewer',
    query: noQuery,
    body: null,
    response: { status: 200, schema: recordedSchema, description: 'Snapshot and rows' },
    handle: async ({ params, deps }) => json(await deps.inspect.recorded(params.id ?? '')),
  }),
  endpoint({
    method: 'get',
    path: '/processes/{id}/failures',
    summary: 'Failure records of the process, newest first',
    tag,
    role: 'viewer',
    query: failureQuery,
    body: null,
    response: { status: 200, schema: pageOf(record), description: 'A page of failures' },
    async handle({ params, query, deps }) {
      return json(await deps.inspect.failures({ process: params.id ?? '', ...withoutUndefined(query) }))
    },
  }),
]

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** Interfaces of the runtime tell an absent option from one that is undefined. */
export function withoutUndefined<T extends object>(value: T): Defined<Partial<T>> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Defined<Partial<T>>
}
