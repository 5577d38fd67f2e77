/**
 * Every error that leaves the runtime has a code from this table; codes are for ever.
 *
 * - `kind`: `caller` (refused before any effect), `operating` (expected, may pass), `programmer` (a bug: crash).
 * - `retryable`: the same request may succeed later without a change.
 * - `status`: the HTTP status under which the code leaves the admin API.
 * - `hint`: what to do, where the message itself does not say it.
 */
export type ErrorKind = 'caller' | 'operating' | 'programmer'

export type CodeInfo = { kind: ErrorKind; retryable: boolean; status: number; hint: string }

const caller = (status: number, hint: string): CodeInfo => ({ kind: 'caller', retryable: false, status, hint })
const operating = (status: number, hint: string, retryable = true): CodeInfo => ({
  kind: 'operating',
  retryable,
  status,
  hint,
})
const programmer = (hint: string): CodeInfo => ({ kind: 'programmer', retryable: false, status: 500, hint })

export const CODES = {
  // Names and input
  ID_INVALID: caller(400, 'Use agent/key with a valid agent name and key.'),
  VALUE_UNSUPPORTED: caller(422, 'Use plain objects, arrays, Map, Set, Date, Uint8Array, finite numbers, text, null.'),
  VALUE_TOO_LARGE: caller(413, 'Keep large data outside the agent and store a reference to it.'),
  VALUE_MUTATED: programmer('Replace a Date or Uint8Array in the state, never change it in place.'),
  SCHEMA_MISMATCH: caller(422, 'Send a value that satisfies the schema of the operation.'),
  REQUEST_INVALID: caller(400, 'Correct the request as the message says.'),
  PAYLOAD_TOO_LARGE: caller(413, 'Send a smaller body or frame.'),
  DEFINITION_INVALID: caller(500, 'Correct the agent or supervisor definition.'),
  MODULE_LOAD_FAILED: caller(500, 'Correct the module; the cause says where it fails.'),
  CONFIG_INVALID: caller(500, 'Correct the option or environment variable.'),

  // Processes and messages
  PROCESS_NOT_FOUND: caller(
    404,
    'Check the id. A message starts an unseen key of a known pool; reads and queries start nothing.',
  ),
  OPERATION_UNKNOWN: caller(404, 'Use one of the operations the agent defines under `on`.'),
  INCARNATION_GONE: caller(409, 'The process was reborn since you looked. Look again, then repeat the action.'),
  PROCESS_EXITED: operating(410, 'The process ended before it answered. Its failure record says why.', false),
  MAILBOX_FULL: operating(429, 'Send slower, or raise mailbox.limit of the agent.'),
  CALL_TIMEOUT: operating(
    504,
    'Raise timeoutMs or look at what the target waits for. detail.outcome says whether it may still act.',
  ),
  CALL_NOT_USED: programmer('Await the call, or hand it to ctx.send.'),
  CALL_CYCLE: programmer('A call to oneself or to a caller up the chain can never be answered; send instead.'),
  DEADLOCK: operating(409, 'Break the cycle of waiting calls; the youngest call was failed.', false),
  CALL_REJECTED: operating(409, 'The target refused with new Reject(...); its message says why.', false),
  CALL_UNANSWERED: operating(500, 'The turn that received the call must answer it with reply().', false),
  CALL_OUTCOME_UNKNOWN: operating(503, 'Ask the target what happened before repeating, or use an idempotency key.'),
  DEAD_LETTERED: operating(500, 'The message failed every attempt; redeliver it once the cause is mended.', false),
  CANCELLED: operating(
    409,
    'It was cancelled; the message says by whom and why. Begin anew where it is still wanted.',
    false,
  ),
  CONTEXT_CLOSED: programmer('The turn this ctx belonged to is over; no verb can be used after it.'),
  NAME_TAKEN: caller(409, 'Choose another name or stop the process that holds it.'),
  LINK_NO_PROCESS: caller(404, 'The process to link to is not alive.'),
  TASK_FAILED: operating(500, 'The task crashed; its cause says why.', false),
  OVERLOADED: operating(429, 'Give the task `retry`, begin fewer at once, or raise compute.threads or queueMax.'),
  EXPORT_MISSING: caller(500, 'Export a function of this name from the module, or correct the name.'),
  OUT_OF_MEMORY: operating(500, 'Hand the task less at once, or raise compute.memoryMb.', false),
  THREAD_ENDED: operating(500, 'Keep process.exit and errors that nobody catches out of the code of the task.', false),
  AWAIT_TIMEOUT: operating(504, 'Raise the timeout or shut the task down.'),
  REQUEST_UNKNOWN: caller(404, 'Start the operation under this key first, or correct the key.'),
  KEY_CONFLICT: caller(409, 'An idempotency key belongs to one request; use a new key for other arguments.'),

  // Supervision
  CHILD_SPEC_INVALID: caller(422, 'Correct the child specification as the message says.'),
  CHILD_ALREADY_PRESENT: caller(409, 'Restart or delete the child specification that exists.'),
  CHILD_ALREADY_STARTED: caller(409, 'The child runs already.'),
  CHILD_NOT_FOUND: caller(404, 'Use an id that which() lists.'),
  CHILD_RUNNING: caller(409, 'Terminate the child first.'),
  CHILD_RESTARTING: caller(409, 'Wait until the child is up or terminate it.'),
  CHILD_START_FAILED: operating(500, 'The child did not start; its cause says why.', false),
  CHILDREN_MAX: operating(429, 'Raise maxChildren of the pool or wait until children end.'),
  SERVICE_PROTECTED: caller(409, 'Services of the runtime end with it; stop the runtime instead.'),
  SUPERVISOR_GAVE_UP: operating(503, 'Mend the cause, then restart the supervisor.', false),

  // Turns and steps
  STEP_KEY_REQUIRED: programmer('Give parallel steps or calls of one name an explicit key.'),
  STEP_FAILED: operating(500, 'The step used up its attempts; its cause says why.', false),
  STEP_TIMEOUT: operating(504, 'Raise timeoutMs of the step or make it faster.'),
  STEP_HEARTBEAT_TIMEOUT: operating(504, 'Call info.heartbeat() more often than heartbeatMs, or raise it.'),
  STEP_ABANDONED: operating(410, 'The turn ended before the step; await it, or expect losers to be given up.', false),
  STEP_NOT_FOUND: caller(404, 'No step waits for this token: it is wrong, or the turn of the step is over.'),
  ALREADY_COMPLETED: caller(409, 'The step has its one outcome already; nothing was changed.'),
  TURN_OPEN: caller(409, 'Wait for its end, or skip its message; suspend the process so that no other one begins.'),
  TURN_NOT_OPEN: caller(409, 'It is over, or nothing of it was begun. Look again.'),
  TURN_DIVERGED: programmer('The code asks for other steps than the journal holds; resume on the old code or restart.'),
  STATE_READ_ONLY: programmer('State can be changed by handlers only, not inside a step or a query.'),
  COMMIT_REJECTED: operating(500, 'The store refused what the turn produced; the cause says which value.', false),
  TRANSACTION_OPEN: programmer('Inside ctx.transaction use tx only, and await one transaction before the next.'),
  TRANSACTION_FAILED: operating(500, 'Everything was rolled back; the cause says why.', false),
  TRANSACTION_CONTENDED: operating(409, 'Write less in one transaction, or touch rows in one order.'),
  TRANSACTION_TIMEOUT: operating(504, 'Keep everything that is not SQL out of the transaction, and its SQL short.'),
  TRANSACTION_UNSUPPORTED: caller(500, 'Run the runtime on the Postgres database that has your tables.'),
  FENCED: operating(409, 'Another node owns this process now; nothing was written here.'),
  STREAM_CLOSED: caller(409, 'A closed stream takes nothing more; write another one.'),
  STREAM_LIMIT: caller(429, 'Write smaller or fewer chunks, or set the streams policy of the agent.'),
  STREAM_NOT_FOUND: caller(404, 'Check process and name; streams that were kept long enough are taken away.'),
  STREAM_CONFLICT: caller(409, 'Use another path, or the configuration, type and sequence the stream has.'),
  STREAM_GONE: caller(410, 'The stream was deleted; its forks live on under their own names.'),
  STREAM_FENCED: caller(403, 'A later epoch of this producer writes the stream; raise Producer-Epoch to take over.'),
  STREAM_READ_ONLY: caller(405, 'Streams of agents are written by ctx.stream; over HTTP they are read.'),
  STREAM_GAP: caller(410, 'Read again from the position the message names; what was before it is not kept.'),
  RESTART_LIMIT: operating(503, 'The process failed too often outside a message and is halted. Mend it, restart it.'),
  UPGRADE_FAILED: programmer('Mend the upgrade step; the stored state is as it was.'),
  UPGRADE_MISSING: programmer('Add upgrade steps from the stored state version to the current one.'),
  VERSION_UNSUPPORTED: operating(503, 'The stored state is newer than this code; deploy the newer code.', false),

  // Store, node, embedded server
  STORE_UNAVAILABLE: operating(503, 'The database cannot be reached; work goes on when it is back.'),
  VERSION_CONFLICT: caller(409, 'The state changed since you read it. Read it again, then repeat the action.'),
  PROCESS_EXISTS: caller(409, 'Import under another id, or stop the process and say that it is replaced.'),
  FILE_INVALID: caller(422, 'Export the process again; the file must arrive as it was written.'),
  VERSION_NOT_KEPT: caller(410, 'Ask for a version that is kept; retention of the agent says how far back that is.'),
  BLOB_MISSING: operating(500, 'A stored value is gone; restore the table blobs from a backup.', false),
  STORE_FULL: operating(507, 'Free disk space on the database server; work goes on by itself.'),
  STORE_VERSION_UNSUPPORTED: caller(500, 'Use Postgres 15 or later.'),
  MIGRATION_FAILED: operating(500, 'The schema could not be brought up to date; the cause says which step.', false),
  NODE_DRAINING: operating(503, 'This node is shutting down; ask another one or try again.'),
  RUNTIME_STOPPED: caller(503, 'The runtime was stopped; create a new one.'),
  EMBEDDED_UNSUPPORTED_PLATFORM: caller(500, 'Set DATABASE_URL to a Postgres 15 or later.'),
  EMBEDDED_UNREACHABLE_FOLDER: caller(500, 'Choose a data folder the unprivileged database user can reach.'),
  EMBEDDED_VERSION_MISMATCH: caller(500, 'Dump the folder with its own Postgres version and load it here.'),
  EMBEDDED_START_FAILED: operating(500, 'Read the server log named in the message.'),
  EMBEDDED_FOLDER_LOCKED: operating(500, 'Another program holds the folder; stop it or choose another folder.'),

  // Surfaces
  PORT_IN_USE: caller(500, 'Stop it or choose another port (--port).'),
  ORIGIN_REFUSED: caller(403, 'Open the observer under the address the server listens on.'),
  HOST_REFUSED: caller(403, 'Use the address the server listens on, or list the host in allowedHosts.'),
  BIND_REFUSED: caller(500, 'Bind to loopback, or configure tokens or an authorize hook first.'),
  UNAUTHORIZED: caller(401, 'Send a valid token.'),
  FORBIDDEN: caller(403, 'Ask for the role the message names.'),
  NOT_FOUND: caller(404, 'Check the address.'),
  METHOD_NOT_ALLOWED: caller(405, 'Use one of the methods in the header Allow.'),
  UPGRADE_REQUIRED: caller(426, 'Call runtime.attach(server) so that the feed can take WebSocket upgrades.'),
  TOPIC_UNKNOWN: caller(404, 'Subscribe to a topic the server offers.'),
  FRAME_INVALID: caller(400, 'Send frames of the vivarium.v1 grammar.'),
  SUBSCRIPTION_LIMIT: caller(429, 'Close a subscription first.'),
  SERVER_NOT_FOUND: caller(500, 'Start a server, or pass --url, or set VIVARIUM_URL.'),
  INTERNAL: programmer('This is a bug in the runtime; report it with the trace.'),
} as const satisfies Record<string, CodeInfo>

