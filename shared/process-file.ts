/**
 * One process as a file: everything stored of it but ties, names and streams. Texts are
 * those of the tables, large values stand apart, so a file read back gives the same state byte for byte.
 */
import { z } from 'zod'

export const PROCESS_FILE_FORMAT = 'vivarium-process'
/** Raised with every change of the body; a reader refuses what it does not know. 2: `sandbox`. 3: `branch`. */
export const PROCESS_FILE_VERSION = 3

const text = z.string()
const seq = z.int().nonnegative()
const ms = z.number()
const maybe = text.nullable()

const kept = z.strictObject({ seq, stateVersion: z.int(), value: text, at: ms })
const row = z.strictObject({
  ...{ seq, format: z.int(), stateVersion: z.int(), codeVersion: text, turnIds: z.array(text), cause: maybe },
  ...{ root: maybe, traceparent: maybe, actor: maybe, at: ms, payload: text },
})
const mail = z.strictObject({
  ...{ id: text, kind: text, op: text, sender: maybe, n: z.int(), args: text, replyTo: z.unknown(), cause: maybe },
  ...{ root: maybe, chain: z.array(text), traceparent: maybe, actor: maybe, deadline: ms.nullable(), at: ms },
  ...{ timer: z.strictObject({ name: text, arm: z.int() }).nullable(), attempts: z.int(), recoveries: z.int() },
})
const timer = z.strictObject({
  ...{ name: text, arm: z.int(), due: ms, op: text, args: text, root: maybe, traceparent: maybe },
})

export const processBodySchema = z.strictObject({
  process: z.strictObject({
    ...{ id: text, agent: text, key: text, parent: maybe, incarnation: z.int(), stateVersion: z.int() },
    ...{ restarts: z.int(), desired: z.enum(['running', 'suspended', 'stopped']), diverged: z.boolean() },
    ...{ trapExit: z.boolean(), gone: z.boolean(), ended: z.boolean(), exit: maybe, createdAt: ms },
    /** The process of which it is a sandbox copy. */
    sandbox: maybe.default(null),
    branch: z.int().nonnegative().default(0),
  }),
  /** Of the last row. */
  seq,
  snapshot: kept.nullable(),
  waypoints: z.array(kept),
  journal: z.array(row),
  mailbox: z.array(mail),
  timers: z.array(timer),
  refs: z.array(z.strictObject({ snapshot: z.boolean(), seq, hash: text })),
  blobs: z.array(z.strictObject({ hash: text, value: text })),
})
export type ProcessBody = z.infer<typeof processBodySchema>

export const processFileSchema = z.strictObject({
  format: z.literal(PROCESS_FILE_FORMAT),
  version: z.int(),
  exportedAt: z.number(),
  /** sha256 of the body as JSON.stringify writes it, in hex. */
  checksum: text,
  body: processBodySchema,
})
export type ProcessFile = z.infer<typeof processFileSchema>

/** `exists`: there is such a process. `owned`: a node runs it. */
export type ImportOutcome = 'imported' | 'exists' | 'owned'
/** The id it gets, and whether it may take the place of one that is there. */
export type ImportPlace = { id: string; replace: boolean }
/** `kept`: it is no sandbox copy. `owned`: a node runs it. */
export type DiscardOutcome = 'discarded' | 'absent' | 'kept' | 'owned'
