/**
 * The end of a turn: one part with state, outbox and answer, all or nothing (PROTOCOL M1).
 *
 * - The answer is released when the row is stored, never before (T7).
 * - Calls that the turn has not awaited are withdrawn by the same commit (M3).
 * - A turn that changed nothing and owes no row writes none; its answer waits for what ran before it.
 */
import { RuntimeError } from '../../shared/error.ts'
import { WAKE } from '../store/store.ts'
import type { EndKind, Outcome, Withheld } from './entry.ts'
import { endWaits } from './late-reply.ts'
import { answerTo, rowOf, toError } from './message.ts'
import { emptyOutbox, type Outbox } from './outbox.ts'
import { applyPatches, type Patch } from './patch.ts'
import type { DurablePorts } from './port.ts'
import type { DurableRecord, Part, Settled } from './record.ts'
import { settleTaken } from './taken.ts'
import { heardOf } from './tie-signal.ts'
import type { Turn } from './turn.ts'
import { childrenToStop } from './turn-child.ts'
import { withdrawalsOf } from './withdrawal.ts'

/** What a divergence calls the end of a turn. */
export const END_WORDS: Readonly<Record<EndKind, string>> = {
  done: 'the end of the turn',
  rejected: 'a rejection',
  cancelled: 'the end of the cancelled turn',
}

export function finishTurn(turn: Turn, how: EndKind, out: Outcome, patches: readonly Patch[]): void {
  const { record, envelope, process, ports } = turn
  const outbox = how === 'done' ? turn.outbox : emptyOutbox()
  const state = patches.length === 0 ? turn.base : applyPatches(turn.base, patches)
  turn.close()
  record.turn = null
  if (turn.isHook) record.hooked = true
  turn.how = how
  if (how !== 'done' && turn.trapBefore !== null) process.trapExit = turn.trapBefore
  const heard = heardOf(record, envelope)
  if (heard !== null) outbox.part.links = [...(outbox.part.links ?? []), heard]
  if (outbox.part.links !== undefined) record.tie().ended(outbox.part.links)
  if (turn.exit !== null && how === 'done') ports.kernel.lifecycle.requestStop(process, turn.exit, 0)
  const { open } = turn
  const children = open === null ? [] : childrenToStop(record, open, 'ended')
  if (children.length > 0) outbox.after.push(() => ports.crash.hit('close:stored'))
  const withdrawn = open === null ? [] : [...withdrawalsOf(record, open), ...children]
  endWaits(ports, record)
  const settle = (outcome: Settled): void => settled(turn, outbox, out, outcome)
  const wake = turn.open === null ? undefined : record.armed.get(WAKE)
  if (wake !== undefined) outbox.cancelTimers.push({ name: WAKE, arm: wake })
  if (isSilent(turn, outbox, patches)) {
    if (!record.pending) return settle({ kind: 'stored', seq: record.ackedSeq, at: record.ackedAt })
    return record.attach({ entries: [], turn: null, lineage: null, envelope, settle })
  }
  rearm(record, outbox)
  const part = partOf(turn, how, outbox, patches, out, settle)
  if (withdrawn.length > 0) part.messages = [...(part.messages ?? []), ...withdrawn]
  if (turn.open !== null) outbox.after.push(...addTaken(turn, part, how, outbox.answers))
  if (state !== record.live) part.state = state
  record.open = null
  record.append(part)
  ports.committer.wake(record)
}

/** @throws CALL_NOT_USED */
export function assertCallsUsed({ calls, envelope, process }: Turn): void {
  const unused = calls.find((call) => !call.used)
  if (unused === undefined) return
  throw new RuntimeError(
    'CALL_NOT_USED',
    `The turn "${envelope.op}" of ${process.id} made a call ${unused.op} of ${unused.target} ` +
      'and neither awaited nor sent it.',
  )
}

export function rearm({ armed }: DurableRecord, { timers, cancelTimers }: Outbox): void {
  for (const { name, arm } of cancelTimers) if (armed.get(name) === arm) armed.delete(name)
  for (const { name, arm } of timers) armed.set(name, arm)
}

