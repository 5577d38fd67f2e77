/**
 * What an agent is: state, handlers, queries and the few numbers that bound it. Plain data; running it is the
 * runtime's work.
 *
 * - Definitions are branded with `Symbol.for`, never tested by `instanceof`: two copies of the package in one process
 *   still understand each other.
 * - Names of operations that would make a reference a promise or break an object are refused.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertAgentName, assertKey, RESERVED_AGENTS } from '../../shared/id.ts'
import { RETENTION_DEFAULT, type Retention } from '../../shared/retention.ts'
import type { Context, Signals } from './context.ts'
import type { StandardSchema } from './schema.ts'

export const AGENT: unique symbol = Symbol.for('vivarium.agent')

export type Handlers<S> = { readonly [op: string]: (ctx: Context<S>, message: never) => unknown }
export type Queries<S> = { readonly [query: string]: (state: S, message: never) => unknown }

/** Ms without a message after which a keyed durable process leaves memory; it is activated by the next one. */
export const PASSIVATE_AFTER_MS = 60_000
/** Deliveries of one message before it becomes a dead letter (PROTOCOL P1). */
export const MAX_ATTEMPTS = 3
/** Messages pending per process. */
export const MAILBOX_LIMIT = 10_000

export type AgentOptions<S, On, Q> = Signals<S> & {
  /** State version; raise it together with an `upgrade` step. Default 1. */
  version?: number
  /** First state of a process. Runs once per process; its result is stored with the first commit. */
  state: () => S
  on: On
  queries?: Q & Queries<S>
  /** After load, before other messages; changes are committed as a turn of their own (T8). */
  activated?: (ctx: Context<S>) => unknown
  /** `upgrade[n]` turns a state of version n into version n + 1. */
  upgrade?: { readonly [from: number]: (old: never) => unknown }
  /** `durable` (default): state and mailbox in the store. `ephemeral`: memory only. */
  durability?: 'durable' | 'ephemeral'
  mailbox?: { limit?: number }
  /** Milliseconds, default 60_000; `never` keeps the process in memory. */
  passivateAfterMs?: number | 'never'
  /** What is kept of streams (`ctx.stream`): records younger than `maxAgeMs`, and at most `maxBytes` of each stream.
   *  Closed streams go with their last record of that age. Default: everything, for ever. */
  streams?: { maxAgeMs?: number; maxBytes?: number }
  /** How long the journal stays readable: rows go when they are older than `maxAgeMs` (default 30 days) or when more
   *  than `maxRows` (default 100,000) came after them. `forever` sets no limit. What a process needs to run stays. */
  retention?: { maxAgeMs?: number | 'forever'; maxRows?: number | 'forever' }
  /** Deliveries of one message in all, default 3. */
  maxAttempts?: number
  /** Schemas by operation, checked at the border before the message is stored. */
  schemas?: { readonly [op: string]: StandardSchema }
  /** By operation, asked with the committed state before its turn begins or a turn receives it: whoever throws a Reject
   *  refuses the message, its caller hears CALL_REJECTED, and nothing of it is written. Must be pure. */
  validate?: { readonly [K in keyof On]?: (state: S, message: MessageOf<On[K]>) => void }
}

/** What a handler is sent. */
type MessageOf<F> = F extends (ctx: never, message: infer M) => unknown ? M : never

/** Null keeps everything. */
export type StreamRetention = { readonly maxAgeMs: number | null; readonly maxBytes: number | null }

export type AgentDefinition<S, On, Q> = {
  readonly [AGENT]: true
  readonly name: string
  readonly version: number
  readonly durable: boolean
  readonly state: () => S
  readonly on: On
  readonly queries: Q
  readonly activated: ((ctx: Context<S>) => unknown) | null
  readonly upgrade: { readonly [from: number]: (old: never) => unknown }
  readonly signals: Signals<S>
  readonly mailboxLimit: number
  readonly passivateAfterMs: number | null
  readonly maxAttempts: number
  readonly streams: StreamRetention
  readonly retention: Retention
  readonly schemas: { readonly [op: string]: StandardSchema }
  readonly validate: { readonly [op: string]: Validator | undefined }
  /** A static child of a supervisor: always running while its supervisor does. */
  spec(options: { key: string } & ChildOptions): AgentChild
}

/** Any definition, where only its shape as data matters. */
export type AnyAgent = {
  readonly [AGENT]: true
  readonly name: string
  readonly version: number
  readonly durable: boolean
  readonly state: () => unknown
  readonly on: object
  readonly queries: object
  readonly activated: ((ctx: never) => unknown) | null
  readonly upgrade: { readonly [from: number]: (old: never) => unknown }
  readonly signals: { onExit?: unknown; onDown?: unknown; terminate?: unknown }
  readonly mailboxLimit: number
  readonly passivateAfterMs: number | null
  readonly maxAttempts: number
  readonly streams: StreamRetention
  readonly retention: Retention
  readonly schemas: { readonly [op: string]: StandardSchema }
  readonly validate: { readonly [op: string]: Validator | undefined }
}

