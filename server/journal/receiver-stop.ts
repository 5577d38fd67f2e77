/**
 * The receiver of calls stopped for good (PROTOCOL M3): stored calls that it has not begun are answered with
 * PROCESS_EXITED by the commit that stores its end. Sends stay in the mailbox for whoever starts it again.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { InitResult } from '../kernel/behaviour.ts'
import type { Process } from '../kernel/process.ts'
import type { MessageRow } from '../store/store.ts'
import type { Activated } from './activation.ts'
import { fold } from './fold.ts'
import { storePart } from './kept-part.ts'
import { answerTo, envelopeOf, outcomeOfError, rowOf } from './message.ts'
import type { DurablePorts } from './port.ts'
import { DurableRecord, type Part } from './record.ts'

type Answers = Pick<Part, 'consumed' | 'messages' | 'requests'>

/** Takes the calls out of the mailbox; null when there are none. The accepted turn goes on at the next start. */
export function answerCalls(record: DurableRecord, error: RuntimeError): Answers | null {
  const { process, open } = record
  const rows: MessageRow[] = []
  for (;;) {
    const found = process.mailbox?.take(
      (envelope) => envelope.kind === 'call' && rowOf(envelope) !== null && envelope.messageId !== open?.turn,
    )
    const row = found === undefined ? null : rowOf(found)
    if (row === null) return answersTo(record.id, rows, error)
    rows.push(row)
  }
}

/** What a commit must hold so that the callers of these rows hear of it. */
function answersTo(id: string, rows: readonly MessageRow[], error: RuntimeError): Answers | null {
  if (rows.length === 0) return null
  const answers = rows.flatMap((row) => {
    if (row.replyTo === null) return []
    return [answerTo(row.replyTo, outcomeOfError(error), { id, messageId: row.id, lineage: envelopeOf(row).lineage })]
  })
  return {
    consumed: rows.map(({ target, ord }) => ({ target, ord })),
    messages: answers.flatMap(({ messages }) => messages),
    requests: answers.flatMap(({ requests }) => requests),
  }
}

/** Calls that came while the end was being stored. */
export async function answerLate(
  ports: Pick<DurablePorts, 'committer'>,
  record: DurableRecord,
  error: RuntimeError,
): Promise<void> {
  for (let answers = answerCalls(record, error); answers !== null; answers = answerCalls(record, error)) {
    await storePart(ports, record, answers)
  }
}

/** F7: an operator stopped it; no message wakes it. Calls hear of it, other messages wait for the restart. */
export async function refuseStopped(
  ports: Pick<DurablePorts, 'committer' | 'giveUp'>,
  process: Process,
  { outcome, loaded }: Extract<Activated, { kind: 'loaded' }>,
): Promise<InitResult> {
  const { id } = process
  const { record: row, claim, seq } = outcome
  const text = `${id} was stopped by an operator. Restart it to use it again.`
  const error = new RuntimeError('PROCESS_EXITED', text)
  process.tie().retired = true
  const { state = null, open, stateVersion, at } = fold(loaded, loaded.mailbox)
  const calls = loaded.mailbox.filter((message) => message.kind === 'call' && message.id !== open?.turn)
  const answers = answersTo(id, calls, error)
  if (answers !== null) {
    const record = new DurableRecord({ id, pid: row.pid, claim, process, seq, state, stateVersion, at })
    await storePart(ports, record, answers)
  }
  await ports.giveUp(id, row.pid, claim)
  for (const { reply } of process.mailbox?.drain() ?? []) reply?.reject(error)
  return 'ignore'
}
