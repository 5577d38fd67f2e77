/**
 * Validators of operations: a message may be refused by the committed state before anything of it is written (W7).
 *
 * - Asked when the turn of the message would begin, and when a turn would receive it; never on replay.
 * - A refusal is an answer: the row, if there is one, is consumed with it. Any other throw is the turn's error.
 */
import { errorData, isRuntimeError, type RuntimeError } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { handOver } from './bytes.ts'
import { keepPart } from './kept-part.ts'
import { answerTo, rowOf } from './message.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import type { DurableRecord } from './record.ts'

/** Null where it is welcome. @throws what the validator throws besides a rejection */
export function refusalOf({ definition }: AgentEntry, state: Value, { op, args }: Envelope): RuntimeError | null {
  const validator = Object.hasOwn(definition.validate, op) ? definition.validate[op] : undefined
  if (validator === undefined) return null
  try {
    validator(handOver(state) as never, handOver(args) as never) // typed where the agent is defined
    return null
  } catch (error) {
    if (isRuntimeError(error, 'CALL_REJECTED')) return error
    throw error
  }
}

/** Answers a message that no turn takes. */
export function refuseMessage(
  ports: DurablePorts,
  record: DurableRecord,
  envelope: Envelope,
  error: RuntimeError,
): void {
  const row = rowOf(envelope)
  if (row === null) return envelope.reply?.reject(error)
  const from = { id: record.id, messageId: row.id, lineage: envelope.lineage }
  const answer = row.replyTo === null ? null : answerTo(row.replyTo, { err: errorData(error) }, from)
  keepPart(ports, record, {
    lineage: envelope.lineage,
    consumed: [{ target: row.target, ord: row.ord }],
    ...(answer === null ? {} : { messages: answer.messages, requests: answer.requests }),
  })
}