function isSilent(turn: Turn, outbox: Outbox, patches: readonly Patch[]): boolean {
  return (
    patches.length === 0 &&
    turn.open === null &&
    rowOf(turn.envelope) === null &&
    outbox.messages.length === 0 &&
    outbox.timers.length === 0 &&
    outbox.cancelTimers.length === 0 &&
    outbox.part.spawns === undefined &&
    outbox.part.links === undefined &&
    outbox.part.names === undefined &&
    outbox.part.patch === undefined &&
    outbox.withheld === undefined
  )
}

function partOf(
  turn: Turn,
  how: EndKind,
  outbox: Outbox,
  patches: readonly Patch[],
  out: Outcome,
  settle: (outcome: Settled) => void,
): Part {
  const { envelope, process } = turn
  const row = rowOf(envelope)
  const { messages, withheld } = outbox
  const { op, from } = envelope
  const end = { k: 'end' as const, turn: turn.id, op, from, patches, how, sent: messages.length }
  const part: Part = {
    entries: [withheld === undefined ? end : { ...end, ...leaving(outbox) }],
    turn: turn.id,
    lineage: envelope.lineage,
    envelope,
    settle,
    ...outbox.part,
  }
  if (turn.open !== null) part.open = turn.open
  if (turn.record.diverged) {
    part.patch = { ...part.patch, diverged: false }
    turn.record.diverged = false
    turn.record.divergence = null
  }
  if (row !== null) part.consumed = [{ target: row.target, ord: row.ord }]
  if (outbox.timers.length > 0) part.timers = outbox.timers
  if (outbox.cancelTimers.length > 0) part.cancelTimers = outbox.cancelTimers
  if (row?.replyTo != null) {
    const from = { id: process.id, messageId: row.id, lineage: envelope.lineage }
    const answer = answerTo(row.replyTo, out, from)
    if (answer.requests.length > 0) part.requests = answer.requests
    if (answer.messages.length > 0) part.messages = [...messages, ...answer.messages]
  }
  if (part.messages === undefined && messages.length > 0) part.messages = messages
  return part
}

/** How many messages left, or would have: those to durable processes, as anywhere. */
export function leaving({ messages, withheld, withheldSent = 0 }: Outbox): {
  sent: number
  withheld?: readonly Withheld[]
} {
  if (withheld === undefined) return { sent: messages.length }
  return { sent: messages.length + withheldSent, withheld }
}

/** Received messages count with the end of the turn (M8); returns who hears of it in memory. */
function addTaken(turn: Turn, part: Part, how: EndKind, answers: Outbox['answers']): (() => void)[] {
  const { record, open } = turn
  if (open === null || open.taken === null) return []
  const settlement = settleTaken(record, open, { answers, answered: turn.answered, how })
  part.consumed = [...(part.consumed ?? []), ...settlement.consumed]
  part.messages = [...(part.messages ?? []), ...settlement.messages]
  if (settlement.requests.length > 0) part.requests = [...(part.requests ?? []), ...settlement.requests]
  return settlement.release
}

function settled(turn: Turn, outbox: Outbox, out: Outcome, outcome: Settled): void {
  if (outcome.kind !== 'stored') return
  const { reply } = turn.envelope
  turn.process.stats.stateVersion = turn.record.ackedSeq
  if (reply !== null) {
    if ('ok' in out) reply.resolve(out.ok)
    else reply.reject(toError(out))
  }
  outboxStored(turn, outbox, outcome.at)
  turn.ended?.()
}

/** What leaves with a row takes effect in memory once it is stored, whatever became of the turn meanwhile. */
export function outboxStored(turn: Turn, outbox: Outbox, at: number): void {
  const { record, ports } = turn
  const { links } = outbox.part
  if (links !== undefined && lives(turn)) record.tie().stored(links, at)
  const next = outbox.timers.reduce((due, timer) => Math.min(due, timer.due), Number.POSITIVE_INFINITY)
  if (next !== Number.POSITIVE_INFINITY) ports.timerArmed(next)
  runEffects(ports, outbox.after)
}

/** Whether the life that the turn belongs to goes on: ties in memory end with it. */
export function lives({ process, incarnation }: Turn): boolean {
  return process.alive && process.incarnation === incarnation
}

/** Effects in memory, after the commit: one that is refused (a full mailbox, a dead process) cannot undo the turn. */
function runEffects(ports: Pick<DurablePorts, 'failed'>, effects: readonly (() => void)[]): void {
  for (const effect of effects) {
    try {
      effect()
    } catch (error) {
      ports.failed('an effect of a stored turn', error)
    }
  }
}
