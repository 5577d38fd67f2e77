/**
 * The end of an incarnation as one part: the exit, the failure with its black box, what its ties and names become.
 *
 * - P4: links, monitors and names end in the commit that carries the exit; the other ends are told by that commit.
 * - P9: the last end takes children along that were spawned to close with it.
 * - Signals that wait are for the life that ends: their rows go with it.
 */
import { copy, encodeCopied, type Value } from '../../shared/value.ts'
import type { ExitReason } from '../kernel/exit.ts'
import { exited } from '../kernel/outcome.ts'
import type { Process } from '../kernel/process.ts'
import type { NewFailure } from '../store/store.ts'
import { storePart } from './kept-part.ts'
import type { DurablePorts } from './port.ts'
import { answerCalls, answerLate } from './receiver-stop.ts'
import type { DurableRecord } from './record.ts'
import { takeSignals } from './tie-signal.ts'

/** `last`: nobody will start it again by himself. */
export type End = { reason: ExitReason; restarts: boolean; last: boolean; failure: NewFailure | null }

/** Resolves once the end is stored. */
export async function storeExit(ports: DurablePorts, record: DurableRecord, end: End): Promise<void> {
  const { reason, restarts, last } = end
  const failure = decided(end)
  const { process } = record
  const { incarnation } = process
  const body = copy(reason as unknown as Value) // an ExitReason is plain data
  const text = encodeCopied(body)
  const answers = last ? answerCalls(record, exited(process, reason)) : null
  const consumed = [...takeSignals(record, restarts), ...(answers?.consumed ?? [])]
  record.ties = null
  record.trapExit = false
  await storePart(ports, record, {
    entries: [{ k: 'exit', incarnation, reason: body }],
    patch: {
      incarnation: incarnation + 1,
      restarts: process.stats.restarts + (restarts ? 1 : 0),
      exit: text,
      gone: !restarts,
      trapExit: false,
    },
    ends: [{ incarnation, reason: text, ...(last ? { last } : {}) }],
    ...answers,
    ...(consumed.length === 0 ? {} : { consumed }),
    ...(failure === null ? {} : { failures: [boxed(ports, process, failure)] }),
  })
  if (last) await answerLate(ports, record, exited(process, reason))
  if (failure !== null) emitFailure(ports, process, failure)
}

/** A failure says what follows: nothing, where nobody is there to restart the process. */
function decided({ failure, restarts }: End): NewFailure | null {
  return failure?.decision === 'restart' && !restarts ? { ...failure, decision: 'end' } : failure
}

/** The black box closes here: with the last events, the end itself not yet among them. */
function boxed(ports: DurablePorts, process: Process, failure: NewFailure): NewFailure {
  return { ...failure, box: { ...failure.box, events: ports.lastEvents(process.id) } }
}

export function emitFailure({ emit, clock }: DurablePorts, { id, incarnation }: Process, failure: NewFailure): void {
  const { class: kind, error, decision, op } = failure
  emit({ kind: 'failure', at: clock.now(), id, incarnation, failureId: failure.id, class: kind, error, decision, op })
}
