/**
 * Schemas of what HTTP answers, for the OpenAPI document. The types of shared/snapshot.ts are the contract; each
 * schema here is checked against its type by the compiler.
 */
import { z } from 'zod'
import { PROCESS_STATUSES, type Wait } from '../../shared/snapshot.ts'
import { wholeNumber } from './input.ts'

const time = z.int().meta({ description: 'Epoch milliseconds' })

export const statusSchema = z.enum(PROCESS_STATUSES)

export const waitSchema = z.object({
  kind: z.enum([
    ...['call', 'step', 'retry', 'commit', 'task', 'thread', 'compute', 'user', 'start', 'restart', 'sleep'],
    ...['receive', 'sandbox'],
  ] as const),
  target: z.string().nullable(),
  since: time,
  deadline: time.nullable(),
  attempt: z.int(),
  attempts: z.int().exactOptional(),
  progress: z.string().exactOptional(),
}) satisfies z.ZodType<Wait>

export const processSchema = z
  .looseObject({
    id: z.string(),
    kind: z.enum(['agent', 'supervisor', 'task', 'service']),
    agent: z.string().nullable(),
    parent: z.string().nullable(),
    status: statusSchema,
    incarnation: z.int(),
    mailbox: z.int(),
    turns: z.int(),
    busyMs: z.number(),
    restarts: z.int(),
    wait: waitSchema.nullable(),
    stateVersion: z.int(),
    durable: z.boolean(),
    sandbox: z.string().exactOptional(),
  })
  .meta({ id: 'Process' })

export const pageOf = (item: z.ZodType) => z.object({ items: z.array(item), cursor: z.string().nullable() })

/** A page that says how many there are in all. */
export const countedPageOf = (item: z.ZodType) =>
  z.object({ items: z.array(item), total: z.int(), cursor: z.string().nullable() })

export const diagnosisSchema = z
  .object({
    at: time,
    ok: z.boolean().meta({ description: 'Nothing is worse than a notice' }),
    findings: z.array(
      z.looseObject({
        kind: z.string(),
        severity: z.enum(['critical', 'warning', 'notice']),
        process: z.string().nullable(),
        since: time.nullable(),
        why: z.string(),
        todo: z.string(),
      }),
    ),
  })
  .meta({ id: 'Diagnosis' })

export const record = z.looseObject({})
export const actResultSchema = z.object({ id: z.string(), incarnation: z.int(), outcome: z.string() })

/** Characters. Holds the longest id, and one longer sort value. */
const CURSOR_LENGTH_MAX = 2_000
/** What a page gave out. */
export const cursorSchema = z.string().min(1).max(CURSOR_LENGTH_MAX)

/** Query parameters arrive as text. */
export const limitSchema = wholeNumber(1, 1_000).default(100)
export const flagSchema = z.enum(['true', 'false']).transform((text) => text === 'true')
