/**
 * What cancel, fork, answer and discard would do, from the open turn of a process (E14). A pure read, like
 * blast-radius.ts; what the verb would refuse is refused in the same words.
 */
import type { ProcessId } from '../../shared/id.ts'
import type { Answerable, BlastRadius } from '../../shared/snapshot.ts'
import { recordOf } from '../journal/durable.ts'
import type { Entry } from '../journal/entry.ts'
import type { OpenTurn } from '../journal/record.ts'
import { resultsOf } from '../journal/replay.ts'
import { Turn } from '../journal/turn.ts'
import { openChildren } from '../journal/turn-child.ts'
import type { Process } from '../kernel/process.ts'

/** Compensations and other requests named in a text; the rest is counted. */
const NAMED_MAX = 5

export type TurnVerb = 'cancel' | 'fork' | 'answer' | 'discard'

export type TurnFacts = {
  readonly id: ProcessId
  readonly incarnation: number
  /** In memory; null for what is only stored. */
  readonly process: Process | null
  /** The accepted turn; null where none is open. */
  readonly open: OpenTurn | null
  readonly answerable: readonly Answerable[]
  readonly waiting: number
  readonly callers: string[]
}

export function isTurnVerb(verb: string): verb is TurnVerb {
  return verb === 'cancel' || verb === 'fork' || verb === 'answer' || verb === 'discard'
}

export function turnRadius(verb: TurnVerb, facts: TurnFacts): BlastRadius {
  const { id, incarnation, open } = facts
  return {
    verb,
    target: id,
    incarnation,
    affected: verb === 'cancel' && open !== null ? reached(open.entries) : [],
    message: messageText(verb, facts),
    queue: queueText(verb, facts.waiting),
    callers: verb === 'cancel' || verb === 'discard' ? facts.callers : [],
    budget: null,
  }
}

function messageText(verb: TurnVerb, facts: TurnFacts): string {
  switch (verb) {
    case 'cancel':
      return cancelText(facts)
    case 'fork':
      return forkText(facts)
    case 'answer':
      return answerText(facts)
    case 'discard':
      return facts.open === null && facts.process?.current == null
        ? 'No message is in hand.'
        : `${opText(facts)} ends at once, without cleanup.`
    default:
      return verb satisfies never
  }
}

function opText({ process, open }: TurnFacts): string | null {
  const op = process?.current?.op ?? open?.op
  return op === undefined ? null : `"${op}"`
}

/** Y2, Y3. */
function cancelText(facts: TurnFacts): string {
  const op = opText(facts)
  if (op === null) return 'No operation is in hand; there is nothing to cancel.'
  const entries = facts.open?.entries ?? []
  const asked = entries.find((entry) => entry.k === 'cancel')
  if (asked !== undefined) {
    const heard = entries.some((entry) => entry.k === 'cancelled') ? 'it has heard of it' : 'it will hear of it'
    const by = asked.by ?? 'whoever started it'
    return `${op} was cancelled before, by ${by}: ${heard}. Another request changes nothing.`
  }
  return [`${op} ${whenText(facts)}`, rollbackText(entries)].filter((text) => text !== '').join(' ')
}

function whenText({ process }: TurnFacts): string {
  const record = process === null ? null : recordOf(process)
  const turn = record?.turn instanceof Turn ? record.turn : null
  if (process !== null && turn === null) return 'hears CANCELLED instead of running again.'
  if (turn !== null && turn.shields > 0) return 'is in a shielded section: it hears CANCELLED once that is over.'
  if (turn?.requests.list.some(({ firm }) => firm) === true) {
    return 'is at a checkpoint, a transaction or a start: it hears CANCELLED once the outcome of that is known.'
  }
  if (turn !== null && turn.pending === 0) return 'hears CANCELLED at its next wait.'
  return 'hears CANCELLED now, at what it waits for.'
}

/** Y4. */
function rollbackText(entries: readonly Entry[]): string {
  const names = entries.flatMap((entry) => (entry.k === 'undo' ? [entry.name] : [])).toReversed()
  return names.length === 0 ? '' : `Unless its code goes on, it rolls back: ${list(names)}.`
}

/** Y6. */
function reached(entries: readonly Entry[]): BlastRadius['affected'] {
  return openChildren(entries).map(({ process, policy }) =>
    policy === 'stop'
      ? { id: process, effect: 'cancels', why: 'started by it with parentClose: stop' }
      : { id: process, effect: 'waits', why: 'started by it with parentClose: wait; it goes on' },
  )
}

function forkText(facts: TurnFacts): string {
  const op = opText(facts)
  if (op === null) return 'The copy has the newest state, and nothing in hand.'
  if (facts.open?.entries.some((entry) => entry.k === 'rollback') === true) {
    return `${op} rolls back: only a copy of a version can be made.`
  }
  const n = resultsOf(facts.open?.entries ?? []).length
  const results = n === 0 ? 'no results yet' : n === 1 ? 'its 1 result' : `its ${n} results`
  return `The copy takes ${op} along, with ${results}. It stops at the first thing that would reach others.`
}

function answerText(facts: TurnFacts): string {
  const [first, ...others] = facts.answerable
  if (first === undefined) return 'Nothing waits for an answer.'
  const more = others.length === 0 ? '' : ` ${list(others.map(({ what }) => what))} wait${s(others.length)} as well.`
  return `${opText(facts) ?? 'Its turn'} goes on with the answer; one answer counts.${more}`
}

function queueText(verb: TurnVerb, n: number): string {
  const messages = n === 0 ? 'No message waits' : n === 1 ? '1 message stays' : `${n} messages stay`
  if (verb === 'fork') return `${messages} here; the mailbox of the copy is empty.`
  if (verb !== 'discard') return n === 0 ? `${messages}.` : `${messages} in the mailbox.`
  const gone = n === 0 ? '' : `, and ${n === 1 ? '1 message' : `${n} messages`}`
  return `Its state and its journal${gone} are removed. Only its audit stays.`
}

function s(n: number): string {
  return n === 1 ? 's' : ''
}

function list(names: readonly string[]): string {
  const rest = names.length - NAMED_MAX
  return `${names.slice(0, NAMED_MAX).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
}