/** Typed where the agent is defined. */
export type Validator = (state: never, message: never) => void

export type ChildOptions = {
  restart?: 'permanent' | 'transient' | 'temporary'
  /** Milliseconds to end gracefully, default 5_000; `brutal_kill` does not ask. */
  shutdown?: number | 'brutal_kill' | 'infinity'
  significant?: boolean
}

export type AgentChild = { readonly kind: 'agent'; readonly agent: AnyAgent; readonly key: string } & ChildOptions

/** Would make a reference thenable, or collide with what every object has. */
const RESERVED_OPS: ReadonlySet<string> = new Set([
  'then',
  'catch',
  'finally',
  'constructor',
  'toString',
  'valueOf',
  'toJSON',
  'hasOwnProperty',
  '__proto__',
])

/** Defines an agent. Types of operations, queries and state are inferred from the record.
 *  @throws DEFINITION_INVALID  a reserved or doubled operation name, a bad number  @throws ID_INVALID  a bad name */
export function agent<S, On extends Handlers<S>, Q extends Queries<S> = Record<never, never>>(
  name: string,
  options: AgentOptions<S, On, Q>,
): AgentDefinition<S, On, Q> {
  assertAgentName(name)
  if (RESERVED_AGENTS.has(name)) throw invalid(name, 'name is used by the runtime itself')
  // An absent record has no keys; the default of Q says the same.
  const queries = options.queries ?? ({} as Q)
  checkOps(name, Object.keys(options.on), Object.keys(queries))
  const { onExit, onDown, terminate } = options
  const signals: Signals<S> = {
    ...(onExit === undefined ? {} : { onExit }),
    ...(onDown === undefined ? {} : { onDown }),
    ...(terminate === undefined ? {} : { terminate }),
  }
  const definition: AgentDefinition<S, On, Q> = {
    [AGENT]: true,
    name,
    version: positive(name, 'version', options.version ?? 1),
    durable: options.durability !== 'ephemeral',
    state: options.state,
    on: options.on,
    queries,
    activated: options.activated ?? null,
    upgrade: options.upgrade ?? {},
    signals,
    mailboxLimit: positive(name, 'mailbox.limit', options.mailbox?.limit ?? MAILBOX_LIMIT),
    passivateAfterMs:
      options.passivateAfterMs === 'never'
        ? null
        : positive(name, 'passivateAfterMs', options.passivateAfterMs ?? PASSIVATE_AFTER_MS),
    maxAttempts: positive(name, 'maxAttempts', options.maxAttempts ?? MAX_ATTEMPTS),
    streams: {
      maxAgeMs: limit(name, 'streams.maxAgeMs', options.streams?.maxAgeMs),
      maxBytes: limit(name, 'streams.maxBytes', options.streams?.maxBytes),
    },
    retention: retentionOf(name, options.retention),
    schemas: options.schemas ?? {},
    validate: checkValidators(name, options.on, options.validate ?? {}),
    spec: ({ key, ...rest }) => {
      assertKey(key)
      return { kind: 'agent', agent: definition, key, ...rest }
    },
  }
  return Object.freeze(definition)
}

function checkValidators(name: string, on: object, validate: object): AnyAgent['validate'] {
  const stray = Object.keys(validate).find((op) => !Object.hasOwn(on, op))
  if (stray !== undefined) throw invalid(name, `validate names "${stray}", which is no operation under \`on\``)
  return validate as AnyAgent['validate'] // the parameter types were checked against the operations
}

export function isAgent(value: unknown): value is AnyAgent {
  return typeof value === 'object' && value !== null && Reflect.get(value, AGENT) === true
}

function checkOps(name: string, handlers: readonly string[], queries: readonly string[]): void {
  for (const op of [...handlers, ...queries]) {
    if (RESERVED_OPS.has(op)) throw invalid(name, `operation "${op}" has a reserved name`)
    if (op.length === 0 || op.length > 100) throw invalid(name, `operation "${op}" needs a name of 1 to 100 characters`)
  }
  const doubled = handlers.find((op) => queries.includes(op))
  if (doubled !== undefined) throw invalid(name, `"${doubled}" is both a handler and a query`)
}

function retentionOf(
  name: string,
  given: { maxAgeMs?: number | 'forever'; maxRows?: number | 'forever' } = {},
): Retention {
  const limit = (what: keyof Retention): number | null => {
    const value = given[what] ?? RETENTION_DEFAULT[what]
    return value === 'forever' || value === null ? null : positive(name, `retention.${what}`, value)
  }
  return { maxAgeMs: limit('maxAgeMs'), maxRows: limit('maxRows') }
}

function positive(name: string, what: string, value: number): number {
  if (Number.isInteger(value) && value > 0) return value
  throw invalid(name, `${what} is ${value}, which is not a whole number above 0`)
}

function limit(name: string, what: string, value: number | undefined): number | null {
  return value === undefined ? null : positive(name, what, value)
}

function invalid(name: string, what: string): RuntimeError {
  return new RuntimeError('DEFINITION_INVALID', `Agent ${JSON.stringify(name)}: ${what}.`)
}
