/**
 * The end of a message that cannot be handled: it leaves the mailbox, keeps its content and its reason, and its
 * caller hears of it. One outcome per call, this one included (PROTOCOL M3, P1).
 */
import { RuntimeError } from '../../shared/error.ts'
import { encodeCopied } from '../../shared/value.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { WAKE } from '../store/store.ts'
import { endWaits } from './late-reply.ts'
import { answerTo, outcomeOfError, rowOf, storable } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord, Part } from './record.ts'
import { rollbackWords } from './rollback.ts'
import { putBack } from './taken.ts'
import { childrenToStop } from './turn-child.ts'
import { withdrawalsOf } from './withdrawal.ts'

/** Node deaths with the same message in hand after which the message itself is suspected (P2). */
export const SUSPECTED_POISON_RECOVERIES = 5

/** @param failureId  the failure record that explains it, when there is one */
export function bury(
  ports: DurablePorts,
  record: DurableRecord,
  envelope: Envelope,
  why: string,
  failureId: string | null = null,
): void {
  const reason = record.open?.turn === envelope.messageId ? `${why}${rollbackWords(record.open)}` : why
  const messageId = envelope.messageId ?? ports.newId()
  const error = new RuntimeError(
    'DEAD_LETTERED',
    `Message "${envelope.op}" to ${record.id} became a dead letter: ${reason.replace(/\.$/, '')}.`,
    {
      detail: { process: record.id, op: envelope.op, failureId },
    },
  )
  const row = rowOf(envelope)
  const entry = {
    k: 'failed' as const,
    // Not the open turn: a message behind it may be dropped meanwhile.
    turn: envelope.messageId,
    attempt: envelope.attempts,
    failure: failureId ?? '',
    decision: 'dead' as const,
  }
  const part: Part = {
    entries: [entry],
    turn: messageId,
    lineage: envelope.lineage,
    keep: true,
    deadLetters: [
      {
        id: ports.newId(),
        messageId,
        op: envelope.op,
        args: encodeCopied(envelope.args),
        from: envelope.from,
        reason: storable(reason),
        failureId,
      },
    ],
    settle: (outcome) => {
      if (outcome.kind !== 'stored') return
      envelope.reply?.reject(error)
      const { id, process } = record
      const { incarnation } = process
      ports.emit({ kind: 'dead-letter', at: ports.clock.now(), id, incarnation, messageId, op: envelope.op, reason })
    },
  }
  if (row !== null) {
    part.consumed = [{ target: row.target, ord: row.ord }]
    if (row.replyTo !== null) {
      const answer = answerTo(row.replyTo, outcomeOfError(error), {
        id: record.id,
        messageId,
        lineage: envelope.lineage,
      })
      part.messages = answer.messages
      part.requests = answer.requests
    }
  }
  const isOpen = record.open?.turn === envelope.messageId
  const left = isOpen ? record.open : null
  const withdrawn = left === null ? [] : [...withdrawalsOf(record, left), ...childrenToStop(record, left, 'ended')]
  if (withdrawn.length > 0) part.messages = [...(part.messages ?? []), ...withdrawn]
  if (isOpen && record.open !== null) {
    putBack(record.process, record.open)
    record.open = null
    const wake = record.armed.get(WAKE)
    if (wake !== undefined) part.cancelTimers = [{ name: WAKE, arm: wake }]
    record.armed.delete(WAKE)
  }
  record.append(part)
  if (isOpen) endWaits(ports, record)
  ports.committer.wake(record)
}
