/**
 * What an operator writes into the journal of a process, beside its turns: another state, and that a turn runs again.
 *
 * - Each is one part that is kept (kept-part.ts) and resolves once it is stored; what is void says so.
 * - Whoever calls has made sure that no turn runs; between that and the part nothing is awaited.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Value } from '../../shared/value.ts'
import { type Interrupted, interrupt } from '../kernel/interrupt.ts'
import { closeTurn } from './closed-turn.ts'
import type { Entry } from './entry.ts'
import { keepPart } from './kept-part.ts'
import { endWaits } from './late-reply.ts'
import { fenced, rowOf } from './message.ts'
import { applyPatches } from './patch.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord, OpenTurn, Part, Settled } from './record.ts'
import { type Retried, retriedTurn } from './retried-turn.ts'
import { putBackRest } from './taken.ts'
import { childrenToStop } from './turn-child.ts'
import { withdrawalsOf } from './withdrawal.ts'

/** E2, E3: the state is replaced; a rewind begins a branch. Resolves with its version. @throws FENCED */
export async function editState(
  ports: DurablePorts,
  record: DurableRecord,
  entry: Extract<Entry, { k: 'edited' }>,
): Promise<number> {
  const state: Value = applyPatches(record.live, entry.patches)
  const lineage = { cause: null, root: null, traceparent: null, actor: entry.by }
  const { branch } = entry
  if (branch !== undefined) record.branch = branch
  const patch = branch === undefined ? {} : { patch: { branch } }
  const { seq } = await stored(ports, record, { entries: [entry], lineage, state, ...patch })
  record.process.stats.stateVersion = record.ackedSeq
  return seq
}

/** E5: what the open turn does not keep ends here; its message begins again. @throws FENCED */
export async function retryOpen(
  ports: DurablePorts,
  record: DurableRecord,
  open: OpenTurn,
  { kept, by, why }: Pick<Retried, 'kept' | 'by' | 'why'>,
): Promise<void> {
  const { turn, envelope } = open
  const entry: Retried = { k: 'retried', turn, branch: open.branch + 1, kept, by, why }
  const again = retriedTurn(open, entry)
  const gone = { ...open, entries: open.entries.filter((one) => !again.entries.includes(one)) }
  // An unanswered call is never among what is kept; a child may be.
  const messages = [...withdrawalsOf(record, open), ...childrenToStop(record, gone, 'began again')]
  record.open = again
  putBackRest(record.process, open, again)
  endWaits(ports, record)
  const row = rowOf(envelope)
  await stored(ports, record, {
    entries: [entry],
    turn,
    lineage: { ...envelope.lineage, actor: by },
    ...(messages.length === 0 ? {} : { messages }),
    ...(row === null ? {} : { attempted: [{ ref: { target: row.target, ord: row.ord }, attempts: 0 }] }),
    ...unmarked(record),
  })
}

/** E4, E5: whatever the replay of the open turn said, it is not asked any more. */
export function unmarked(record: DurableRecord): Pick<Part, 'patch'> {
  if (!record.diverged) return {}
  record.diverged = false
  record.divergence = null
  return { patch: { diverged: false } }
}

/** Takes the turn in hand from its process. */
export function interruptTurn(ports: DurablePorts, record: DurableRecord, why: string): Interrupted {
  const { process, turn } = record
  if (turn !== null && turn.trapBefore !== null) process.trapExit = turn.trapBefore
  const { id, incarnation, current } = process
  const { op = '', messageId = null } = current ?? {}
  closeTurn(record, new RuntimeError('STEP_ABANDONED', `The turn "${op}" of ${id} was ${why}.`))
  const held = interrupt(ports.kernel, process)
  ports.emit({ kind: 'turn:interrupt', at: ports.clock.now(), id, incarnation, turn: messageId, op })
  return held
}

/** Resolves once whatever is on its way is stored or void. */
export function landed(record: DurableRecord): Promise<void> {
  if (!record.pending) return Promise.resolve()
  return new Promise((resolve) => record.attach({ entries: [], turn: null, lineage: null, settle: () => resolve() }))
}

/** Resolves once the part is stored. @throws FENCED  another node owns the process; nothing of it was written */
export function stored(
  ports: Pick<DurablePorts, 'committer'>,
  record: DurableRecord,
  what: Omit<Partial<Part>, 'settle'>,
): Promise<Extract<Settled, { kind: 'stored' }>> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: Settled): void => {
      if (outcome.kind === 'stored') resolve(outcome)
      else reject(outcome.kind === 'refused' ? outcome.error : fenced(record.id))
    }
    keepPart(ports, record, { ...what, settle })
  })
}
