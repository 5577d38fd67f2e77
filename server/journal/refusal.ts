/**
 * A row that can never be written: its speculative state is dropped and its turns run again, one per row, until the
 * one at fault is alone and has failed (PROTOCOL T7).
 *
 * - The messages go back in their order, before whatever waits; the message in hand follows them.
 * - Only the turn at fault pays an attempt. Its process does not: the message is charged (P1).
 * - A consumed row that does not exist any more was handled before (a hint that came twice): its turn is not repeated.
 */
import { errorData, RuntimeError } from '../../shared/error.ts'
import type { Envelope } from '../kernel/envelope.ts'
import { crash, exitText } from '../kernel/exit.ts'
import { bury } from './dead-letter.ts'
import { backoffMs, newFailure } from './failure.ts'
import { rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import type { Dropped, DurableRecord, Part } from './record.ts'
import { noteFailed } from './retried-turn.ts'
import { owesRollback } from './rollback.ts'
import { restoreTaken } from './taken.ts'

export type Refused = {
  dropped: Dropped
  error: RuntimeError
  /** Consumed rows of this process that do not exist. */
  missing: ReadonlySet<number>
}

export function startOver(ports: DurablePorts, record: DurableRecord, refused: Refused): void {
  const { dropped, missing } = refused
  const { process } = record
  record.ties?.refused()
  if (process.alive) process.trapExit = record.trapExit
  const parts = [...dropped.flying, ...dropped.waiting]
  const turns = dropped.flying.filter((part) => part.envelope !== undefined)
  const error = turns.length <= 1 ? whyOf(refused) : refused.error
  const alone = turns.length <= 1 ? (turns[0]?.envelope ?? process.current) : null
  const culprit = missing.size === 0 ? alone : null
  record.solo = missing.size === 0 && turns.length > 1 ? turns.length : 0
  restoreTaken(record, dropped, missing)
  reappend(record, parts, missing)
  const hopeless = missing.size === 0 && dropped.flying.length > 0 && dropped.flying.every((part) => part.keep === true)
  if (hopeless) pause(ports, record, error)
  else if (record.pending) ports.committer.wake(record)
  const again = parts.flatMap(({ envelope }) => (envelope === undefined || isGone(envelope, missing) ? [] : [envelope]))
  if (process.alive && (process.current !== null || culprit !== null)) {
    endIncarnation(ports, record, { culprit, again, error })
  } else if (culprit !== null) charge(ports, record, { culprit, again, error })
  const box = process.box()
  for (const envelope of again.reverse()) box.unshift(envelope)
  ports.kernel.lifecycle.ready(process)
}

/** A turn that takes a name which somebody else took meanwhile says so. */
function whyOf({ dropped, error }: Refused): RuntimeError {
  const names = dropped.flying.flatMap((part) => part.names ?? []).filter((change) => change.kind === 'register')
  if (names.length === 0 || error.detail?.['sqlState'] !== UNIQUE_VIOLATION) return error
  const taken = names.map((change) => change.name).join(', ')
  return new RuntimeError('NAME_TAKEN', `${error.message} It registers ${taken}, taken by another process meanwhile.`, {
    cause: error,
  })
}

const UNIQUE_VIOLATION = '23505'

type Charge = { culprit: Envelope | null; again: Envelope[]; error: RuntimeError }

/** Whatever runs now runs on a state that will never be. */
function endIncarnation(ports: DurablePorts, record: DurableRecord, charged: Charge): void {
  const { process } = record
  const { culprit, error } = charged
  const current = process.current
  const attempts = culprit === null ? 0 : charge(ports, record, charged)
  const buried = culprit !== null && current === culprit && attempts === null
  record.failure ??= newFailure({
    id: ports.newId(),
    process,
    error,
    envelope: culprit,
    attempt: attempts ?? culprit?.attempts ?? 1,
    decision: 'retry',
  })
  const delayMs = attempts === null || attempts === 0 ? 0 : backoffMs(attempts)
  process.tie().verdict = { charge: 'message', delayMs, redeliver: false }
  ports.kernel.lifecycle.die(process, crash(errorData(error)), buried ? 'leave' : 'free')
}

/** One attempt more; null when that was the last one and the message was buried. */
function charge(ports: DurablePorts, record: DurableRecord, { culprit, again, error }: Charge): number | null {
  if (culprit === null) return 0
  const { process } = record
  culprit.attempts += 1
  const max = ports.agent(process.agent ?? '')?.definition.maxAttempts ?? 1
  if (culprit.attempts < max || owesRollback(record.open, culprit, max)) return culprit.attempts
  const at = again.indexOf(culprit)
  if (at >= 0) again.splice(at, 1)
  const attempt = culprit.attempts
  const failure = newFailure({ id: ports.newId(), process, error, envelope: culprit, attempt, decision: 'dead-letter' })
  record.failure = failure
  bury(ports, record, culprit, exitText(crash(errorData(error))), failure.id)
  return null
}

/** Exits, failure records and dropped messages were refused because of their neighbours: they go out again. */
function reappend(record: DurableRecord, parts: readonly Part[], missing: ReadonlySet<number>): void {
  for (const part of parts) {
    if (part.keep === true) {
      if (part.consumed !== undefined) part.consumed = part.consumed.filter((ref) => !missing.has(ref.ord))
      for (const entry of part.entries) {
        const { open } = record
        if (entry.k === 'failed' && open !== null && entry.turn === open.turn) noteFailed(open, entry)
      }
      record.append(part)
    } else if (part.envelope === undefined) part.settle({ kind: 'refused', error: gone(record.id) })
  }
}

/** No neighbour was at fault: the same row would be refused again at once. It may pass later, and must be seen. */
function pause(ports: DurablePorts, record: DurableRecord, error: RuntimeError): void {
  ports.failed(`storing what must be kept of ${record.id}`, error)
  record.refusals += 1
  record.paused = true
  const timer = ports.clock.after(backoffMs(record.refusals), () => {
    record.paused = false
    if (record.pending) ports.committer.wake(record)
  })
  timer.keepAlive(false)
}

function isGone(envelope: Envelope, missing: ReadonlySet<number>): boolean {
  const row = rowOf(envelope)
  return row !== null && missing.has(row.ord)
}

function gone(id: string): RuntimeError {
  return new RuntimeError('COMMIT_REJECTED', `What ${id} did after a refused row was dropped with it.`)
}