export type ErrorCode = keyof typeof CODES

/**
 * What is known of a call that was given up (`detail.outcome` of CALL_TIMEOUT): `withdrawn` means that it was taken
 * back before it began and is never carried out; `unknown`, that it began or may have begun, so it may still act.
 */
export type GivenUp = 'withdrawn' | 'unknown'

/** What a RuntimeError is once it crossed a border (reply, journal, HTTP, feed). */
export type ErrorData = {
  code: string
  message: string
  cause?: ErrorData
  stack?: string
  name?: string
  outcome?: GivenUp
  /** Of a rejection: what it says to the caller's program. Values that can be stored. */
  detail?: Readonly<Record<string, unknown>>
}

/** The one error class of the runtime. Match on `code`, never on the text. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly code: ErrorCode
  /** Plain data for programs, e.g. `{ path }` of VALUE_UNSUPPORTED. */
  readonly detail: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; detail?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.detail = options.detail ?? {}
  }

  get info(): CodeInfo {
    return CODES[this.code]
  }
}

export function isRuntimeError(error: unknown, code?: ErrorCode): error is RuntimeError {
  return error instanceof RuntimeError && (code === undefined || error.code === code)
}

/** Units: characters. A stack is for reading; the head of it says where. */
const STACK_LENGTH_MAX = 8_000
const CAUSE_DEPTH_MAX = 5

