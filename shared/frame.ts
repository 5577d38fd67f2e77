/**
 * The feed's grammar (`vivarium.v1`): every frame that crosses the WebSocket, both ways. Server, web and tests parse
 * with these schemas; a frame that does not fit is answered by an `error` frame and, when repeated, by `bye`.
 *
 * - Latest-wins topics send `snap` once, then `delta`; a newer delta may absorb older ones that were never sent.
 * - Append topics send `append` with a cursor; what was lost is said by `gap`, never hidden.
 * - At most UNACKED_FRAMES_MAX frames per subscription are unacknowledged; then the server merges and waits.
 * - `seq` counts the frames of one subscription; `resume` with the last seen seq continues or gets a new `snap`.
 */
import { z } from 'zod'
import { PROCESS_SORTS } from './snapshot.ts'

export const FEED_PROTOCOL = 'vivarium.v1'
export const UNACKED_FRAMES_MAX = 2
/** Subscriptions per connection: a page needs about six. */
export const SUBSCRIPTIONS_MAX = 32
/** Bytes of one client frame; the largest legal one is an `act` with a message body. */
export const CLIENT_FRAME_BYTES_MAX = 256 * 1024
/** Rows of one window; a viewport is about 60. */
export const WINDOW_ROWS_MAX = 500
/** Bytes of one blob answer; larger values come as head + size + hash. */
export const BLOB_BYTES_MAX = 2 * 1024 * 1024
export const EXPANDED_IDS_MAX = 1_000
export const PING_MS = 15_000

const text = (max: number) => z.string().max(max)
const processId = text(400).min(1)
const seq = z.number().int().nonnegative()

/** Where the rows come from and which of them: the same query the URL, HTTP and CLI use (shared/query.ts). */
export const viewSchema = z.object({
  q: text(1_000).optional(),
  under: processId.optional(),
  sort: z.enum(['tree', ...PROCESS_SORTS]).optional(),
  dir: z.enum(['asc', 'desc']).optional(),
  mode: z.enum(['tree', 'flat']).optional(),
  /** Tree mode: ids whose children are shown although folded by default, and the reverse. */
  expanded: z.array(processId).max(EXPANDED_IDS_MAX).optional(),
  collapsed: z.array(processId).max(EXPANDED_IDS_MAX).optional(),
  window: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]).optional(),
  hidden: z.boolean().optional(),
  passive: z.boolean().optional(),
  /** Keep the present order of rows: the pointer is over the list or something is selected. */
  freeze: z.boolean().optional(),
})
export type View = z.infer<typeof viewSchema>

/**
 * Topics. `processes` rows by view; `vitals` one row + history on subscribe; `needs` rows; `process:<id>` one detail
 * row; `journal:<id>`, `failures`, `failures:<id>`, `events`, `events:<id>`, `audit` append; `mailbox:<id>` latest-wins
 * rows of the first MAILBOX window; `nodes` rows; `stream:<id>/<name>` append, from `from` on.
 */
export const TOPIC_PATTERN = new RegExp(
  '^(processes|vitals|needs|nodes|audit|events|failures|dead-letters|' +
    '(process|journal|mailbox|failures|events):.{1,400}|stream:.{1,430})$',
  's',
)

export const VERBS = [
  'kill',
  'stop',
  'restart',
  'suspend',
  'resume',
  'send',
  'call',
  'drop-message',
  'redeliver-message',
  'redeliver-dead-letter',
  'edit-state',
  'rewind',
  'skip-message',
  'retry-turn',
  'cancel',
  'fork',
  'answer',
  'discard',
] as const
export type Verb = (typeof VERBS)[number]

