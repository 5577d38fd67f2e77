/**
 * The border of an agent: what a message must satisfy before it is queued or stored.
 *
 * - V3 of shared/value.ts: values outside the documented set are refused with their path.
 * - Unknown operations are refused at the sender's verb, not in the receiver's turn.
 */
import { RuntimeError } from '../../shared/error.ts'
import { copy, type Value } from '../../shared/value.ts'
import { checkSchema } from '../definition/schema.ts'
import type { AgentEntry } from './port.ts'

/** @throws OPERATION_UNKNOWN SCHEMA_MISMATCH VALUE_UNSUPPORTED */
export function checkMessage(agent: AgentEntry, op: string, message: unknown): { args: Value; isQuery: boolean } {
  const { code, definition } = agent
  const isQuery = code.queries.has(op)
  if (!isQuery && !code.handlers.has(op)) {
    const known = [...code.handlers.keys(), ...code.queries.keys()].join(', ')
    throw new RuntimeError('OPERATION_UNKNOWN', `Agent "${code.name}" has no operation "${op}". It has: ${known}.`, {
      detail: { agent: code.name, op },
    })
  }
  const schema = definition.schemas[op]
  const checked = schema === undefined ? message : checkSchema(schema, message, `${code.name}.${op}`)
  return { args: checked === undefined ? null : copy(checked), isQuery }
}