/** Normalises anything thrown into plain data. Called once, at the edge where it leaves user code. */
export function errorData(thrown: unknown, depth = 0): ErrorData {
  if (!(thrown instanceof Error)) {
    return { code: 'Thrown', message: typeof thrown === 'string' ? thrown : describe(thrown) }
  }
  const code = codeOf(thrown)
  const data: ErrorData = { code, message: String(thrown.message), name: thrown.name }
  if (typeof thrown.stack === 'string') data.stack = thrown.stack.slice(0, STACK_LENGTH_MAX)
  if (thrown.cause !== undefined && depth < CAUSE_DEPTH_MAX) data.cause = errorData(thrown.cause, depth + 1)
  const outcome = thrown instanceof RuntimeError ? thrown.detail['outcome'] : undefined
  if (outcome === 'withdrawn' || outcome === 'unknown') data.outcome = outcome
  if (isRuntimeError(thrown, 'CALL_REJECTED') || isRuntimeError(thrown, 'CANCELLED')) {
    const { original: _original, ...detail } = thrown.detail
    if (Object.keys(detail).length > 0) data.detail = detail
  }
  return data
}

/** The inverse for replies: known codes come back as RuntimeError, anything else as the cause of one. */
export function errorFromData(data: ErrorData): RuntimeError {
  const known = data.code in CODES
  const code: ErrorCode = known ? (data.code as ErrorCode) : 'TASK_FAILED' // the `in` test proves the narrowing
  const cause = data.cause === undefined ? undefined : errorFromData(data.cause)
  const { outcome } = data
  const detail = { ...data.detail, original: data.code, ...(outcome === undefined ? {} : { outcome }) }
  return new RuntimeError(code, data.message, { cause, detail })
}

function codeOf(error: Error): string {
  if (error instanceof RuntimeError) return error.code
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : error.name
}

function describe(thrown: unknown): string {
  try {
    return JSON.stringify(thrown) ?? String(thrown)
  } catch {
    return String(thrown) // circular or with a throwing toJSON: its tag is all that can be said
  }
}
