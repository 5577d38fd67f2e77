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
    handlers: functionsOf(definition.on),
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

function hook(fn: unknown): ((ctx: unknown, body?: unknown) => unknown) | null {
  return typeof fn === 'function' ? (fn as Handler) : null // typed where the agent is defined
}