export const clientFrameSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('hello'), token: text(4_096).optional(), client: text(200).optional() }),
  z.object({
    t: z.literal('sub'),
    id: text(64).min(1),
    topic: text(500).regex(TOPIC_PATTERN),
    view: viewSchema.optional(),
    maxHz: z.number().positive().max(10).optional(),
    /** Offset of the first item of a stream; without it the newest ones. */
    from: seq.optional(),
    /** Last seq seen of the same subscription on an earlier connection. */
    resume: z.object({ session: text(64), seq }).optional(),
  }),
  z.object({ t: z.literal('view'), id: text(64), view: viewSchema }),
  z.object({ t: z.literal('unsub'), id: text(64) }),
  z.object({ t: z.literal('ack'), id: text(64), seq }),
  z.object({
    t: z.literal('get'),
    rid: text(64),
    /** `state:<id>`, `journal:<id>:<seq>`, `message:<id>:<ord>`, `failure:<failureId>` */
    ref: text(600),
    /** Hash the client holds; answered `unchanged` when it is still right. */
    hash: text(128).optional(),
  }),
  z.object({ t: z.literal('plan'), rid: text(64), verb: z.enum(VERBS), target: processId }),
  z.object({
    t: z.literal('act'),
    rid: text(64),
    verb: z.enum(VERBS),
    target: processId,
    incarnation: z.number().int().nonnegative().optional(),
    reason: text(2_000).optional(),
    /** Idempotency: the same key acts once. */
    key: text(128).min(1),
    op: text(200).optional(),
    args: z.unknown().optional(),
    /** `cancel` without one is for the message in hand. */
    message: text(300).optional(),
    /** `rewind`: the version to go back to. `fork`: whose state the copy has, instead of the open turn. */
    version: seq.optional(),
    /** `edit-state` (whose value is `args`) and `rewind`: refused when the state moved on from it. */
    expectedVersion: seq.optional(),
    /** `retry-turn`: results before this one are kept. */
    step: seq.optional(),
    /** `fork`: id of the copy; its given state, if any, is `args`. */
    as: processId.optional(),
    /** `answer`: key of what is answered, by default the oldest. Its value is `args`, or `error` instead of one. */
    request: text(1_000).min(1).optional(),
    error: z.unknown().optional(),
  }),
  z.object({ t: z.literal('pause') }),
  z.object({ t: z.literal('resume') }),
  z.object({ t: z.literal('ping'), at: z.number() }),
  z.object({ t: z.literal('pong'), at: z.number() }),
])
export type ClientFrame = z.infer<typeof clientFrameSchema>

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  /** INTERNAL only: under which the log has the cause. */
  trace: z.string().exactOptional(),
})
/** RFC 9457 problem document; `code` is from shared/error.ts. */
export type Problem = z.infer<typeof problemSchema>

const row = z.looseObject({ id: z.string() })
const counts = z.record(z.string(), z.number())

export const serverFrameSchema = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('hello'),
    protocol: z.literal(FEED_PROTOCOL),
    session: z.string(),
    version: z.string(),
    node: z.string(),
    roles: z.array(z.string()),
    now: z.number(),
    limits: z.record(z.string(), z.number()),
  }),
  z.object({
    t: z.literal('snap'),
    id: z.string(),
    seq,
    rows: z.array(row),
    /** Ids in order of the window, starting at `from`. */
    from: z.number().int(),
    counts,
    at: z.number(),
  }),
  z.object({
    t: z.literal('delta'),
    id: z.string(),
    seq,
    up: z.array(row),
    del: z.array(z.string()),
    /** Present when order or window changed: all ids of the window in order. */
    order: z.array(z.string()).optional(),
    from: z.number().int().optional(),
    counts: counts.optional(),
    at: z.number(),
  }),
  z.object({
    t: z.literal('append'),
    id: z.string(),
    seq,
    cursor: z.string(),
    items: z.array(z.unknown()),
    at: z.number(),
  }),
  z.object({
    t: z.literal('gap'),
    id: z.string(),
    seq,
    from: z.string().nullable(),
    to: z.string().nullable(),
    n: z.number(),
  }),
  z.object({
    t: z.literal('blob'),
    rid: z.string(),
    ref: z.string(),
    hash: z.string(),
    bytes: z.number(),
    unchanged: z.boolean(),
    truncated: z.boolean(),
    body: z.unknown(),
  }),
  z.object({ t: z.literal('plan'), rid: z.string(), plan: z.unknown() }),
  z.object({
    t: z.literal('act'),
    rid: z.string(),
    state: z.enum(['accepted', 'done', 'failed']),
    result: z.unknown().optional(),
    problem: problemSchema.optional(),
  }),
  z.object({ t: z.literal('error'), id: z.string().nullable(), rid: z.string().nullable(), problem: problemSchema }),
  z.object({ t: z.literal('ping'), at: z.number() }),
  z.object({ t: z.literal('pong'), at: z.number() }),
  z.object({ t: z.literal('bye'), code: z.number(), reason: z.string() }),
])
export type ServerFrame = z.infer<typeof serverFrameSchema>
