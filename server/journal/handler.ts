/** Which function of an agent a message is for: the same one live and in a replay under other code. */
import type { Value } from '../../shared/value.ts'
import type { Envelope } from '../kernel/envelope.ts'
import type { DurableContext } from './context.ts'
import type { AgentEntry } from './port.ts'
import { ACTIVATED_OP } from './turn.ts'

export type Handler = (ctx: DurableContext, args: Value) => unknown

/** Null for what the code has no function for. */
export function handlerOf({ code }: AgentEntry, { kind, op }: Pick<Envelope, 'kind' | 'op'>): Handler | null {
  if (kind === 'exit') return code.onExit as Handler | null // kind and body belong together
  if (kind === 'down') return code.onDown as Handler | null // as above
  if (op === ACTIVATED_OP) return code.activated as Handler | null // takes the context only
  const handler = code.handlers.get(op)
  if (handler !== undefined) return handler
  const query = code.queries.get(op)
  if (query === undefined) return null
  // A query that came as a message: answered like a read-only turn.
  return (ctx, args) => query(ctx.state, args)
}
