/** A definition as the kernel and the journal run it: operations by name, hooks or null. */
import type { AnyAgent } from '../definition/agent.ts'
import type { AgentEntry } from '../journal/port.ts'
import type { AgentCode } from '../kernel/ephemeral.ts'

type Handler = (ctx: unknown, args: unknown) => unknown

export function agentEntry(definition: AnyAgent): AgentEntry {
  const { name, version, durable, mailboxLimit, signals } = definition
  const code: AgentCode = {
    name,
    version,
    durable,
    mailboxLimit,
    handlers: durable ? functionsOf(definition.on) : validated(definition),
    queries: functionsOf(definition.queries),
    init: definition.state,
    activated: hook(definition.activated),
    terminate: hook(signals.terminate),
    onExit: hook(signals.onExit),
    onDown: hook(signals.onDown),
  }
  return { definition, code }
}

/** Bound to their record, so that methods may use `this` for constants beside them. */
function functionsOf(record: object): Map<string, Handler> {
  const found = new Map<string, Handler>()
  for (const [name, fn] of Object.entries(record)) if (typeof fn === 'function') found.set(name, fn.bind(record))
  return found
}

/** Without a journal there is nothing to be kept out of: the validator is the first thing the handler does. */
function validated({ on, validate }: AnyAgent): Map<string, Handler> {
  const handlers = functionsOf(on)
  for (const [op, validator] of Object.entries(validate)) {
    const handler = handlers.get(op)
    if (handler === undefined || validator === undefined) continue
    handlers.set(op, (ctx, args) => {
      validator((ctx as { state: never }).state, args as never) // typed where the agent is defined
      return handler(ctx, args)
    })
  }
  return handlers
}

function hook(fn: unknown): ((ctx: unknown, body?: unknown) => unknown) | null {
  return typeof fn === 'function' ? (fn as Handler) : null // typed where the agent is defined
}
